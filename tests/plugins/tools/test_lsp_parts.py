"""lsp, the parts that need no server: places, messages, comparing problems, the table, who is started, edits."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from codetether.api import ToolError, Workspace
from codetether.testing import check_plugin
from codetether_tool_lsp import Lsp, LspSettings, Operation, ServerSettings, find, table
from codetether_tool_lsp.document import path_of
from codetether_tool_lsp.edits import Patch
from codetether_tool_lsp.framing import HEADER_LIMIT, BrokenProtocol, Reader, framed
from codetether_tool_lsp.positions import ENCODINGS, Places, characters, units
from codetether_tool_lsp.problems import Problem, new
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.sampled_from("a é𝒳\t\r\n\u2028ß"), max_size=40)


def test_it_keeps_the_rules_of_plugins():
    check_plugin("lsp", "codetether.tools")


# --- places ---
@given(TEXT, st.sampled_from(ENCODINGS))
def test_every_place_has_a_name_that_leads_back(text, encoding):
    places = Places(text, encoding)
    for number in range(len(places)):
        line = places.line(number)
        assert "\n" not in line
        assert "\r" not in line
        for column in range(len(line) + 1):
            position = places.position(number, column)
            assert characters(line, position["character"], encoding) == column
            assert places.place(places.offset(position)) == (number, column)


@given(TEXT)
def test_units_are_what_the_encodings_say(text):
    assert units(text, "utf-16") == len(text.encode("utf-16-le")) // 2
    assert units(text, "utf-8") == len(text.encode())
    assert units(text, "utf-32") == len(text)


def test_a_place_within_a_character_or_behind_the_end_is_taken_for_what_is_there():
    assert characters("𝒳a", 1, "utf-16") == 0
    assert characters("𝒳a", 2, "utf-8") == 0
    assert characters("𝒳a", 9, "utf-16") == 2
    assert Places("one\ntwo").offset({"line": 9, "character": 9}) == 7


# --- messages ---
class Pieces:
    def __init__(self, *pieces):
        self.pieces = list(pieces)

    async def receive_some(self, max_bytes=None):
        return self.pieces.pop(0) if self.pieces else b""


@given(
    st.lists(st.dictionaries(st.text(max_size=5), TEXT, max_size=3), max_size=4), st.integers(1, 9)
)
def test_messages_come_through_however_they_are_cut(messages, size):
    import trio

    data = b"".join(map(framed, messages))
    reader = Reader(Pieces(*(data[at : at + size] for at in range(0, len(data), size))))

    async def read():
        return [await reader.message() for _ in messages] + [await reader.message()]

    assert trio.run(read) == [*messages, None]
    assert reader.taken == len(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"Content-Length: 2147483648\r\n\r\n", "2147483648 bytes"),
        (b"Content-Length: 99999999999999999999999\r\n\r\n", "without a length"),
        (b"Content-Length: -1\r\n\r\n", "without a length"),
        (b"Content-Type: x\r\n\r\n", "without a length"),
        (b"x" * (HEADER_LIMIT + 1), "no header"),
        (b"Content-Length: 3\r\n\r\n[1]", "no object"),
        (b"Content-Length: 2\r\n\r\n{]", "not JSON"),
        (b"Content-Length: 4\r\n\r\n\xff\xfe{}", "not JSON"),
    ],
)
async def test_what_is_no_message_ends_it(data, why):
    with pytest.raises(BrokenProtocol, match=why):
        await Reader(Pieces(data)).message()


async def test_a_message_cut_off_is_an_end():
    assert await Reader(Pieces(b"Content-Length: 5\r\n\r\n{")).message() is None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_an_end_or_broken(data):
    import trio

    try:
        message = trio.run(Reader(Pieces(data)).message)
    except BrokenProtocol:
        return
    assert message is None or isinstance(message, dict)


# --- problems ---
def problem(line, message="bad", text="x = 1", severity=1):
    return Problem(severity, line, 1, message, "E1", "fake", text)


def test_what_only_moved_is_not_new():
    was = [problem(3, text="a"), problem(9, "other")]
    now = [problem(5, text="a"), problem(11, "other"), problem(2, text="b")]
    assert new(was, now) == [problem(2, text="b")]


def test_a_line_that_changed_keeps_its_problem():
    assert new([problem(3, text="a")], [problem(3, text="a + 1")]) == []


def test_of_equal_problems_the_one_more_is_new():
    was = [problem(3, text="a")]
    assert new(was, [problem(3, text="a"), problem(4, text="b")]) == [problem(4, text="b")]


def test_errors_come_first():
    now = [problem(1, severity=2), problem(2, text="y")]
    assert [each.severity for each in new([], now)] == [1, 2]


# --- operations and servers ---
@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("goToDefinition", "definition"),
        ("findReferences", "references"),
        ("documentSymbol", "document_symbols"),
        ("workspace-symbol", "workspace_symbols"),
        ("goToImplementation", "implementation"),
        ("prepareCallHierarchy", "incoming_calls"),
        ("outgoingCalls", "outgoing_calls"),
        ("codeActions", "code_actions"),
    ],
)
def test_other_spellings_are_understood(said, meant):
    assert Operation(said) is Operation(meant)


def test_an_operation_that_is_none():
    with pytest.raises(ValueError, match="fly"):
        Operation("fly")


def test_settings_change_add_and_remove_servers():
    own = {
        "ruff": ServerSettings(off=True),
        "pylsp": ServerSettings(settings={"a": 1}),
        "mine": ServerSettings(command=["mine"], extensions=["my"], roots=["my.toml"]),
    }
    known = {each.name: each for each in table.servers(own)}
    assert "ruff" not in known
    assert known["mine"].extensions == [".my"]
    assert known["pylsp"].command == ("pylsp",)
    assert known["pylsp"].settings["a"] == 1
    assert next(iter(known)) == "pylsp"  # what the settings name comes first


def test_servers_the_issue_names_are_known():
    programs = {known.command[0] for known in table.SERVERS}
    assert programs >= {
        "pyright-langserver", "basedpyright-langserver", "ruff", "pylsp", "typescript-language-server",
        "rust-analyzer", "gopls", "clangd",
    }  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a server in it, none elsewhere."""
    root = tmp_path / "work"
    (root / ".venv/bin").mkdir(parents=True)
    (root / "pkg/deep").mkdir(parents=True)
    (root / "pkg/pyproject.toml").touch()
    (root / "pkg/deep/a.py").touch()
    program = root / ".venv/bin/pylsp"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"/usr/bin:{program.parent}")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "nowhere"))
    return root


