"""Breaks packs and model folders as disks, copies and attackers do."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save

from chalicelib.inference.gate import CONFIG as GATE_CONFIG
from chalicelib.inference.gate import WEIGHTS as GATE_WEIGHTS
from chalicelib.inference.manifest import WEIGHTS
from chalicelib.inference.packs import ACTIVE, MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Harm = Callable[[Path, Path], object]

SECRET = "DOE^JANE\nforged"
NOBODY = 65534


def vouch(folder: Path, **files: bytes) -> None:
    """Write files into a pack, `__` for the dot of a name, and have its manifest vouch for them."""
    claims = json.loads((folder / MANIFEST).read_text())
    for key, data in files.items():
        name = key.replace("__", ".")
        (folder / name).write_bytes(data)
        claims["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(claims))


def claim(folder: Path, key: str, value: object) -> None:
    """Change one claim of a manifest."""
    claims = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(claims | {key: value}))


def reweigh(folder: Path, change: Callable[[dict[str, Any]], object], name: str = WEIGHTS) -> None:
    """Change the tensors of a pack and have its manifest, and its gate's own, vouch for them."""
    tensors = load((folder / name).read_bytes())
    change(tensors)
    data = save(tensors)
    vouch(folder, **{name.replace(".", "__"): data})
    if name == GATE_WEIGHTS:
        config = json.loads((folder / GATE_CONFIG).read_text())
        config["weights_sha256"] = hashlib.sha256(data).hexdigest()
        vouch(folder, gate__json=json.dumps(config).encode())


def truncate(path: Path) -> None:
    """Cut a file in half."""
    os.truncate(path, path.stat().st_size // 2)


def pipe(path: Path) -> None:
    """Put a pipe that nobody writes to in the place of a file."""
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    """Put a directory in the place of a file."""
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    """Put a link to itself in the place of a file or folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(path)


def file(path: Path) -> None:
    """Put a file in the place of a folder."""
    shutil.rmtree(path)
    path.write_text("no folder any more")


def _whole_numbers(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if name.endswith("running_mean"))
    tensors[name] = torch.zeros(tensors[name].shape, dtype=torch.uint32)


def _not_a_number(tensors: dict[str, torch.Tensor]) -> None:
    tensors["classifier.bias"][:] = float("nan")


# Each gets the model folder and the folder of the pack that was activated last.
HARMS: dict[str, Harm] = {
    "weights truncated": lambda _, pack: truncate(pack / WEIGHTS),
    "weights a directory": lambda _, pack: directory(pack / WEIGHTS),
    "weights a pipe": lambda _, pack: pipe(pack / WEIGHTS),
    "weights a loop of links": lambda _, pack: loop(pack / WEIGHTS),
    "weights gone": lambda _, pack: (pack / WEIGHTS).unlink(),
    "manifest a pipe": lambda _, pack: pipe(pack / MANIFEST),
    "manifest a directory": lambda _, pack: directory(pack / MANIFEST),
    "manifest half copied": lambda _, pack: truncate(pack / MANIFEST),
    "manifest of deep brackets": lambda _, pack: (pack / MANIFEST).write_text("[" * 200_000),
    "manifest no text": lambda _, pack: (pack / MANIFEST).write_bytes(b"\xff\xfe" * 500),
    "manifest with a secret": lambda _, pack: claim(pack, SECRET, SECRET),
    "manifest of another network": lambda _, pack: claim(pack, "architecture", "densenet121"),
    "pack gone": lambda _, pack: shutil.rmtree(pack),
    "pack a file": lambda _, pack: file(pack),
    "pack a loop of links": lambda _, pack: loop(pack),
    "choice a directory": lambda models, _: directory(models / ACTIVE),
    "choice a pipe": lambda models, _: pipe(models / ACTIVE),
    "choice a loop of links": lambda models, _: loop(models / ACTIVE),
    "choice empty": lambda models, _: (models / ACTIVE).write_bytes(b""),
    "choice gone": lambda models, _: (models / ACTIVE).unlink(),
    "models gone": lambda models, _: shutil.rmtree(models),
    "models a file": lambda models, _: file(models),
    "whole numbers as weights": lambda _, pack: reweigh(pack, _whole_numbers),
    "no numbers as weights": lambda _, pack: reweigh(pack, _not_a_number),
    "no tensors at all": lambda _, pack: vouch(pack, weights__safetensors=b"\2" + bytes(7) + b"{}"),
    "pixels that are none": lambda _, pack: vouch(pack, golden__pgm=b"P5\n9999 9999\n255\n"),
    "half a gate": lambda _, pack: vouch(pack, gate__json=b"{}"),
    "a gate of nothing": lambda _, pack: vouch(pack, gate__json=b"{}", gate__safetensors=b"{}"),
}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Act as a user whom permissions bind: the superuser may do everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@contextmanager
def forbidden(path: Path) -> Iterator[None]:
    """Take all permissions of a file or folder away, and act as somebody whom that binds."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        with as_nobody():
            yield
    finally:
        path.chmod(mode)


@contextmanager
def no_file_left() -> Iterator[None]:
    """Let the system refuse to open anything, as it does when a process has too much open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
