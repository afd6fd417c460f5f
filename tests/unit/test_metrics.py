"""Every metric that the code emits is in the operator's table, and every one there is emitted."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EMITTING = {"measure", "_emit"}


def emitted() -> Iterator[str]:
    """Yield the names that are given to the monitor as they stand in the code."""
    for path in sorted((ROOT / "chalicelib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                first = node.args[0] if node.args else None
                if node.func.attr in EMITTING and isinstance(first, ast.Constant):
                    yield str(first.value)


def tabled() -> Iterator[str]:
    """Yield the names in the table of docs/queue.md."""
    text = (ROOT / "docs" / "queue.md").read_text(encoding="utf-8")
    table = text.partition("| metric | unit |")[2].partition("\n\n")[0]
    yield from re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_the_operator_s_table_has_every_metric_and_no_other() -> None:
    assert sorted(set(emitted())) == sorted(tabled())
