"""Importing torch as fast as it goes."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# How often a thread looks for work before it sleeps; an estimated 50 us. By default it is
# milliseconds: on a busy machine two threads of a small network burned twenty times the CPU that
# they computed with.
_SPINS = "1000"


@contextmanager
def many_imports() -> Iterator[None]:
    """Import torch without collecting garbage: what imports make is there to stay.

    Looking through it again and again takes a fifth of the time that importing torch takes.
    Afterwards the collector leaves it alone for good. What the environment says about OpenMP is
    read when torch is loaded, so a default of ours is set here.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
