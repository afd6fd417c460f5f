"""How many threads the CPU's kernels may use, for the moments when one is faster than all."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_inside = 0
_before = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: for so little work, waiting for a second costs more than it gives.

    Measured beside a convolution on two threads, on a busy machine: 2.4 ms against 43; loading a
    small pack and its first answer: 0.1 s of CPU against 2.6. The number is one for the whole
    process, so another thread that starts to compute meanwhile stays on one thread for a moment,
    and no more: whoever leaves last puts the number back.
    """
    global _inside, _before  # noqa: PLW0603 - torch's own number is one for the process, too
    with _lock:
        if _inside == 0:
            _before = torch.get_num_threads()
            torch.set_num_threads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                torch.set_num_threads(_before)
