"""Bring a pack into a model folder so that nobody ever sees half of one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from admin_cli.console import CliError
from chalicelib.durable import flush
from chalicelib.errors import ModelUnavailable
from chalicelib.inference.manifest import MAX_MANIFEST_BYTES
from chalicelib.inference.packs import MANIFEST, Pack, load_manifest, read_file, verify_pack
from chalicelib.inference.shelf import keep_serving

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK = ".install.lock"
_TEMPORARY = ".install-"


def install(source: Path, model_dir: Path) -> tuple[Pack, bool]:
    """Copy the pack in folder `source` into `model_dir`; return it, and whether it is new there.

    What is written is what was verified, since each file is read once. The copy then gives its
    golden answer in a process of its own, is flushed to disk, and appears under its name in one
    step. A pack of that name and version that is there already is kept when it is the same one and
    replaced when it is damaged.

    Raises ModelUnavailable with the reason for a pack that is refused, and CliError when another
    pack has this name and version, when the disk is full, or while another install runs.
    """
    from chalicelib.inference.model import prove_pack  # noqa: PLC0415 - takes torch with it

    pack = verify_pack(Path(os.path.abspath(source)))  # noqa: PTH100 - resolve() would hide a link
    model_dir.mkdir(parents=True, exist_ok=True)
    with _alone(model_dir):
        final = model_dir / pack.manifest.folder
        if final.exists() and _is_sound(final):
            if load_manifest(final).ref == pack.ref:
                return load_manifest(final), False
            raise CliError(
                f"another pack {pack.ref.name}@{pack.ref.version} is installed; give the new one"
                " another version"
            )
        needed = sum(facts.bytes for facts in pack.manifest.files.values())
        if shutil.disk_usage(model_dir).free < needed + MAX_MANIFEST_BYTES:
            raise CliError(f"{model_dir} has no room for {needed} bytes")
        with tempfile.TemporaryDirectory(dir=model_dir, prefix=_TEMPORARY) as temporary:
            copy = Path(temporary) / pack.manifest.folder
            _copy(pack, copy)
            prove_pack(copy)
            keep_serving(model_dir)
            if final.exists():
                final.rename(Path(temporary) / "damaged")
            copy.rename(final)
            flush(model_dir)
    return load_manifest(final), True


def _is_sound(folder: Path) -> bool:
    try:
        verify_pack(folder)
    except ModelUnavailable:
        return False
    return True


def _copy(pack: Pack, target: Path) -> None:
    target.mkdir(mode=0o755)
    for name in pack.manifest.files:
        _write(target / name, read_file(pack, name))
    _write(target / MANIFEST, (pack.path / MANIFEST).read_bytes())
    flush(target)
    # The manifest was read twice; it must still be the one that vouched for the files.
    if load_manifest(target).ref != pack.ref:
        raise ModelUnavailable(f"pack {pack.path.name}: it changes while it is being installed")


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)  # functions run as another user


@contextmanager
def _alone(model_dir: Path) -> Iterator[None]:
    """Hold the folder's lock, and clear away what a killed install left behind."""
    with (model_dir / _LOCK).open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CliError("another install runs in this model folder") from None
        for leftover in model_dir.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
