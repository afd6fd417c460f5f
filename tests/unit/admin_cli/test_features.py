"""Behind every y in docs/keys.md stands a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "keys.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.split("## ")[0].splitlines()
    if line.startswith("|")
][2:]
LINKS = re.findall(r"\[(\w+)\]\((\.\./tests/[\w/]+\.py)\)", TEXT)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_claim_names_its_test(row: list[str]) -> None:
    feature, *others, claim, how, shown = row
    assert feature
    assert how
    assert len(others) == 6
    # As docs/keys.md explains them; `by hand` is what one product has.
    assert all(re.match(r"[ypn?\u2013](,|$)|by hand$", other) for other in others)
    assert claim.startswith(("y", "n"))
    assert bool(re.search(r"\]\(\.\./tests/", shown)) == claim.startswith("y")


@pytest.mark.parametrize(("name", "path"), LINKS)
def test_a_named_test_is_there(name: str, path: str) -> None:
    tree = ast.parse((DOCUMENT.parent / path).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert name in defined


def test_the_table_is_read() -> None:
    assert len(ROWS) >= 20
    header = next(line for line in TEXT.splitlines() if line.startswith("| feature"))
    assert header.split(" | ")[1:8] == [
        *("API Gateway alone", "AWS developer portal", "Unkey", "Zuplo", "Kong OSS", "Tyk OSS"),
        "Radgate",
    ]
    assert len(LINKS) >= len(ROWS)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", TEXT))
def test_a_link_leads_somewhere(link: str) -> None:
    path, _, heading = link.partition("#")
    assert path == "" or (DOCUMENT.parent / path).exists()
    if not path:
        words = [
            line[3:].lower().replace(" ", "-") for line in TEXT.splitlines() if line[:3] == "## "
        ]
        assert heading in words
