"""lsp with real servers: basedpyright and ruff together, python-lsp-server, clangd. Each is started once."""

from __future__ import annotations

import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from codetether.testing import make_kernel, processes_with
from codetether.words import ToolCall
from codetether_tool_lsp import watch

PLUGINS = [
    "tools:lsp",
    "tools:edit",
    "tools:multiedit",
    "tools:apply_patch",
    "tools:undo",
    "tools:bash",
]
BIN = Path(sys.prefix) / "bin"
APP = '''\
"""An app."""
import os


class Greeter:
    """Greets."""

    def greet(self, name: str) -> str:
        """Say hello."""
        return "hé𝒳llo " + name


def main() -> None:
    g = Greeter()
    print("𝒳", g.greet("you"))
'''
OTHER = (
    "from app import Greeter, main\n\n\ndef run() -> None:\n    Greeter().greet('x')\n    main()\n"
)


@asynccontextmanager
async def session_with(tmp_path, files, *, sandbox="none", **settings):
    work = tmp_path / "work"
    work.mkdir()
    for name, text in files.items():
        (work / name).write_text(text, newline="")
    chosen = {'plugins."tools:lsp"': settings, "sandbox": sandbox}
    plugins = [*PLUGINS, f"sandboxes:{sandbox}"]
    async with (
        make_kernel(tmp_path, replies=[], plugins=plugins, settings=chosen) as kernel,
        kernel.open_session(directory=work, access="full") as session,
    ):
        yield session
    assert not processes_with(str(tmp_path))
    assert kernel.host.faults == []


async def use(session, name, **arguments):
    result = await session.toolbox.one(
        ToolCall(session.new_id("call"), name, json.dumps(arguments))
    )
    assert result.ok, result.text
    return result.text


async def lsp(session, operation, **arguments):
    return await use(session, "lsp", operation=operation, **arguments)


async def test_basedpyright_and_ruff_in_the_sandbox(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "FRESH", 0.0)
    settings = {
        "servers": {"basedpyright": {"command": [str(BIN / "basedpyright-langserver"), "--stdio"]}}
    }
    files = {"app.py": APP, "other.py": OTHER}
    async with session_with(tmp_path, files, sandbox="bubblewrap", **settings) as session:
        work = session.directory
        first = await use(session, "edit", path="app.py", old_string="+ name", new_string="+ 3")
        assert "New problems after this edit:\napp.py:10:16 error: Operator" in first
        assert "reportOperatorIssue" in first
        assert "F401" not in first  # that was there before
        mended = await use(session, "edit", path="app.py", old_string="+ 3", new_string="+ name")
        assert "problems" not in mended

        assert await lsp(session, "definition", path="other.py", symbol="greet") == (
            "app.py:8:9 def greet(self, name: str) -> str:"
        )
        found = await lsp(session, "references", path="app.py", symbol="Greeter.greet")
        assert found == (
            "3 references in 2 files\napp.py\n  8:9 def greet(self, name: str) -> str:\n"
            '  15:18 print("𝒳", g.greet("you"))\nother.py\n  5:15 Greeter().greet(\'x\')'
        )
        # The column behind a character of two units, there and back.
        assert "Say hello" in await lsp(session, "hover", path="app.py", line=15, column=18)
        kind = await lsp(session, "type_definition", path="app.py", symbol="name", line=10)
        assert "builtins.pyi:" in kind
        assert (await lsp(session, "document_symbols", path="app.py")).startswith(
            "class Greeter 5-10\n  method greet 8-10"
        )
        assert "method greet in Greeter app.py:8" in await lsp(
            session, "workspace_symbols", symbol="gree"
        )
        assert await lsp(session, "incoming_calls", path="app.py", symbol="greet") == (
            "function main app.py:13 (call on line 15)\nfunction run other.py:4 (call on line 5)"
        )
        assert "method greet app.py:8" in await lsp(
            session, "outgoing_calls", path="other.py", symbol="run"
        )
        assert "greet method" in await lsp(session, "completion", path="app.py", line=15, column=18)
        assert "2:8 warning: `os` imported but unused" in await lsp(
            session, "diagnostics", path="app.py"
        )

        listed = await lsp(session, "code_actions", path="app.py", line=2)
        assert "Remove unused import: `os` [quickfix]" in listed
        await lsp(session, "code_actions", path="app.py", line=2, action="Remove unused import")
        assert "import os" not in (work / "app.py").read_text()

        shown = await lsp(
            session, "rename", path="app.py", symbol="greet", new_name="hi", dry_run=True
        )
        assert "+    Greeter().hi('x')" in shown
        told = await lsp(session, "rename", path="app.py", symbol="greet", new_name="welcome")
        assert "Changed 2 files" in told
        assert "problems" not in told  # neither file alone is right, both together are
        assert "welcome" in (work / "other.py").read_text()

        # A file made behind the servers' backs is known to them.
        (work / "third.py").write_text("from app import Greeter\n\nGreeter().welcome('y')\n")
        assert "third.py" in await lsp(session, "references", path="app.py", symbol="welcome")
        # In the sandbox a server cannot change the workspace, whatever the project makes it do.
        assert sorted(os.listdir(work)) == ["app.py", "other.py", "third.py"]