def session(root, *, level="S3", access="auto"):
    kernel = SimpleNamespace(
        dirs=SimpleNamespace(config=root.parent / "config"),
        sandbox=lambda: SimpleNamespace(level=level),
    )
    return SimpleNamespace(directory=root, kernel=kernel, access=access)


PYLSP = [known for known in table.SERVERS if known.name in ("pylsp", "jedi")]


def test_a_server_of_the_project_is_used_only_when_it_is_trusted(project, monkeypatch):
    here, file = session(project), project / "pkg/deep/a.py"
    assert find.for_file(file, PYLSP, here) == []
    assert "does not trust" in find.missing(file, PYLSP, here)
    monkeypatch.setattr(find, "trusted", lambda session: True)
    (found,) = find.for_file(file, PYLSP, here)
    assert found.program == str(project / ".venv/bin/pylsp")
    assert found.root == project / "pkg"


def test_a_link_into_the_project_is_of_the_project(project, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pylsp").symlink_to(project / ".venv/bin/pylsp")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find.for_file(project / "pkg/deep/a.py", PYLSP, session(project)) == []


def test_a_server_of_the_machine_is_found_and_told_how_to_install(project, tmp_path, monkeypatch):
    here, file = session(project), project / "pkg/deep/a.py"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/jedi-language-server"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert [each.program for each in find.for_file(file, PYLSP, here)] == [str(program)]
    assert "pip install" in find.missing(file, PYLSP[1:], here)
    assert "No language server is known" in find.missing(project / "x.nothing", PYLSP, here)


def test_without_a_sandbox_an_untrusted_project_gets_no_server(project):
    assert find.may_start(session(project, level="S0"))
    assert not find.may_start(session(project, level="S0", access="full"))
    assert not find.may_start(session(project, level="S2"))


def test_the_outermost_root_where_projects_nest(tmp_path):
    (tmp_path / "w/crates/one/src").mkdir(parents=True)
    (tmp_path / "w/Cargo.toml").touch()
    (tmp_path / "w/crates/one/Cargo.toml").touch()
    rust = next(known for known in table.SERVERS if known.name == "rust-analyzer")
    file = tmp_path / "w/crates/one/src/lib.rs"
    assert find.root_of(file, rust, tmp_path / "w") == tmp_path / "w"
    biome = next(known for known in table.SERVERS if known.name == "biome")
    assert find.root_of(file, biome, tmp_path / "w") is None


def test_a_compiler_that_is_no_server_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    for folder, old in (("old", True), ("new", False)):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "bin/tsc").touch(0o755)
        (tmp_path / folder / "lib").mkdir()
        if old:
            (tmp_path / folder / "lib/tsserver.js").touch()
    tsc = [known for known in table.SERVERS if known.name == "tsc"]
    monkeypatch.setenv("PATH", f"{tmp_path}/old/bin:{tmp_path}/new/bin")
    (found,) = find.for_file(tmp_path / "work/a.ts", tsc, session(tmp_path / "work"))
    assert found.program == f"{tmp_path}/new/bin/tsc"


