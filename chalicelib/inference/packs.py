"""Packs on the shared file system: what is installed, what is sound, and which one is active.

`MODEL_DIR` holds one folder `<name>-<version>` a pack and the file `active.json`, which names the
active pack and the one before it. Nothing of a pack is believed before its length and SHA-256
agree with the manifest, and what was hashed is what is used: files are read once, into memory.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from chalicelib.domain import LabelFacts, ModelFacts, ModelRef, Value
from chalicelib.durable import replace_text
from chalicelib.errors import ModelUnavailable, NotFound
from chalicelib.inference.manifest import MAX_MANIFEST_BYTES, Manifest, Name, Version
from chalicelib.inference.plain_file import plain_size, read_plain, refuse_link

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST = "manifest.json"
ACTIVE = "active.json"
# A field's name may come from the manifest itself: what is longer or stranger is not repeated.
_TELLABLE = re.compile(r"[A-Za-z0-9_.-]{1,60}")


@dataclass(frozen=True, slots=True)
class Pack:
    """A folder whose manifest is well formed; its other files are not checked yet."""

    path: Path
    manifest: Manifest
    ref: ModelRef

    def facts(self) -> ModelFacts:
        """Return what `GET /models` tells of this pack."""
        return ModelFacts(
            ref=self.ref,
            architecture=self.manifest.architecture,
            licence=self.manifest.licence,
            labels=tuple(
                LabelFacts(
                    label=claim.name,
                    threshold=claim.threshold,
                    auroc=claim.auroc,
                    auroc_low=claim.auroc_low,
                    auroc_high=claim.auroc_high,
                    dataset=claim.dataset,
                )
                for claim in self.manifest.labels
            ),
        )


class _Choice(Value):
    name: Name
    version: Version


class _Active(_Choice):
    previous: _Choice | None = None


def load_manifest(path: Path) -> Pack:
    """Read the manifest of the pack in folder `path`. Raises ModelUnavailable with the reason."""
    refuse_link(path)
    data = read_plain(path, MANIFEST, MAX_MANIFEST_BYTES)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        parts = map(str, first["loc"])
        where = ".".join(part if _TELLABLE.fullmatch(part) else "?" for part in parts)
        raise ModelUnavailable(f"pack {path.name}: manifest: {where}: {first['msg']}") from error
    if manifest.folder != path.name:
        raise ModelUnavailable(f"pack {path.name}: the manifest calls itself {manifest.folder}")
    ref = ModelRef(
        name=manifest.name,
        version=manifest.version,
        sha256=hashlib.sha256(data).hexdigest(),
        scale=manifest.scale,
    )
    return Pack(path, manifest, ref)


def read_file(pack: Pack, name: str) -> bytes:
    """Return one file of the manifest, of the promised length and SHA-256.

    Raises ModelUnavailable when it is missing, no plain file, or not what was promised.
    """
    facts = pack.manifest.files[name]
    data = read_plain(pack.path, name, facts.bytes)
    if len(data) != facts.bytes or hashlib.sha256(data).hexdigest() != facts.sha256:
        raise ModelUnavailable(f"pack {pack.path.name}: {name} is not the file of the manifest")
    return data


def look_over(pack: Pack) -> None:
    """See that every file is there, a plain one of the promised length, and no other.

    Cheap: none is read, so what is in them is for `verify_pack` to say. Raises ModelUnavailable
    with the first reason found.
    """
    path = pack.path
    _refuse_strangers(pack)
    for name, facts in pack.manifest.files.items():
        if plain_size(path, name) != facts.bytes:
            raise ModelUnavailable(f"pack {path.name}: {name} is not as long as the manifest says")


def verify_pack(path: Path) -> Pack:
    """Check every file of the pack in folder `path`, and that there are no others.

    Raises ModelUnavailable with the first reason found. Whether the network answers its golden
    input is for `model.prove_pack` to say.
    """
    pack = load_manifest(path)
    _refuse_strangers(pack)
    for name in pack.manifest.files:
        read_file(pack, name)
    return pack


def _refuse_strangers(pack: Pack) -> None:
    try:
        found = {entry.name for entry in pack.path.iterdir()}
    except OSError as error:
        raise ModelUnavailable(f"pack {pack.path.name}: the folder cannot be read") from error
    strangers = found - set(pack.manifest.files) - {MANIFEST}
    if strangers:
        raise ModelUnavailable(f"pack {pack.path.name}: unexpected {min(strangers)!r}")


def list_packs(model_dir: Path) -> tuple[Pack, ...]:
    """Return the packs with a readable manifest, sorted by folder name; others are left out."""
    return tuple(_readable(model_dir))


def active_pack(model_dir: Path) -> Pack:
    """Return the active pack; without `active.json`, the only one. Raises ModelUnavailable."""
    choice = _chosen(model_dir)
    if choice is not None:
        return load_manifest(model_dir / f"{choice.name}-{choice.version}")
    packs = list_packs(model_dir)
    if len(packs) == 1:
        return packs[0]
    raise ModelUnavailable("no model is installed" if not packs else "no model was activated")


def activate(model_dir: Path, name: str, version: str) -> Pack:
    """Verify a pack and make it the active one; the one before it is kept for `rollback`.

    Raises NotFound when it is not installed and ModelUnavailable when it is not sound; either way
    the active pack stays as it was.
    """
    wanted = next(
        (p for p in list_packs(model_dir) if (p.ref.name, p.ref.version) == (name, version)), None
    )
    if wanted is None:
        # A pack with a broken manifest is told apart from one that is not there.
        folder = f"{name}-{version}"
        if folder in {entry.name for entry in _folders(model_dir)}:
            load_manifest(model_dir / folder)
        raise NotFound(f"model {name}@{version} is not installed")
    verify_pack(wanted.path)
    try:
        before = active_pack(model_dir).ref
    except ModelUnavailable:
        before = None
    now = _Choice(name=name, version=version)
    previous = _Choice(name=before.name, version=before.version) if before else None
    if previous == now:
        chosen = _chosen(model_dir)
        previous = chosen.previous if chosen else None
    _write(model_dir, _Active(name=name, version=version, previous=previous))
    return wanted


def previous_pack(model_dir: Path) -> Pack:
    """Return the pack before the active one. Raises NotFound when there is none."""
    return load_manifest(previous_folder(model_dir))


def previous_folder(model_dir: Path) -> Path:
    """Return where the pack before the active one lies, sound or not. Raises as `previous_pack`."""
    choice = _chosen(model_dir)
    if choice is None or choice.previous is None:
        raise NotFound("there is no earlier model to go back to")
    return model_dir / f"{choice.previous.name}-{choice.previous.version}"


def rollback(model_dir: Path) -> Pack:
    """Make the pack before the active one active again; a second call undoes the first.

    Raises NotFound when there is none before and ModelUnavailable when that one is not sound.
    """
    before = previous_pack(model_dir).ref
    return activate(model_dir, before.name, before.version)


def was_chosen(model_dir: Path) -> bool:
    """Tell whether `active.json` is there, sound or not. Raises ModelUnavailable."""
    try:
        (model_dir / ACTIVE).lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ModelUnavailable("the model folder cannot be read") from error
    return True


def _chosen(model_dir: Path) -> _Active | None:
    """Return what `active.json` says, None when there is none. Raises ModelUnavailable."""
    try:
        return _Active.model_validate_json(read_plain(model_dir, ACTIVE, MAX_MANIFEST_BYTES))
    except ModelUnavailable as error:
        # Only a file that is surely not there means that nothing was chosen.
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    except ValidationError as error:
        raise ModelUnavailable(f"{ACTIVE} is not well formed") from error


def _write(model_dir: Path, choice: _Active) -> None:
    replace_text(model_dir / ACTIVE, choice.model_dump_json() + "\n")


def _folders(model_dir: Path) -> list[Path]:
    try:
        return sorted(entry for entry in model_dir.iterdir() if entry.is_dir())
    except OSError as error:
        raise ModelUnavailable("the model folder cannot be read") from error


def _readable(model_dir: Path) -> Iterator[Pack]:
    for folder in _folders(model_dir):
        try:
            yield load_manifest(folder)
        except ModelUnavailable:
            continue
