"""What makes the first prediction come soon must leave the process as it was."""

from __future__ import annotations

import gc
import threading

import torch

from chalicelib.inference.imports import many_imports
from chalicelib.inference.threads import one_thread


def test_whoever_leaves_last_puts_the_number_of_threads_back() -> None:
    torch.set_num_threads(2)
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    seen: list[int] = []

    def first() -> None:
        with one_thread():
            first_in.set()
            second_in.wait(10)
        first_out.set()

    def second() -> None:
        first_in.wait(10)
        with one_thread():
            second_in.set()
            first_out.wait(10)
            seen.append(torch.get_num_threads())

    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [1]
    assert torch.get_num_threads() == 2


def test_garbage_is_collected_again_afterwards() -> None:
    frozen = gc.get_freeze_count()
    try:
        with many_imports():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
