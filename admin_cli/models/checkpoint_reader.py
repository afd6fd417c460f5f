"""A program of its own: a pickled PyTorch module on stdin, its tensors as safetensors on stdout.

It needs the standard library alone and is started as ``python -I -S -B checkpoint_reader.py`` with
both ends being plain files (see `checkpoint.py`). A pickle is a program, so nothing that it names
is ever imported: classes of networks become inert shells, tensors become notes of where their
numbers lie, and any other name ends the reading. Before the first byte is read, the process also
gives up opening files and sockets, and caps its memory and time.

Both layouts of ``torch.save`` are read: the zip file of PyTorch 1.6 and later, and the stream of
pickles before it. Exit status 1 with one line on stderr says why a file is refused.
"""

from __future__ import annotations

import encodings.cp437  # zipfile wants it late, when no file can be opened any more
import json
import math
import pickle
import resource
import struct
import sys
import zipfile
from collections import OrderedDict
from typing import IO, Any, NamedTuple

_MAX_BYTES = 512 * 1024 * 1024
_MEMORY = 2 * 1024 * 1024 * 1024
_CPU_SECONDS = 60
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# Where classes of networks come from; nothing of them is imported.
_SHELLS = ("torch.nn.", "torchvision.models.", "torchxrayvision.models")
_TYPES = {"FloatStorage": ("F32", 4), "LongStorage": ("I64", 8)}
_COUNTERS = "num_batches_tracked"  # training's, of no use for answering
_DEEP = 40


class Refused(Exception):
    """The file is not a pickled module that we read."""


class _Storage(NamedTuple):
    key: str
    kind: str
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]


class _Shell:
    """Stands for an object of a network's class: it keeps its state and can do nothing."""

    def __init__(self, *_: object) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, dict) else {}


def _rebuild_tensor(
    storage: object, offset: object, size: object, stride: object, *_: object
) -> _Tensor:
    if not isinstance(storage, _Storage) or not isinstance(offset, int):
        raise Refused("a tensor without a storage")
    if not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise Refused("a tensor without a shape")
    if not all(isinstance(n, int) and n >= 0 for n in (*size, *stride, offset)):
        raise Refused("a tensor of a strange shape")
    dense = 1
    for length, step in zip(reversed(size), reversed(stride), strict=True):
        if length > 1 and step != dense:
            raise Refused("a tensor that is not laid out in order")
        dense *= length
    if offset + math.prod(size) > storage.length:
        raise Refused("a tensor that reaches beyond its storage")
    return _Tensor(storage, offset, size)


def _rebuild_parameter(data: object, *_: object) -> object:
    return data


class _Reader(pickle.Unpickler):
    """An unpickler that imports nothing."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as pickle declares it
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("__builtin__", "set"): set,
            ("builtins", "set"): set,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in _TYPES:
            return name
        if module.startswith(_SHELLS):
            return _Shell
        raise Refused(f"the pickle names {module}.{name}, which has no business in a network")

    def persistent_load(self, pid: Any) -> Any:  # noqa: ANN401 - as pickle declares it
        if not isinstance(pid, tuple) or not pid:
            raise Refused("a reference of an unknown kind")
        if pid[0] == "module":  # class, file and source text of a class: the class is enough
            return pid[1]
        if pid[0] != "storage" or pid[1] not in _TYPES:
            raise Refused(f"a storage of type {pid[1]!s:.40}")
        _, kind, key, _, count, *view = pid
        if any(view) or not isinstance(key, str) or not isinstance(count, int) or count < 0:
            raise Refused("a storage of a strange kind")
        return _Storage(key, kind, count)


def read(file: IO[bytes]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return type, shape and bytes (little-endian) of each tensor by name. Raises Refused."""
    try:
        found = _read_zip(file) if file.read(4) == b"PK\x03\x04" else _read_legacy(file)
        module, storages = found
        tensors = _state(module, "", 0)
    except (pickle.UnpicklingError, zipfile.BadZipFile, struct.error) as error:
        raise Refused(f"no checkpoint of PyTorch, or a damaged one: {error}") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError) as error:
        raise Refused(f"a damaged checkpoint: {type(error).__name__}") from error
    if not tensors:
        raise Refused("it holds no tensors")
    if sum(math.prod(t.shape) for t in tensors.values()) * 8 > 2 * _MAX_BYTES:
        raise Refused("its tensors are larger than a pack may be")
    out = {}
    for name, tensor in tensors.items():
        kind, width = _TYPES[tensor.storage.kind]
        data = storages[tensor.storage.key]
        if len(data) != tensor.storage.length * width:
            raise Refused(f"the numbers of {name} are cut short")
        first = tensor.offset * width
        out[name] = (kind, tensor.shape, data[first : first + math.prod(tensor.shape) * width])
    return out


