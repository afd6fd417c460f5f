"""A local AWS of a test's own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from admin_cli import emulator
from tests.fresh import forget_everything

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def own_local_aws(home: Path, **environment: str) -> Iterator[Path]:
    """Start the local AWS of `home` and point this process at it until the block ends.

    `environment`: further variables that hold from before it starts. Yields `home`.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL", *emulator.LOCAL_CREDENTIALS):
            patch.setenv(name, "put back after the block")
        for name, value in environment.items():
            patch.setenv(name, value)
        emulator.start(home)
        try:
            emulator.use_local_endpoint(home)
            forget_everything()  # clients that other tests made for another local AWS
            yield home
        finally:
            forget_everything()
            emulator.stop(home)
