"""moto and botocore without the work that they do again with every test or value."""

from __future__ import annotations

from typing import Any, ClassVar

import botocore.loaders
from botocore.loaders import JSONFileLoader, Loader
from moto.core.serialize import ResponseSerializer


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


_structure = ResponseSerializer._serialize_type_structure  # noqa: SLF001


def _only_what_it_has(
    self: ResponseSerializer, serialized: Any, value: Any, shape: Any, key: str
) -> None:
    """Write a value of DynamoDB without looking for each of its ten types by all other names.

    moto writes attributes of its own objects by names in several styles; these values are plain
    dictionaries in AWS's own. The search was a third of the time of tests with tables.
    """
    if shape.name != "AttributeValue" or type(value) is not dict:
        _structure(self, serialized, value, shape, key)
        return
    wrapper = self.MAP_TYPE() if key else serialized
    for name in value:
        member = shape.members[name]
        member.parent = shape
        self._serialize_structure_member(wrapper, value, member, name)
    if key:
        self._default_serialize(serialized, wrapper, shape, key)


def install() -> None:
    """Put all of it in place, for this process."""
    Loader.FILE_LOADER_CLASS = ReadOnce
    botocore.loaders.Loader = FoundOnce  # type: ignore[misc] # of which botocore makes its own
    setattr(ResponseSerializer, _structure.__name__, _only_what_it_has)
