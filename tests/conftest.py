"""What all tests share: workers, no measuring of time, AWS's own descriptions read once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import botocore.loaders
import pytest
from botocore.loaders import JSONFileLoader, Loader
from hypothesis import settings

if TYPE_CHECKING:
    from xdist.scheduler import Scheduling

# Property tests measure no time: a busy machine must not fail them.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


class ReadOnce(JSONFileLoader):
    """Keeps what it has read, for all sessions of boto3 in this process.

    moto makes boto3 forget its session with every test, and the next one then parses megabytes of
    descriptions of AWS's services again: a sixth of the time of many tests.
    """

    _read: ClassVar[dict[str, Any]] = {}

    def load_file(self, file_path: str) -> Any:
        if file_path not in self._read:
            self._read[file_path] = super().load_file(file_path)
        return self._read[file_path]


class FoundOnce(Loader):
    """Shares what was found in the same folders: which services there are takes 2,000 look-ups."""

    _found: ClassVar[dict[tuple[str, ...], dict[Any, Any]]] = {}

    @property
    def _cache(self) -> dict[Any, Any]:
        return self._found.setdefault(tuple(self.search_paths), {})

    @_cache.setter
    def _cache(self, empty: dict[Any, Any]) -> None:
        """Each session begins with an empty one; not here."""


Loader.FILE_LOADER_CLASS = ReadOnce
botocore.loaders.Loader = FoundOnce  # type: ignore[misc] # of which botocore makes its own


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist: only where there are workers
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    from tests.workers import FilesTogether  # noqa: PLC0415 - so that it works without

    config.option.loadscopereorder = False
    return FilesTogether(config, log)
