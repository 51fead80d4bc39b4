"""grep: exact, bounded, repeatable, and nothing in a repository makes it run or read what it should not."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import msgspec
import pytest
import trio
from codetether.errors import ToolError
from codetether.testing import check_plugin
from codetether.workspace import Workspace
from codetether_tool_grep import Grep, Params
from codetether_tool_grep.includes import include_options
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "work"
    for path, text in {
        "a.py": "import os\n    x = a.b(1)\n",
        "src/b.py": "one\ntwo needle\nthree\nfour\nfive needle needle\nsix\n",
        "src/c.rs": "// Needle\n",
        ".hidden": "needle in hidden\n",
        ".git/config": "needle in git\n",
        "sub/.git": "gitdir: needle\n",
        "ignored/x.py": "needle ignored\n",
        "debug.log": "needle log\n",
        ".gitignore": "ignored/\n*.log\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


async def grep(root, pattern, hidden=(), **how):
    params = msgspec.convert({"pattern": pattern, **how}, Params)
    permissions = SimpleNamespace(hidden=lambda paths, tool: [p for p in paths if p in hidden])
    ctx = SimpleNamespace(
        workspace=Workspace(root), session=SimpleNamespace(permissions=permissions)
    )
    return await Grep(None, "tools:grep").run(params, ctx)


@pytest.mark.parametrize("mode", ["lines", "files", "count"])
async def test_files_a_rule_denies_are_left_out_and_that_is_said(root, mode):
    output = await grep(root, "needle", hidden={"src/b.py"}, mode=mode)
    assert ".hidden" in output.text
    assert "b.py" not in output.text
    assert output.text.endswith("[1 file left out: denied by a rule]")


def test_its_title_says_what_is_looked_for():
    tool = Grep(None, "tools:grep")
    assert tool.title(Params("needle")) == "grep needle"
    assert tool.title(Params("needle", "src")) == "grep needle src"


async def test_matches_in_path_order(root):
    output = await grep(root, "needle")
    assert output.text == (
        ".hidden\n 1: needle in hidden\nsrc/b.py\n 2: two needle\n 5: five needle needle"
    )
    assert output.summary == "3 matches in 2 files"
    assert output.meta == {"count": 3, "matches": 3, "files": 2, "truncated": False}


async def test_literal_unless_it_is_a_regex(root):
    assert (await grep(root, "a.b(1)")).text == "a.py\n 2: x = a.b(1)"
    assert (await grep(root, "ne+dle$", is_regex=True)).meta["matches"] == 2
    nothing = await grep(root, "ne+dle$")
    assert nothing.meta["matches"] == 0
    assert "set is_regex" in nothing.text


async def test_the_end_of_a_line_of_windows(root):
    (root / "w.txt").write_bytes(b"in the end\r\nand the end.\r\n")
    assert (await grep(root, "end$", is_regex=True)).text.startswith("w.txt")
    for named in (r"end\r$", r"end\x0d$", "end\r$"):
        assert (await grep(root, named, is_regex=True)).text.startswith("w.txt")


async def test_case(root):
    assert (await grep(root, "NEEDLE")).meta["matches"] == 0
    assert (await grep(root, "NEEDLE", case_sensitive=False)).meta["files"] == 3


async def test_context(root):
    assert (await grep(root, "needle", path="src/b.py", context=1)).text == (
        "src/b.py\n 1- one\n 2: two needle\n 3- three\n 4- four\n 5: five needle needle\n 6- six"
    )
    before = await grep(root, "needle", path="src/b.py", before=1)
    assert before.text == "src/b.py\n 1- one\n 2: two needle\n --\n 4- four\n 5: five needle needle"
    after = await grep(root, "needle", path="src/b.py", context=2, after=1)
    assert after.text == (await grep(root, "needle", path="src/b.py", before=2, after=1)).text
    assert "    x = a.b(1)" in (await grep(root, "a.b", context=1)).text  # indentation is kept


async def test_files_and_counts(root):
    assert (await grep(root, "needle", mode="files")).text == ".hidden\nsrc/b.py"
    assert (await grep(root, "needle", mode="count")).text == ".hidden: 1\nsrc/b.py: 3"
    assert (await grep(root, "nothing", mode="files")).text.startswith("No matches for 'nothing'")


@pytest.mark.parametrize(
    ("include", "files"),
    [
        ("*.py", ["src/b.py"]),
        ("*.{py,rs}", ["src/b.py"]),
        ("*.rs,*.py", ["src/b.py"]),
        ("src/*.py", ["src/b.py"]),
        ("./src/**/*.py", ["src/b.py"]),
        ("!*.py", [".hidden"]),
        ("*.log", []),  # ignored stays ignored
        (".git/**", []),
        ("config", []),
    ],
)
async def test_include(root, include, files):
    output = await grep(root, "needle", include=include, mode="files")
    assert [line for line in output.text.splitlines() if "No matches" not in line] == files


async def test_what_is_ignored_is_searched_when_named(root):
    assert (await grep(root, "needle", path="debug.log")).meta["matches"] == 1
    assert (await grep(root, "needle", path="ignored")).meta["matches"] == 1


async def test_limit_says_how_many_there_are(root):
    output = await grep(root, "needle", limit=2)
    assert output.text == (
        ".hidden\n 1: needle in hidden\nsrc/b.py\n 2: two needle\n"
        "[1-2 of 3 matches in 2 files; more with offset 2, or narrow it]"
    )
    assert output.meta["truncated"]


async def test_pages_make_up_the_whole(root):
    whole = (await grep(root, "e", context=1)).text
    pages = [(await grep(root, "e", context=1, offset=at, limit=1)).text for at in range(12)]
    lines = [
        line
        for page in pages[:10]
        for line in page.splitlines()
        if line.startswith(" ") and ":" in line
    ]
    assert [line for line in whole.splitlines() if line.startswith(" ") and ":" in line][
        :10
    ] == lines
    assert pages[0].endswith("more with offset 1, or narrow it]")
    last = await grep(root, "needle", offset=2)
    assert last.text == "src/b.py\n 5: five needle needle\n[3-3 of 3 matches in 2 files]"
    assert not last.meta["truncated"]
    beyond = await grep(root, "needle", offset=9)
    assert beyond.text == "[nothing at offset 9: 3 matches in 2 files]"
    second = await grep(root, "needle", mode="files", offset=1)
    assert second.text == "src/b.py\n[2-2 of 2 files]"


@pytest.mark.parametrize("mode", ["lines", "files", "count"])
async def test_an_answer_is_the_same_every_time(root, mode):
    for number in range(200):
        (root / f"file{number}").write_text("needle\n" * 3)
    answers = {(await grep(root, "needle", mode=mode, limit=300)).text for _ in range(5)}
    assert len(answers) == 1


async def test_many_matches_are_cut_in_path_order(root, monkeypatch):
    monkeypatch.setattr("codetether_tool_grep.COLLECTED", 20_000)
    for number in range(40):
        (root / f"many{number:02}").write_text("needle\n" * 500)
    (root / "AAA").write_text("needle first\n")
    first = await grep(root, "needle", limit=1000)
    assert first.text.startswith(
        ".hidden\n 1: needle in hidden\nAAA\n 1: needle first\nmany00\n 1: needle"
    )
    assert "at least" in first.summary
    assert (await grep(root, "needle", limit=1000)).text == first.text
    for line in first.text.splitlines()[4:-1]:
        assert line.endswith(": needle") or line.startswith("many")


async def test_long_lines_are_cut(root):
    (root / "min.js").write_text("needle" + "x" * 3_000_000 + "\n")
    output = await grep(root, "needle", path="min.js")
    assert len(output.text) < 500
    assert output.meta["matches"] == 1


async def test_odd_names_and_bytes(root):
    (root / "-e").write_text("needle\n")
    (root / "a b:1:").write_text("needle\r\n")
    (root / os.fsdecode(b"bad\xff")).write_bytes(b"needle \xff\n")
    (root / "binary").write_bytes(b"needle\0needle")
    (root / "utf16").write_bytes("needle é\n".encode("utf-16"))
    output = await grep(root, "needle", include="!src/**")
    assert output.text.splitlines() == [
        "-e",
        " 1: needle",
        ".hidden",
        " 1: needle in hidden",
        "a b:1:",
        " 1: needle",
        "bad\ufffd",
        " 1: needle \ufffd",
        "binary: binary file matches",
        "utf16",
        " 1: needle é",
    ]
    assert (await grep(root, "needle", path="-e")).meta["matches"] == 1


async def test_lines_together(root):
    assert (await grep(root, "needle\nthree")).meta["files"] == 1
    assert (await grep(root, r"two.*\nthree", is_regex=True)).meta["files"] == 1
    assert (await grep(root, "one.*three", is_regex=True)).meta["files"] == 0
    over = await grep(root, "one.*three", is_regex=True, multiline=True)
    assert over.text == "src/b.py\n 1: one\n 2: two needle\n 3: three"


async def test_types(root):
    assert (await grep(root, "needle", type="py", mode="files")).text == "src/b.py"
    both = await grep(root, "needle", type="py,rust", case_sensitive=False, mode="files")
    assert both.text == "src/b.py\nsrc/c.rs"
    assert "only rust files were searched" in (await grep(root, "needle", type="rust")).text


async def test_ignored_files_when_asked(root):
    output = await grep(root, "needle", no_ignore=True, mode="files")
    assert output.text == ".hidden\ndebug.log\nignored/x.py\nsrc/b.py"
    assert "no_ignore" in (await grep(root, "needle log")).text


async def test_a_binary_file_is_told_not_shown(root):
    (root / "late").write_bytes(b"needle\n" + b"x" * 100_000 + b"\0needle")
    (root / "bin").write_bytes(b"\0needle\n")
    output = await grep(root, "needle", include="late,bin")
    assert output.text == "bin: binary file matches\nlate: binary file matches"
    assert output.summary == "2 matches in 2 files"
    assert (
        await grep(root, "needle", include="late", context=2)
    ).text == "late: binary file matches"


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ({"pattern": "a(", "is_regex": True}, "INVALID_ARGUMENT", "unclosed group"),
        ({"pattern": r"(a)\1", "is_regex": True}, "INVALID_ARGUMENT", "backreferences"),
        ({"pattern": "(?=a)", "is_regex": True}, "INVALID_ARGUMENT", "look-around"),
        ({"pattern": r"(\w{1000}){1000}", "is_regex": True}, "INVALID_ARGUMENT", "size limit"),
        ({"pattern": ""}, "INVALID_ARGUMENT", "text"),
        ({"pattern": "a\0"}, "INVALID_ARGUMENT", "NUL"),
        ({"pattern": "a", "include": "{a"}, "INVALID_ARGUMENT", "glob"),
        ({"pattern": "a", "include": "a:b"}, "INVALID_ARGUMENT", "colon"),
        ({"pattern": "a", "type": "--pre=x"}, "INVALID_ARGUMENT", "no type"),
        ({"pattern": "a", "type": "klingon"}, "INVALID_ARGUMENT", "unrecognized file type"),
        ({"pattern": "a", "type": "py", "include": "*.c"}, "INVALID_ARGUMENT", "not both"),
        ({"pattern": "a", "path": ".git"}, "INVALID_ARGUMENT", "git commands"),
        ({"pattern": "a", "path": "srcc"}, "NOT_FOUND", "src"),
        ({"pattern": "a", "path": "../other"}, "DENIED", "outside"),
        ({"pattern": "a", "path": "/etc"}, "DENIED", "outside"),
        ({"pattern": "a", "path": "fifo"}, "INVALID_ARGUMENT", "no file"),
    ],
)
async def test_refusals(root, how, code, says):
    os.mkfifo(root / "fifo")
    with pytest.raises(ToolError) as caught:
        await grep(root, **how)
    assert caught.value.code == code
    assert says in caught.value.text


async def test_links_are_not_followed_out(root, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("needle secret\n")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "out-file").symlink_to(tmp_path / "outside" / "secret")
    assert "secret" not in (await grep(root, "needle")).text
    for path in ("out", "out/secret", "out-file"):
        with pytest.raises(ToolError) as caught:
            await grep(root, "needle", path=path)
        assert caught.value.code == "DENIED"


ARGUMENTS = [
    "--pre=./p.sh",
    "--pre",
    "--hostname-bin=./p.sh",
    "-f/etc/passwd",
    "--file=/etc/passwd",
    "--ignore-file=./p.sh",
    "--search-zip",
    "-z",
    "--type-add=x:*",
    "--config=./rc",
    "-e",
    "--",
    "-",
    "--debug",
    "--no-ignore",
    "-uuu",
    "--follow",
    "--version",
    "--help",
    "-P",
]


@pytest.mark.parametrize("argument", ARGUMENTS)
async def test_no_argument_becomes_an_option(root, tmp_path, monkeypatch, argument):
    mark = tmp_path / "mark"
    script = root / "p.sh"
    script.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    script.chmod(0o755)
    rc = tmp_path / "rc"
    rc.write_text(f"--pre={script}\n--no-ignore\n")
    monkeypatch.setenv("RIPGREP_CONFIG_PATH", str(rc))
    (root / ".ripgreprc").write_text(rc.read_text())
    (root / "words").write_text(f"say {argument} here\n")
    output = await grep(root, argument)
    assert f"words\n 1: say {argument} here" in output.text
    for how in ({"path": argument}, {"include": argument}):
        try:
            output = await grep(root, "needle", **how)
        except ToolError:
            continue
        assert "root:" not in output.text
        assert "ignored" not in output.text.partition("No matches")[0]
    assert not mark.exists()


async def test_the_environment_gives_no_settings(root, tmp_path, monkeypatch):
    rc = tmp_path / "rc"
    rc.write_text("--no-ignore\n")
    monkeypatch.setenv("RIPGREP_CONFIG_PATH", str(rc))
    assert "ignored/" not in (await grep(root, "needle")).text


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(.*)*x", "(x+x+)+y"])
async def test_no_pattern_is_slow_or_stalls_the_loop(root, pattern):
    (root / "bait").write_text("a" * 100_000 + "!" + "x" * 100_000 + "\n")
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await trio.sleep(0.001)
            beats += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        with trio.fail_after(60):
            await grep(root, pattern, is_regex=True, path="bait")
        nursery.cancel_scope.cancel()
    assert beats


async def test_a_timeout_is_told(root, tmp_path, monkeypatch):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 100\n")
    slow.chmod(0o755)
    monkeypatch.setattr("codetether.ripgrep.ripgrep_path", lambda: str(slow))
    monkeypatch.setattr("codetether_tool_grep.SECONDS", 0)
    with pytest.raises(ToolError) as caught:
        await grep(root, "needle")
    assert caught.value.code == "TIMEOUT"


async def test_without_ripgrep_it_says_what_to_install(root, tmp_path, monkeypatch):
    from codetether.errors import CodetetherError

    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CodetetherError, match="not installed"):
        await grep(root, "needle")


@given(st.text(max_size=40))
def test_include_options_are_options_of_ours(include):
    try:
        options = include_options(include)
    except ToolError:
        return
    for option in options:
        assert option.startswith(("--glob=", "--type-add=wanted:", "--type=wanted"))


def test_contract():
    check_plugin("grep", "codetether.tools")
