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
    feature, claim, _how, shown = row
    assert feature
    assert claim.startswith(("y", "n"))
    assert bool(re.search(r"\]\(\.\./tests/", shown)) == claim.startswith("y")


@pytest.mark.parametrize(("name", "path"), LINKS)
def test_a_named_test_is_there(name: str, path: str) -> None:
    tree = ast.parse((DOCUMENT.parent / path).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert name in defined


def test_the_table_is_read() -> None:
    assert len(ROWS) >= 19
    assert len(LINKS) >= len(ROWS)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", TEXT))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (DOCUMENT.parent / link).exists()