def _read_zip(file: IO[bytes]) -> tuple[object, dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        packed = [e for e in entries.values() if e.compress_type != zipfile.ZIP_STORED]
        if packed or sum(entry.file_size for entry in entries.values()) > _MAX_BYTES:
            raise Refused("its archive is compressed or too large")
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused("its archive is not that of a module")
        folder = pickles[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in entries and archive.read(order) != b"little":
            raise Refused("its numbers are not little-endian")
        with archive.open(pickles[0]) as stream:
            module = _Reader(stream, encoding="utf-8").load()
        prefix = f"{folder}data/"
        keys = [name for name in entries if name.startswith(prefix)]
        return module, {name.removeprefix(prefix): archive.read(name) for name in keys}


def _read_legacy(file: IO[bytes]) -> tuple[object, dict[str, bytes]]:
    file.seek(0)
    if _Reader(file).load() != _LEGACY_MAGIC or _Reader(file).load() != _LEGACY_PROTOCOL:
        raise Refused("no checkpoint of PyTorch")
    if _Reader(file).load().get("little_endian") is not True:
        raise Refused("its numbers are not little-endian")
    seen: dict[str, _Storage] = {}

    class Noting(_Reader):
        def persistent_load(self, pid: Any) -> Any:  # noqa: ANN401 - as pickle declares it
            loaded = super().persistent_load(pid)
            if isinstance(loaded, _Storage):
                seen[loaded.key] = loaded
            return loaded

    module = Noting(file, encoding="utf-8").load()
    storages = {}
    for key in _Reader(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        if count != seen[key].length:
            raise Refused("a storage of another length")
        storages[key] = file.read(count * _TYPES[seen[key].kind][1])
    return module, storages


def _state(module: object, prefix: str, depth: int) -> dict[str, _Tensor]:
    """Walk a module as ``state_dict()`` does."""
    if not isinstance(module, _Shell) or depth > _DEEP:
        raise Refused("it holds no module but something else")
    tensors = {
        prefix + name: value
        for part in ("_parameters", "_buffers")
        for name, value in module.state.get(part, {}).items()
        if isinstance(value, _Tensor) and name != _COUNTERS
    }
    for name, child in module.state.get("_modules", {}).items():
        if child is not None:
            tensors.update(_state(child, f"{prefix}{name}.", depth + 1))
    return tensors


def write(tensors: dict[str, tuple[str, tuple[int, ...], bytes]], file: IO[bytes]) -> None:
    """Write a safetensors file: the length of a JSON header, the header, the numbers."""
    header: dict[str, object] = {}
    end = 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for _, _, data in tensors.values():
        file.write(data)
    file.flush()


def _confine() -> None:
    """Give up what reading a file does not need; what is open already stays open."""
    caps = {
        resource.RLIMIT_NOFILE: 0,  # no further file and no socket
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: _CPU_SECONDS,
        resource.RLIMIT_AS: _MEMORY,
        resource.RLIMIT_FSIZE: _MAX_BYTES,
    }
    for kind, most in caps.items():
        resource.setrlimit(kind, (most, most))


def main() -> int:
    """Read stdin, write stdout."""
    _confine()
    try:
        write(read(sys.stdin.buffer), sys.stdout.buffer)
    except (Refused, MemoryError, RecursionError, OSError) as error:
        sys.stderr.write(f"{error or type(error).__name__}\n")
        return 1
    return 0


assert encodings.cp437  # noqa: S101 - keeps the import above from looking unused

if __name__ == "__main__":
    sys.exit(main())
