"""`codetether sessions`: what it prints, what it deletes, and what it never does."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from codetether.api import (
    CodetetherError,
    DeniedError,
    GitState,
    Image,
    Message,
    SessionBusy,
    SessionHeader,
    SessionMissing,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Transcript,
    Usage,
    UsageError,
    find_session,
)
from codetether.testing import make_kernel

EVIL = "\x1b]0;pwned\x07\x1b[2J<script>alert(1)</script>\x9b31m"


@pytest.fixture
def here(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


async def run(home, *words):
    """Exit code of `codetether sessions WORDS`."""
    async with make_kernel(home, plugins=["modes:sessions"]) as kernel:
        mode = kernel.mode("sessions")
        parser = argparse.ArgumentParser(exit_on_error=True)
        mode.arguments(parser)
        return await mode.run(parser.parse_args(list(words)))


@pytest.fixture
def folder_of(home):
    async def find():
        async with make_kernel(home, plugins=["modes:sessions"]) as kernel:
            return kernel.sessions_folder

    return find


def write(folder, directory, *messages, **header):
    with Transcript.create(folder, SessionHeader(directory=str(directory), **header)) as transcript:
        for message in messages:
            transcript.append_message(message)
        return transcript.id


def user(text):
    return Message("user", (Text(text),))


def full(folder, here, **header):
    """A session with one of everything in it, and hostile."""
    return write(
        folder,
        here,
        Message(
            "user",
            (
                Text(f"fix the frobnicator {EVIL}"),
                Image("image/png", b"\x89PNG"),
                Image(EVIL, b"x"),
            ),
        ),
        Message(
            "assistant",
            (
                Thought(f"hm {EVIL}"),
                Text("Let me *look*"),
                ToolCall("c", "bash", '{"command":"ls -zebra"}'),
            ),
            usage=Usage(100, 20, cost=0.5),
        ),
        Message(
            "tool", (ToolResult("c", "bash", f"```\n{EVIL}\n````\n" + "line\n" * 40, ok=False),)
        ),
        Message("assistant", (Text("half"),), interrupted=True),
        model="a/b",
        git=GitState(str(here), "main", "c" * 40),
        **header,
    )


def is_inert(text):
    """No character that a terminal obeys, but tab and newline."""
    return not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)


async def test_list_is_of_this_directory(home, folder_of, here, capsys):
    folder = await folder_of()
    mine = full(folder, here)
    other = write(folder, "/elsewhere", user("b"))
    empty = write(folder, here)
    assert await run(home, "list") == 0
    out = capsys.readouterr().out
    assert mine in out
    assert "$0.5000" in out
    assert other not in out
    assert empty not in out
    assert is_inert(out)
    assert await run(home) == 0  # the word `list` may be left out
    assert capsys.readouterr().out == out
    assert await run(home, "list", "--all") == 0
    out = capsys.readouterr().out
    assert all(session in out for session in (mine, other, empty))
    assert "/elsewhere" in out
    assert await run(home, "list", "--all", "--limit", "1") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


async def test_list_as_json(home, folder_of, here, capsys):
    session = full(await folder_of(), here, title=f"T{EVIL}")
    assert await run(home, "list", "--json") == 0
    out = capsys.readouterr().out
    assert is_inert(out)
    (entry,) = json.loads(out)
    assert entry["id"] == session
    assert (entry["title"], entry["branch"], entry["model"]) == (f"T{EVIL}", "main", "a/b")
    assert (entry["messages"], entry["input_tokens"], entry["cost_usd"]) == (4, 100, 0.5)
    write(await folder_of(), here, user("no cost is known"))
    await run(home, "list", "--json")
    assert json.loads(capsys.readouterr().out)[0]["cost_usd"] is None


async def test_nothing_to_list(home, here, capsys):
    assert await run(home, "list") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--all" in captured.err
    assert await run(home, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("limit", ["-1", "x"])
async def test_a_limit_is_a_number(home, here, limit, capsys):
    with pytest.raises(SystemExit) as ended:
        await run(home, "list", "--limit", limit)
    assert ended.value.code == 2


async def test_show_by_a_beginning(home, folder_of, here, capsys):
    session = full(await folder_of(), here)
    assert await run(home, "show", session[:-2]) == 0
    out = capsys.readouterr().out
    assert is_inert(out)
    for piece in (
        session,
        "frobnicator",
        "-> bash",
        "ls -zebra",
        "<- bash failed",
        "(interrupted)",
        "more lines",
        "[image/png, 4 bytes]",
    ):
        assert piece in out
    assert out.count("line\n") < 40


async def test_show_as_json_is_the_whole_session(home, folder_of, here, capsys):
    session = full(await folder_of(), here)
    assert await run(home, "show", session, "--json") == 0
    out = capsys.readouterr().out
    assert is_inert(out)
    shown = json.loads(out)
    assert shown["session"]["id"] == session
    assert [m["role"] for m in shown["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert shown["messages"][0]["parts"][0]["text"] == f"fix the frobnicator {EVIL}"
    assert shown["usage"]["cost"] == 0.5


async def test_damage_is_told_and_left_alone(home, folder_of, here, capsys):
    folder = await folder_of()
    session = full(folder, here)
    path = find_session(folder, session)
    path.write_bytes(path.read_bytes() + b'{"torn')
    before = path.read_bytes()
    assert await run(home, "show", session) == 0
    assert "damaged bytes" in capsys.readouterr().err
    assert path.read_bytes() == before


async def test_a_session_in_use_can_be_shown_and_not_deleted(home, folder_of, here, capsys):
    folder = await folder_of()
    session = full(folder, here)
    transcript, _ = Transcript.open(folder, session)
    with transcript:
        assert await run(home, "show", session) == 0
        with pytest.raises(SessionBusy):
            await run(home, "rm", session, "--yes")
    assert find_session(folder, session).exists()


@pytest.mark.parametrize("word", ["../../etc/passwd", "s-2026*", "-"])
async def test_a_name_that_cannot_be_one(home, here, word):
    with pytest.raises(UsageError):
        await run(home, "show", word)


async def test_an_unknown_and_an_ambiguous_name(home, folder_of, here):
    folder = await folder_of()
    for name in ("s-1-aaaa", "s-1-bbbb"):
        write(folder, here, user("x"), id=name)
    for action in (["show"], ["export"], ["rm", "--yes"]):
        with pytest.raises(SessionMissing, match="2 sessions begin with s-1"):
            await run(home, *action, "s-1")
        with pytest.raises(SessionMissing, match="no session nope"):
            await run(home, *action, "nope")


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.said = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.said.append(data)


async def test_html_is_escaped_and_loads_nothing(home, folder_of, here, capsys):
    session = full(await folder_of(), here, title="<b>&amp;{title}")
    assert await run(home, "export", session, "--format", "html") == 0
    out = capsys.readouterr().out
    assert is_inert(out)
    page = Page(out)
    assert not {"script", "link", "iframe", "a", "object", "base", "form"} & set(page.tags)
    assert page.tags.count("img") == 1  # the picture of a type unknown is put in words
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert [v for n, v in page.attributes if n in ("src", "href")] == [
        "data:image/png;base64,iVBORw=="
    ]
    said = "".join(page.said)
    assert "<script>alert(1)</script>" in said
    assert "<b>&amp;{title}" in said
    assert out.count("line\n") == 40
    assert "http:" not in out
    assert "https:" not in out


async def test_html_shows_markdown_and_diffs_and_no_way_out(home, folder_of, here, capsys):
    hostile = "# Done\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n[x](javascript:alert(1)) ![y](https://e.org/p) <https://e.org>\n<img src=x onerror=y>"
    call = ToolCall("c1", "edit", "{}")
    changed = ToolResult("c1", "edit", "Edited.", meta={"diff": "@@ -1 +1 @@\n-<i>old\n+new"})
    session = write(
        await folder_of(), here, user("x"), Message("assistant", (Text(hostile), call)), Message("tool", (changed,))
    )  # fmt: skip
    assert await run(home, "export", session, "--format", "html") == 0
    out = capsys.readouterr().out
    page = Page(out)
    assert {"h1", "table", "td"} <= set(page.tags)
    assert not {"a", "img", "i", "script"} & set(page.tags)
    assert "<del>-&lt;i&gt;old</del>\n<ins>+new</ins>" in out


async def test_markdown_fences_hold(home, folder_of, here, capsys):
    session = full(await folder_of(), here)
    assert await run(home, "export", session) == 0
    out = capsys.readouterr().out
    assert is_inert(out)
    assert "Let me *look*" in out
    assert "## Assistant (interrupted)" in out
    assert "\n`````\n```\n" in out  # longer than any in the text


async def test_export_to_a_file_replaces_none(home, folder_of, here, capsys):
    session = full(await folder_of(), here)
    assert await run(home, "export", session, "--format", "json", "-o", "out.json") == 0
    assert capsys.readouterr().out == ""
    assert json.loads(Path("out.json").read_text())["session"]["id"] == session
    Path("out.json").write_text("mine")
    with pytest.raises(CodetetherError, match="exists"):
        await run(home, "export", session, "-o", "out.json")
    assert Path("out.json").read_text() == "mine"
    assert await run(home, "export", session, "-o", "out.json", "--force") == 0
    assert Path("out.json").read_text().startswith("# ")
    with pytest.raises(CodetetherError, match="Cannot write"):
        await run(home, "export", session, "-o", "no/such/folder.md")


# --- rm ---
async def test_rm_deletes_the_session_and_nothing_else(home, folder_of, here, capsys):
    folder = await folder_of()
    keep = full(folder, here)
    gone = write(
        folder, here, Message("tool", (ToolResult("c", "x", "y" * 70_000),)), user("zebra")
    )
    (folder / f"{gone}.jsonl.bak").write_text("cut")
    (folder / f"{gone}-other.jsonl").write_text("not ours")
    (folder / f"{gone}.files" / "link").symlink_to(here)
    (here / "file").write_text("precious")
    assert await run(home, "search", "zebra") == 0
    assert await run(home, "rm", gone, "--yes") == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([f"{keep}.jsonl", f"{gone}-other.jsonl"])
    assert (here / "file").read_text() == "precious"
    cached = b"".join(path.read_bytes() for path in (home / "cache").rglob("*") if path.is_file())
    assert gone.encode() not in cached


async def test_rm_without_a_person_needs_yes(home, folder_of, here, monkeypatch):
    folder = await folder_of()
    session = full(folder, here)
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        with pytest.raises(DeniedError) as denied:
            await run(home, "rm", session)
    assert "--yes" in denied.value.hint
    assert find_session(folder, session).exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("typed", ["y\n", "n\n", "\n", "\x04"])
async def test_rm_asks(home, folder_of, monkeypatch, capsys, typed):
    folder = await folder_of()
    session = full(folder, Path.cwd())
    code = 0 if typed.startswith("y") else 1
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        assert await run(home, "rm", session) == code
    os.close(ours)
    asked = capsys.readouterr().err
    assert f"Delete {session}" in asked
    assert "4 messages" in asked
    assert is_inert(asked)
    assert (folder / f"{session}.jsonl").exists() == bool(code)


# --- search ---
async def test_search_finds_words_in_one_message(home, folder_of, here, capsys):
    folder = await folder_of()
    mine = full(folder, here)
    other = write(folder, "/elsewhere", user("frobnicator elsewhere"))
    assert await run(home, "search", "frobn", "fix") == 0
    out = capsys.readouterr().out
    assert mine in out
    assert other not in out
    assert is_inert(out)
    assert await run(home, "search", "frobnicator", "--all", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {entry["id"] for entry in found} == {mine, other}
    assert all("frobnicator" in entry["found"]["snippet"] for entry in found)
    assert (
        await run(home, "search", "zebra") == 0
    )  # what was called is searched, what was answered is not
    assert mine in capsys.readouterr().out
    assert await run(home, "search", "fix", "zebra", "nowhere") == 0
    assert "Nothing found" in capsys.readouterr().err


async def test_search_sees_what_changed(home, folder_of, here, capsys):
    folder = await folder_of()
    session = write(folder, here, user("first"))
    await run(home, "search", "first")
    transcript, _ = Transcript.open(folder, session)
    with transcript:
        transcript.append_message(user("second"))
    capsys.readouterr()
    await run(home, "search", "second")
    assert session in capsys.readouterr().out
    find_session(folder, session).unlink()
    await run(home, "search", "second")
    assert session not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", ["a AND", "NEAR(", "x* OR", "col:x", "'; DROP TABLE sessions", '"a']
)
async def test_search_words_are_only_words(home, folder_of, here, words, capsys):
    session = write(await folder_of(), here, user(f"hello {words} there"))
    assert await run(home, "search", "--", words) == 0
    assert session in capsys.readouterr().out


@pytest.mark.parametrize("words", ['"', "-", "()"])
async def test_search_for_no_words_is_refused(home, here, words):
    with pytest.raises(UsageError, match="no words"):
        await run(home, "search", "--", words)


async def test_a_broken_index_is_made_again(home, folder_of, here, capsys):
    session = write(await folder_of(), here, user("hello"))
    await run(home, "search", "hello")
    (index,) = (home / "cache").rglob("sessions.sqlite3")
    for content in (b"not a database " * 100, b""):
        for path in index.parent.glob("sessions.sqlite3-*"):
            path.unlink()
        index.write_bytes(content)
        capsys.readouterr()
        assert await run(home, "search", "hello") == 0
        assert session in capsys.readouterr().out
    assert index.stat().st_mode & 0o777 == 0o600


def test_only_a_search_loads_the_database():
    code = "import sys, codetether_mode_sessions, codetether_mode_sessions.view; print('sqlite3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"
