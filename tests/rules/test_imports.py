"""Who may import whom: nobody breaks it, and every kind of breach would be found."""

from __future__ import annotations

from pathlib import Path

import pytest
from imports import Import, breaches, imports, kernel_breach, plugin_breach
from workspace import Member, Workspace

OWNERS = {"httpx": "httpx", "yaml": "pyyaml", "trio": "trio", "pluggy": "pluggy"}


def member(name, folder, *dependencies, entry_points=None):
    table = {"name": name, "version": "1", "dependencies": list(dependencies)}
    if entry_points:
        table["entry-points"] = entry_points
    return Member(Path("/r") / folder, table)


KERNEL = member("codetether-core", "core", "pluggy>=1", "trio")
WIRE = member("codetether-wire", "plugins/providers/wire", "httpx>=0.28")
TOOL = member(
    "codetether-tool-x", "plugins/tools/x", "codetether-core>=0.1", "codetether-wire>=0.1", "PyYAML"
)
OTHER = member(
    "codetether-tool-y", "plugins/tools/y", entry_points={"codetether.tools": {"y": "a:B"}}
)


@pytest.fixture
def small():
    space = Workspace(Path("/r"))
    space.__dict__["members"] = [KERNEL, WIRE, TOOL, OTHER]
    return space


def test_nobody_imports_what_it_may_not(workspace):
    assert breaches(workspace) == []


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("os.path", ""),
        ("trio", ""),
        ("msgspec", ""),
        ("codetether.api", ""),
        ("codetether.api.Tool", ""),
        ("codetether_tool_x.inner", ""),
        ("codetether_wire", ""),
        ("yaml", ""),
        ("codetether.host", "codetether.api only"),
        ("codetether", "codetether.api only"),
        ("codetether_tool_y", "ask the kernel for it by name"),
        ("httpx", "httpx is not declared"),
        ("pluggy", "pluggy is not declared"),
        ("asyncio", "no place beside trio"),
    ],
)
def test_what_a_plugin_may_import(small, module, why):
    told = plugin_breach(Import(module, 1, True), TOOL, small, OWNERS)
    assert (why in told) if why else told == ""


def test_a_library_that_is_not_declared_is_found(small):
    assert "codetether-wire is not declared" in plugin_breach(
        Import("codetether_wire", 1, True), OTHER, small, OWNERS
    )


@pytest.mark.parametrize(
    ("module", "found", "why"),
    [
        ("loop", "codetether.words", ""),
        ("loop", "pluggy", ""),
        ("words", "codetether.loop", "loop stands above words"),
        ("host", "codetether.kernel", "kernel stands above host"),
        ("loop", "yaml", "pyyaml is not declared"),
        ("loop", "codetether_tool_x", "knows no plugin"),
        ("catalog", "os", ""),
        ("catalog", "codetether.layers", ""),
        ("catalog", "typing", "before every command"),
        ("__main__", "codetether.host", "before every command"),
        ("commands.plugins", "codetether.kernel", ""),
    ],
)
def test_what_the_kernel_may_import(module, found, why):
    told = kernel_breach(Import(found, 1, True), module, KERNEL, OWNERS)
    assert (why in told) if why else told == ""


def test_imports_are_found_wherever_they_hide():
    source = (
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import hidden\nelse:\n    import shown\n"
        "from . import near\nfrom ..a import b\n"
        "class C:\n    import inner\n"
        "async def f():\n    import late\n"
    )
    found = {(one.module, one.at_start) for one in imports(source, "p.q")}
    assert ("hidden", True) not in found
    assert {
        ("shown", True), ("p.q.near", True), ("p.a.b", True), ("inner", True), ("late", False),
    } <= found  # fmt: skip
