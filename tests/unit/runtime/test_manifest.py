"""What a manifest may say, and what its name vouches for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.runtime.manifest import (
    MAX_MANIFEST_BYTES,
    MAX_PART_BYTES,
    Manifest,
    TreeRefused,
    checked_name,
    read_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HASH = "a" * 64


def document(*paths: str) -> dict[str, Any]:
    files = [{"path": path, "mode": 0o644, "bytes": 1, "sha256": HASH} for path in paths]
    pieces = [{"file": number, "offset": 0, "bytes": 1} for number in range(len(paths))]
    parts = [{"bytes": 9, "sha256": HASH, "pieces": pieces}]
    return {
        "format": 1,
        "python": "3.12",
        "platform": "lambda_x86_64",
        "files": files,
        "parts": parts,
    }


def read(found: dict[str, Any]) -> Manifest:
    return read_manifest(json.dumps(found).encode(), Manifest.model_validate(found).tree)


def test_a_name_vouches_for_names_modes_and_contents() -> None:
    manifest = read(document("a.py", "b/c.py"))
    assert manifest.size == 2
    assert len(manifest.tree) == 64
    for change in ("path", "mode", "sha256"):
        other = document("a.py", "b/c.py")
        other["files"][1][change] = {"path": "b/d.py", "mode": 0o755, "sha256": "b" * 64}[change]
        with pytest.raises(TreeRefused, match="belongs to another tree"):
            read_manifest(json.dumps(other).encode(), manifest.tree)


def test_the_name_does_not_depend_on_how_the_parts_are_cut() -> None:
    whole, cut = document("a", "b"), document("a", "b")
    first, second = cut["parts"][0]["pieces"]
    cut["parts"] = [
        {"bytes": 9, "sha256": HASH, "pieces": [first]},
        {"bytes": 9, "sha256": HASH, "pieces": [second]},
    ]
    assert read(whole).tree == read(cut).tree


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../outside",
        "a/../../outside",
        "a/./b",
        "a//b",
        "a/",
        "a\\b",
        "a\x00b",
        "a\nb",
        "..",
        ".",
        "x" * 201,
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(TreeRefused, match="leads elsewhere"):
        read_manifest(json.dumps(document(path)).encode(), HASH)


def unsorted(found: dict[str, Any]) -> None:
    found["files"].reverse()


def twice(found: dict[str, Any]) -> None:
    found["files"][1]["path"] = found["files"][0]["path"]


def file_as_folder(found: dict[str, Any]) -> None:
    found["files"][1]["path"] = f"{found['files'][0]['path']}/inner"


def hole(found: dict[str, Any]) -> None:
    found["parts"][0]["pieces"].pop()


def overlap(found: dict[str, Any]) -> None:
    found["parts"][0]["pieces"].append({"file": 1, "offset": 0, "bytes": 1})


def nowhere(found: dict[str, Any]) -> None:
    found["parts"][0]["pieces"][1]["file"] = 7


def setuid(found: dict[str, Any]) -> None:
    found["files"][0]["mode"] = 0o4755


def huge_part(found: dict[str, Any]) -> None:
    found["files"][1]["bytes"] = MAX_PART_BYTES
    found["parts"][0]["pieces"][1]["bytes"] = MAX_PART_BYTES


def huge(found: dict[str, Any]) -> None:
    found["files"][1]["bytes"] = 5 * 1024**3


def unknown(found: dict[str, Any]) -> None:
    found["run"] = "me"


@pytest.mark.parametrize(
    "spoil",
    [unsorted, twice, file_as_folder, hole, overlap, nowhere, setuid, huge_part, huge, unknown],
)
def test_what_does_not_hold_together_is_refused(spoil: Callable[[dict[str, Any]], None]) -> None:
    found = document("a", "b")
    name = Manifest.model_validate(found).tree
    spoil(found)
    with pytest.raises(TreeRefused, match="not well formed"):
        read_manifest(json.dumps(found).encode(), name)


def test_too_much_is_not_even_parsed() -> None:
    with pytest.raises(TreeRefused, match="larger than it may be"):
        read_manifest(b" " * (MAX_MANIFEST_BYTES + 1), HASH)


@pytest.mark.parametrize("name", ["", "../x", "a" * 63, "A" * 64, "a" * 64 + "\n", "a" * 65])
def test_what_is_no_hash_names_no_folder(name: str) -> None:
    with pytest.raises(TreeRefused, match="64 hexadecimal digits"):
        checked_name(name)
