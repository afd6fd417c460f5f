"""The tree of requirements-efs.txt, built once for as long as nothing that decides it changes."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from admin_cli.emulator import PROJECT
from admin_cli.runtime.build import MANIFEST, build
from admin_cli.runtime.wheels import Wheelhouse, deployed_python, native, on_lambda

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from admin_cli.runtime.build import Bar
    from admin_cli.runtime.wheels import Target

# Shared by all homes: it depends on the requirements alone and holds no state.
CACHE = PROJECT / ".local" / "cache" / "trees"
REQUIREMENTS, CONSTRAINTS = PROJECT / "requirements-efs.txt", PROJECT / "constraints.txt"
# These, and the rules by which files are left out, decide what is in a tree.
_INPUTS = (REQUIREMENTS, CONSTRAINTS, PROJECT / "admin_cli" / "runtime" / "files.py")


def target_of(stage: str) -> Target:
    """Where functions of a stage run; those of stage local run right here. Raises CliError."""
    return native() if stage == "local" else on_lambda(deployed_python())


def inputs_of(target: Target) -> str:
    """Return the SHA-256 of all that decides the tree for a machine."""
    digest = hashlib.sha256(f"{target.python} {target.platform}\n".encode())
    for path in _INPUTS:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def known_tree(target: Target, cache: Path = CACHE) -> str | None:
    """Return the tree that was built of the inputs as they are now, None when none was."""
    with suppress(FileNotFoundError):
        tree = _note(target, cache).read_text(encoding="utf-8").strip()
        if (cache / tree / MANIFEST).is_file():
            return tree
    return None


def cached_tree(
    target: Target, tell: Callable[[str], None], bar: Bar, cache: Path = CACHE
) -> tuple[str, Path]:
    """Return the tree's name and the folder of its parts, built now if it was not before.

    Raises CliError when wheels cannot be fetched or make no tree.
    """
    tree = known_tree(target, cache)
    if tree is None:
        wheels = PROJECT / ".local" / "cache" / "wheels"
        closure = Wheelhouse(target, wheels, [], tell).fetch(REQUIREMENTS, CONSTRAINTS)
        tell(f"building the tree of {len(closure.wheels)} packages")
        tree = build(closure, target, cache, bar=bar).tree
        note = _note(target, cache)
        temporary = note.with_suffix(".new")
        temporary.write_text(f"{tree}\n", encoding="utf-8")
        temporary.replace(note)  # the tree is whole by now
    return tree, cache / tree


def _note(target: Target, cache: Path) -> Path:
    return cache / f"inputs-{inputs_of(target)}.txt"
