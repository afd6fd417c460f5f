"""Which code a function of `app.py` can come to run, read from the sources.

The rule leans to the safe side: a method counts as reached when its class is named by reached
code and its own name is used by reached code, whoever it is used on. So what a function needs is
never missed, and may be overstated where two adapters share a word.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROJECT = Path(__file__).resolve().parents[2]
_EVENTS = {"lambda_function", "schedule"}


@dataclass(frozen=True)
class Code:
    """A function, a method, or, without a name, what a class or a module runs when it is made."""

    module: str
    owner: str  # the class of a method
    name: str
    nodes: tuple[ast.AST, ...] = field(compare=False, hash=False)

    def walk(self) -> Iterator[ast.AST]:
        for node in self.nodes:
            yield from ast.walk(node)


@dataclass
class _Used:
    """What reached code mentions: names in a module, names of another module, attributes."""

    names: set[tuple[str, str]] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)

    def add(self, code: Code) -> None:
        for node in code.walk():
            match node:
                case ast.ImportFrom(module=str(module), names=names):
                    for alias in names:
                        whole = f"{module}.{alias.name}"
                        if whole in sources():
                            self.modules.add(whole)
                        elif module in sources():
                            self.modules.add(module)
                            # At a module's top: used only by what uses it under this name.
                            if code.name:
                                self.names.add((module, alias.name))
                case ast.Attribute(value=ast.Name(id=place), attr=name):
                    self.attributes.add(name)
                    self.names |= {(m, name) for m in sources() if m.rpartition(".")[2] == place}
                case ast.Attribute(attr=name):
                    self.attributes.add(name)
                case ast.Name(id=name):
                    self.names.add((code.module, name))


@cache
def sources() -> dict[str, ast.Module]:
    """Every module that ships, by its dotted name."""
    files = [PROJECT / "app.py", *sorted((PROJECT / "chalicelib").rglob("*.py"))]
    trees = {}
    for file in files:
        parts = file.relative_to(PROJECT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(file.read_text("utf-8"))
    return trees


@cache
def handlers() -> dict[str, tuple[Code, ...]]:
    """The handlers of each Lambda function by its name; all routes are `api_handler`."""
    found: dict[str, tuple[Code, ...]] = {}
    for node in sources()["app"].body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                name = _function_name(node, decorator)
                if name:
                    found[name] = (*found.get(name, ()), Code("app", "", node.name, (node,)))
    return found


def _function_name(node: ast.FunctionDef, decorator: ast.expr) -> str:
    match decorator:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="app"), attr=kind), keywords=keywords):
            if kind == "route":
                return "api_handler"
            if kind in _EVENTS or kind.startswith("on_"):
                given = [one.value for one in keywords if one.arg == "name"]
                return str(ast.literal_eval(given[0])) if given else node.name
    return ""


@cache
def everything() -> tuple[Code, ...]:
    """Every function, method and class that ships."""
    found = []
    for module, tree in sources().items():
        for node in _outside_type_checking(tree.body):
            if isinstance(node, ast.FunctionDef):
                found.append(Code(module, "", node.name, (node,)))
            elif isinstance(node, ast.ClassDef):
                methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                found += [Code(module, node.name, part.name, (part,)) for part in methods]
                # What a class is made of: its bases, its decorators, its fields' defaults.
                rest = [part for part in node.body if part not in methods]
                found.append(
                    Code(module, node.name, "", (*node.bases, *node.decorator_list, *rest))
                )
    return tuple(found)


def _at_import(module: str) -> Code:
    body = _outside_type_checking(sources()[module].body)
    kept = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    if module == "app":  # its functions do not share what they import
        kept = [node for node in kept if not isinstance(node, ast.ImportFrom)]
    return Code(module, "", "", tuple(kept))


@cache
def _passed_on() -> dict[tuple[str, str], str]:
    """Where each name comes from that a module imports at its top."""
    return {
        (module, alias.name): str(node.module)
        for module, tree in sources().items()
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _outside_type_checking(body: Iterable[ast.stmt]) -> list[ast.stmt]:
    return [
        node
        for node in body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]


@cache
def reached(function: str) -> frozenset[Code]:
    """What a Lambda function can come to run, its handlers first."""
    codes: set[Code] = set()
    used = _Used()
    fresh: set[Code] = set(handlers().get(function, ()))
    while fresh:
        codes |= fresh
        for code in fresh:
            used.add(code)
        # What a reached name stands for, be it a handler's decorator or a package's member.
        for (place, name), module in _passed_on().items():
            if (place, name) in used.names:
                used.names.add((module, name))
                whole = f"{module}.{name}"
                used.modules |= {m for m in (whole, module) if m in sources()}
        fresh = {_at_import(module) for module in used.modules} - codes
        fresh |= {code for code in everything() if _is_used(code, used)} - codes
    return frozenset(codes)


def _is_used(code: Code, used: _Used) -> bool:
    if code.module not in used.modules:
        return False
    if not code.owner:
        return (code.module, code.name) in used.names
    if (code.module, code.owner) not in used.names:
        return False
    return not code.name or code.name in used.attributes or code.name.startswith("__")
