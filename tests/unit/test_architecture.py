"""Holds the house in shape: who may import whom, and what `import app` may load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADAPTERS = ("inference", "reports", "tenants", "delivery", "runtime")
ADAPTER_NEEDS = {"domain", "durable", "errors", "aws", "settings"}
EVERYTHING = {
    "aws",
    "bootstrap",
    "domain",
    "durable",
    "errors",
    "http",
    "inputs",
    "portal",
    "ports",
    "problems",
    "services",
    "settings",
    "telemetry",
    *ADAPTERS,
}
# room -> the rooms of chalicelib that it may import, besides itself
ALLOWED: dict[str, set[str]] = {
    "app": {"bootstrap", "domain", "http", "inputs", "services"},
    "aws": {"settings"},
    "bootstrap": EVERYTHING,
    "domain": set(),
    "durable": set(),
    "errors": set(),
    "http": {"bootstrap", "domain", "errors", "inputs", "problems", "services"},
    "inputs": {"domain", "errors"},
    "ports": {"domain", "errors"},
    "problems": {"errors"},
    "portal": {"domain", "errors", "inputs", "problems", "services"},
    "services": {"domain", "errors", "ports"},
    "settings": set(),
    "telemetry": {"ports", "services"},
    **dict.fromkeys(ADAPTERS, ADAPTER_NEEDS),
}
# third-party package -> the only rooms that may name it
CONFINED = {
    "torch": {"inference"},
    "numpy": {"inference"},
    "pydicom": {"inference"},
    "safetensors": {"inference"},
    "boto3": {"aws"},
    "botocore": {"aws", "reports", "tenants", "delivery", "runtime"},
    "chalice": {"app", "http"},
    "fpdf": {"reports"},
}
SOURCES = [ROOT / "app.py", *sorted((ROOT / "chalicelib").rglob("*.py"))]


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if len(parts) == 1 else parts[1]


def imported_modules(path: Path) -> list[str]:
    """Return every module that a file imports at run time, at any depth of nesting."""
    found: list[str] = []
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            module = node.module or ""
            if module == "chalicelib":
                found.extend(f"chalicelib.{alias.name}" for alias in node.names)
            else:
                found.append(module)
        pending.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        assert imported_modules(path) == []
        return
    for module in imported_modules(path):
        top, _, rest = module.partition(".")
        assert top not in {"admin_cli", "tests", "training"}, f"{room} imports {module}"
        if top == "chalicelib":
            target = rest.split(".")[0]
            assert target == room or target in ALLOWED[room], f"{room} imports {module}"
        if top in CONFINED:
            assert room in CONFINED[top], f"{room} imports {module}"


def test_the_walk_sees_a_forbidden_import(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "def f():\n    if True:\n        from chalicelib import http\n        import torch.nn\n"
    )
    assert set(imported_modules(bad)) == {"chalicelib.http", "torch.nn"}


def test_importing_app_loads_no_torch_no_numpy_and_makes_no_client() -> None:
    program = (
        "import json, sys, app;"
        "print(json.dumps([n for n in ('torch', 'numpy', 'boto3', 'botocore.client',"
        " 'pydicom', 'PIL', 'fpdf', 'aws_xray_sdk', 'wrapt') if n in sys.modules]))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert json.loads(loaded.stdout) == []