# --- edits ---
def span(start, end, new):
    names = ({"line": line, "character": column} for line, column in (start, end))
    return {"range": dict(zip(("start", "end"), names, strict=True)), "newText": new}


async def patched(tmp_path, data, edits, encoding="utf-16"):
    """What apply_patch makes of a file by the patch."""
    from codetether_editing import commit, parse
    from codetether_editing import patched as put

    (tmp_path / "a.txt").write_bytes(data)
    workspace = Workspace(tmp_path)
    patch = Patch(SimpleNamespace(workspace=workspace), encoding)
    await patch.add({"changes": {(tmp_path / "a.txt").as_uri(): edits}})
    if patch.text():
        drafts, notes = await put(parse(patch.text()), workspace)
        assert [each for each in notes if "line ends differ" not in each] == []
        await commit(drafts, workspace)
    return (tmp_path / "a.txt").read_bytes()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("one\ntwo\n", "one\nX\nYo\n"),
        ("one\r\ntwo\r\n", "one\r\nX\r\nYo\r\n"),
        ("\ufeffone\r\ntwo", "\ufeffone\r\nX\r\nYo"),
    ],
)
async def test_an_edit_keeps_line_ends_and_marks(tmp_path, before, after):
    edit = span((1, 0), (1, 2), "X\nY")
    assert await patched(tmp_path, before.encode(), [edit]) == after.encode()


@pytest.mark.parametrize(("encoding", "column"), [("utf-16", 5), ("utf-8", 8), ("utf-32", 4)])
async def test_columns_are_counted_as_the_server_does(tmp_path, encoding, column):
    edits = [span((0, column), (0, column + 1), "!")]
    assert (await patched(tmp_path, "é𝒳 =x;\n".encode(), edits, encoding)).decode() == "é𝒳 =!;\n"


async def test_edits_at_one_place_keep_their_order(tmp_path):
    edits = [span((0, 1), (0, 1), "B"), span((0, 1), (0, 2), "C"), span((0, 0), (0, 1), "A")]
    assert await patched(tmp_path, b"xyz\n", edits) == b"ABCz\n"


@pytest.mark.parametrize(
    "edit",
    [
        {"changes": {"file:///etc/passwd": []}},
        {"changes": {"https://example.org/": []}},
        {"documentChanges": [{"kind": "run", "uri": "x"}]},
        {"documentChanges": [{"textDocument": {}}]},
        {"changes": 7},
        [],
    ],
)
async def test_what_cannot_be_changed_is_refused(tmp_path, edit):
    patch = Patch(SimpleNamespace(workspace=Workspace(tmp_path)), "utf-16")
    with pytest.raises(ToolError):
        await patch.add(edit)


def test_addresses():
    assert path_of("file:///a%20b/c%C3%A9") == Path("/a b/cé")
    assert path_of("untitled:x") is None
    assert path_of(5) is None


def test_the_schema_stays_small():
    tool = Lsp(SimpleNamespace(settings=lambda key, cls: LspSettings()), "tools:lsp")
    schema = tool.schema()
    words = len(json.dumps(schema.parameters)) + len(schema.description)
    assert words / 3.5 < 400