async def test_pylsp(tmp_path):
    off = {name: {"off": True} for name in ("basedpyright", "pyright", "ruff")}
    async with session_with(tmp_path, {"app.py": APP, "other.py": OTHER}, servers=off) as session:
        assert await lsp(session, "definition", path="other.py", symbol="greet") == (
            "app.py:8:9 def greet(self, name: str) -> str:"
        )
        assert "Say hello" in await lsp(session, "hover", path="app.py", symbol="Greeter.greet")
        assert "other.py\n  5:15" in await lsp(session, "references", path="app.py", symbol="greet")
        assert "greet" in await lsp(session, "completion", path="app.py", line=15, column=20)
        edited = await use(session, "edit", path="app.py", old_string="+ name", new_string="+ nam")
        assert "app.py:10:" in edited  # pyflakes counts bytes
        assert "error: undefined name 'nam' [pyflakes]" in edited
        await lsp(session, "rename", path="app.py", symbol="Greeter", new_name="Host")
        assert "import Host, main" in (session.directory / "other.py").read_text()


async def test_clangd(tmp_path):
    files = {
        "shape.h": "#pragma once\r\nstruct Shape { int size; };\r\nint area(struct Shape shape);\r\n",
        "shape.c": '#include "shape.h"\n\nint area(struct Shape shape) { return /* é𝒳 */ shape.size; }\n',
        "compile_flags.txt": "-Wall\n",
    }
    async with session_with(tmp_path, files) as session:
        assert await lsp(session, "definition", path="shape.c", symbol="size", line=3) == (
            "shape.h:2:20 struct Shape { int size; };"
        )
        assert "struct Shape" in await lsp(session, "hover", path="shape.c", symbol="Shape", line=3)
        edited = await use(
            session, "edit", path="shape.c", old_string="shape.size;", new_string="shape.sizes;"
        )
        assert "shape.c:3:54 error: No member named 'sizes' in 'struct Shape'" in edited
        edited = await use(
            session, "edit", path="shape.c", old_string="shape.sizes; }", new_string="shape.size }"
        )
        assert "error: Expected ';'" in edited
        assert "No member" not in edited
        fixed = await lsp(session, "code_actions", path="shape.c", line=3, action="insert ';'")
        assert "problems" not in fixed
        assert "shape.size;" in (session.directory / "shape.c").read_text()
        assert "struct Shape" in await lsp(session, "document_symbols", path="shape.h")
        await lsp(session, "rename", path="shape.c", symbol="size", line=3, new_name="länge")
        header = (session.directory / "shape.h").read_bytes()
        assert header.startswith("#pragma once\r\nstruct Shape { int länge; };\r\n".encode())
        assert "/* é𝒳 */ shape.länge;" in (session.directory / "shape.c").read_text()
