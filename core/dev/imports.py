"""Who may import whom, read from the syntax trees of every member (docs/design.md).

    python core/dev/imports.py        print every breach; exit 1 when there is one

A plugin imports `codetether.api`, its own package, what its pyproject.toml declares, and the two libraries the
kernel's own interfaces are made of. The kernel imports no plugin, its base no higher room, and the modules that run
before every command nothing that a bare interpreter has not loaded anyway.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

from workspace import Member, Workspace, requirement_name

FAST = {"__init__", "__main__", "catalog", "listing", "layers"}
FAST_MAY = {"os", "sys", "stat"}
LENT = {"trio", "msgspec"}  # the kernel's ports are made of them, so every plugin may use them
# Each has one loop, for a library that knows nothing else (docs/design.md).
WITH_A_LOOP = {"codetether-mode-tui", "codetether-nats"}
DOORS = {"codetether.api"}
ROOMS = (
    {"__init__", "errors", "words", "events"},
    {"ports", "hookspecs", "schema"},
    {"calls", "host", "feed", "catalog"},
    {"permit", "toolbox", "transcript", "config"},
    {"loop", "session"},
    {"kernel"},
    {"__main__"},
)


class Import(NamedTuple):
    """One import statement: the dotted module, its line, and whether it runs when the file is imported."""

    module: str
    line: int
    at_start: bool


def imports(source: str, package: str) -> Iterator[Import]:
    """Every import in `source` but those for the type checker; relative ones made absolute."""
    yield from _walk(ast.parse(source), package, at_start=True)


def _walk(node: ast.AST, package: str, *, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_start) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            parents = (
                package.split(".")[: len(package.split(".")) - child.level + 1]
                if child.level
                else []
            )
            base = ".".join([*parents, *([child.module] if child.module else [])])
            yield Import(base, child.lineno, at_start)
            # `from codetether import config` imports a module too
            yield from (
                Import(f"{base}.{alias.name}", child.lineno, at_start) for alias in child.names
            )
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _walk(ast.Module(child.orelse, []), package, at_start=at_start)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, package, at_start=at_start and not inside)


def plugin_breach(
    found: Import, member: Member, workspace: Workspace, owners: dict[str, str]
) -> str:
    """Why a plugin or library may not import this; empty when it may."""
    top = found.module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return (
            "asyncio has no place beside trio"
            if top == "asyncio" and member.name not in WITH_A_LOOP
            else ""
        )
    if top == member.package or top in LENT:
        return ""
    if top == "codetether":
        ok = any(found.module == door or found.module.startswith(f"{door}.") for door in DOORS)
        return "" if ok else "plugins import codetether.api only"
    declared = {requirement_name(line) for line in member.requires}
    others = {other.package: other for other in workspace.plugins}
    if top in others:
        if others[top].entry_points:
            return f"{others[top].name} is a plugin: ask the kernel for it by name"
        return (
            ""
            if others[top].name in declared
            else f"{others[top].name} is not declared in pyproject.toml"
        )
    owner = owners.get(top, top)
    return "" if owner in declared else f"{owner} is not declared in pyproject.toml"


def kernel_breach(found: Import, module: str, kernel: Member, owners: dict[str, str]) -> str:
    """Why the kernel's module (dotted, below codetether) may not import this; empty when it may."""
    top = found.module.partition(".")[0]
    if found.at_start and module in FAST and top not in FAST_MAY and not _is_fast(found.module):
        return "it runs before every command, so it may import os, sys and stat only"
    if top == "asyncio":
        return "asyncio has no place beside trio"
    if top in sys.stdlib_module_names:
        return ""
    if top.startswith("codetether_"):
        return "the kernel knows no plugin"
    if top == "codetether":
        return _upward(found, module)
    owner = owners.get(top, top)
    declared = {requirement_name(line) for line in kernel.requires}
    return "" if owner in declared else f"{owner} is not declared in core/pyproject.toml"


def _is_fast(module: str) -> bool:
    first, _, rest = module.partition(".")
    return first == "codetether" and (not rest or rest.split(".")[0] in FAST | {"__version__"})


def _upward(found: Import, module: str) -> str:
    here = next((level for level, room in enumerate(ROOMS) if module in room), None)
    name = found.module.removeprefix("codetether").lstrip(".").split(".")[0] or "__init__"
    there = next((level for level, room in enumerate(ROOMS) if name in room), None)
    if here is None or there is None or not found.at_start or there <= here:
        return ""
    return f"{name} stands above {module}"


def breaches(workspace: Workspace) -> list[str]:
    """Every breach in every member, as `file:line: what: why`."""
    owners = {top: requirement_name(names[0]) for top, names in packages_distributions().items()}
    found = []
    for member in workspace.members:
        for file in sorted(member.source.rglob("*.py")):
            for one in imports(file.read_text("utf-8"), _package(file, member)):
                if member.group == "core":
                    why = kernel_breach(one, _module(file, member), member, owners)
                else:
                    why = plugin_breach(one, member, workspace, owners)
                if why:
                    found.append(
                        f"{file.relative_to(workspace.root)}:{one.line}: {one.module}: {why}"
                    )
    return found


def _module(file: Path, member: Member) -> str:
    parts = file.relative_to(member.source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _package(file: Path, member: Member) -> str:
    return ".".join([member.package, *file.relative_to(member.source).parts[:-1]])


if __name__ == "__main__":
    told = breaches(Workspace())
    print("\n".join(told))
    raise SystemExit(bool(told))
