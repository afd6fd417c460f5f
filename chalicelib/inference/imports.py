"""Importing torch as fast as it goes."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def many_imports() -> Iterator[None]:
    """Import without collecting garbage: what imports make is there to stay.

    Looking through it again and again takes a fifth of the time that importing torch takes.
    Afterwards the collector leaves it alone for good.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
