"""apply_patch: what git does, what models write, and what nobody may do."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from codetether.errors import ToolError
from codetether.testing import Call, Reply, make_kernel
from codetether.workspace import Workspace
from codetether_tool_apply_patch import ApplyPatch, Params
from hypothesis import given, settings
from hypothesis import strategies as st

TOOL = ApplyPatch(None, "tools:apply_patch")


@pytest.fixture
def ctx(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return SimpleNamespace(workspace=Workspace(root), root=root)


def tree(root):
    """Every file below `root` with its bytes and whether it may be executed."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


async def apply(ctx, patch, **how):
    return await TOOL.run(Params(patch, **how), ctx)


async def refused(ctx, code, patch):
    before = tree(ctx.root)
    with pytest.raises(ToolError) as caught:
        await apply(ctx, patch)
    assert caught.value.code == code, caught.value.text
    assert tree(ctx.root) == before
    return caught.value.text


# --- against git ---
LINES = st.lists(
    st.sampled_from(["a", "b", "", "-- x", "++ y", "@@ -1 +1 @@", "ä€", " tab\t", "--- a", "end"])
    | st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=8),
    max_size=25,
)
NAMES = st.sampled_from(["a", "d/b", "d/e/c c", "ü", 'q"t', "x/y"])


@st.composite
def files(draw):
    lines = draw(LINES)
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    text = "".join(line + end for line in lines)
    if text and draw(st.booleans()):
        text = text[: -len(end)]
    return text.encode(), draw(st.booleans())


@st.composite
def edited(draw, file):
    data, executable = file
    lines = data.splitlines(keepends=True)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(lines)))
        lines[at : at + draw(st.integers(0, 3))] = [
            line.encode() + b"\n" for line in draw(LINES.map(lambda some: some[:3]))
        ]
    return b"".join(lines), draw(st.sampled_from([executable, executable, not executable]))


@st.composite
def trees(draw):
    old = draw(st.dictionaries(NAMES, files(), min_size=1, max_size=4))
    new = {name: draw(edited(file)) for name, file in old.items() if draw(st.integers(0, 4))}
    for name in list(new):
        if draw(st.integers(0, 4)) == 0:
            new[f"moved/{name}"] = new.pop(name)
    if draw(st.booleans()):
        new["made/here"] = draw(files())
    return old, new


def git(root, *words, data=None):
    argv = ["git", "-c", "core.autocrlf=false", "-c", "user.name=x", "-c", "user.email=x", *words]
    return subprocess.run(argv, cwd=root, input=data, check=True, capture_output=True).stdout


def put(root, wanted):
    for path in sorted(root.rglob("*"), reverse=True):
        if ".git" not in path.relative_to(root).parts:
            path.unlink() if path.is_file() else path.rmdir()
    for name, (data, executable) in wanted.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if executable else 0o644)


@settings(max_examples=60, deadline=None)
@given(trees(), st.sampled_from(["-U3", "-U1", "-U0"]), st.sampled_from(["-M", "--no-renames"]))
def test_the_tree_is_the_one_git_makes(pair, context, renames):
    old, new = pair
    with tempfile.TemporaryDirectory() as folder:
        work, ours = Path(folder) / "git", Path(folder) / "ours"
        work.mkdir()
        ours.mkdir()
        git(work, "init", "-q")
        sides = []
        for side in (old, new):
            put(work, side)
            git(work, "add", "-A")
            sides.append(git(work, "write-tree").decode().strip())
        patch = git(work, "diff", "--text", context, renames, *sides)
        put(ours, old)
        if not patch:
            return
        context = SimpleNamespace(workspace=Workspace(ours), root=ours)
        trio.run(apply, context, patch.decode("utf-8", "surrogateescape"))
        assert tree(ours) == new
        assert not [p for p in ours.rglob("*") if p.is_dir() and not any(p.iterdir())]


# --- what models write ---
async def test_the_envelope(ctx):
    (ctx.root / "a.py").write_bytes(
        b"class A:\n    def f():\n        pass\n\nclass B:\n    def f():\n        pass\n"
    )
    (ctx.root / "old").write_bytes(b"x\r\ny")
    (ctx.root / "old").chmod(0o700)
    (ctx.root / "gone").write_bytes(b"x\n")
    patch = (
        "*** Begin Patch\n*** Update File: a.py\n@@ class B:\n     def f():\n-        pass\n+        go()\n"
        "*** Update File: old\n*** Move to: d/new\n@@\n x\n-y\n+z\n*** End of File\n"
        "*** Add File: n/made\n+one\n+\n+two\n*** Delete File: gone\n*** End Patch\n"
    )
    subject = TOOL.subject(Params(patch))
    assert subject.paths == ("a.py", "old", "d/new", "n/made", "gone")
    shown = await TOOL.preview(Params(patch), ctx)
    output = await apply(ctx, patch)
    assert output.meta["diff"] == shown
    assert tree(ctx.root) == {
        "a.py": (
            b"class A:\n    def f():\n        pass\n\nclass B:\n    def f():\n        go()\n",
            False,
        ),
        "d/new": (b"x\r\nz", True),
        "n/made": (b"one\n\ntwo\n", False),
    }
    assert stat.S_IMODE((ctx.root / "d/new").stat().st_mode) == 0o700
    assert "old -> d/new" in output.text


async def test_two_files_one_hunk_each_and_wrong_counts(ctx):
    for name in "ab":
        (ctx.root / name).write_bytes(b"1\n2\n3\n4\n")
    hunk = "@@ -1,9 +1,2 @@\n 1\n-2\n+two\n+-- x\n 3\n"
    await apply(ctx, f"Here:\n```diff\n--- a/a\n+++ b/a\n{hunk}--- a/b\n+++ b/b\n{hunk}```\n")
    assert (ctx.root / "a").read_bytes() == b"1\ntwo\n-- x\n3\n4\n"
    assert (ctx.root / "b").read_bytes() == b"1\ntwo\n-- x\n3\n4\n"


async def test_removed_lines_that_look_like_headers(ctx):
    (ctx.root / "q.sql").write_bytes(b"-- x\n++ y\nselect 1\n")
    await apply(ctx, "--- a/q.sql\n+++ b/q.sql\n@@ -1,3 +1,2 @@\n--- x\n-++ y\n+++ z\n select 1\n")
    assert (ctx.root / "q.sql").read_bytes() == b"++ z\nselect 1\n"


async def test_offset_fuzz_line_ends_and_blanks_are_bridged_and_told(ctx):
    lines = [b"line %d\r\n" % n for n in range(40)]
    (ctx.root / "a").write_bytes(b"".join(lines))
    text = "--- a/a\n+++ b/a\n@@ -10,3 +10,3 @@\n line 20\n-line 21\n+new\n line 22\n"
    output = await apply(ctx, text)
    lines[21] = b"new\r\n"
    assert (ctx.root / "a").read_bytes() == b"".join(lines)
    assert "a, hunk 1 at line 21: offset +11 lines, line ends differ" in output.text
    text = "--- a/a\n+++ b/a\n@@ -31,3 +31,3 @@\n other\n-line 31\n+neu\n line 32\n"
    assert "fuzz 1" in (await apply(ctx, text)).text
    lines[31] = b"neu\r\n"
    assert (ctx.root / "a").read_bytes() == b"".join(lines)
    (ctx.root / "b").write_bytes(b"\tif x:  \n\t\ty()\n")
    output = await apply(ctx, "--- b\n+++ b\n@@ @@\n     if x:\n-        y()\n+\t\tz()\n")
    assert (ctx.root / "b").read_bytes() == b"\tif x:  \n\t\tz()\n"
    assert "indentation differs" in output.text


async def test_a_byte_order_mark_and_an_old_encoding_are_kept(ctx):
    (ctx.root / "a").write_bytes(b"\xef\xbb\xbfone\ntwo\n")
    (ctx.root / "b").write_bytes("größe\nüber\n".encode("cp1252"))
    (ctx.root / "c").write_bytes("one\ntwo\n".encode("utf-16"))
    for name, old in (("a", "one"), ("b", "größe"), ("c", "one")):
        await apply(ctx, f"--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-{old}\n+1\n")
    assert (ctx.root / "a").read_bytes() == b"\xef\xbb\xbf1\ntwo\n"
    assert (ctx.root / "b").read_bytes() == "1\nüber\n".encode("cp1252")
    assert (ctx.root / "c").read_bytes() == "1\ntwo\n".encode("utf-16")


async def test_names_swapped_and_a_file_that_takes_a_removed_ones_place(ctx):
    (ctx.root / "a").write_bytes(b"a\n")
    (ctx.root / "b").write_bytes(b"b\n")
    move = "diff --git a/{0} b/{1}\nsimilarity index 100%\nrename from {0}\nrename to {1}\n"
    await apply(ctx, move.format("a", "b") + move.format("b", "a"))
    assert tree(ctx.root) == {"a": (b"b\n", False), "b": (b"a\n", False)}
    await apply(ctx, "*** Begin Patch\n*** Delete File: a\n*** Add File: a\n+new\n*** End Patch")
    assert (ctx.root / "a").read_bytes() == b"new\n"


async def test_dry_run_changes_nothing(ctx):
    (ctx.root / "a").write_bytes(b"1\n")
    output = await apply(ctx, "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+2\n", dry_run=True)
    assert output.text.startswith("Would change 1 file (+1 -1): a\n--- a/a")
    assert (ctx.root / "a").read_bytes() == b"1\n"


# --- refusals ---
async def test_what_does_not_fit_changes_nothing(ctx):
    (ctx.root / "a").write_bytes(b"1\n2\n")
    (ctx.root / "b").write_bytes(b"1\nx\n1\nx\n")
    (ctx.root / "program").write_bytes(b"\x7fELF\0\0")
    good = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+one\n"
    text = await refused(ctx, "NOT_FOUND", good + "--- a/b\n+++ b/b\n@@ -1 +1 @@\n-7\n+2\n")
    assert text.startswith("b: Hunk 1 does not fit")
    envelope = "*** Begin Patch\n{}\n*** End Patch"
    bad = {
        "*** Update File: b\n-x\n+y": "AMBIGUOUS_MATCH",
        "*** Add File: a\n+x": "CONFLICT",
        "*** Update File: a\n*** Move to: b\n-1\n+2": "CONFLICT",
        "*** Update File: a\n-1\n+1": "NO_OP",
        "*** Update File: program\n-1\n+2": "INVALID_ARGUMENT",
        "*** Delete File: absent": "NOT_FOUND",
        "*** Update File: a\n@@ nowhere\n-1\n+2": "NOT_FOUND",
        "*** Something: a": "INVALID_ARGUMENT",
        "*** Add File: n\n+x\n*** Add File: n\n+y": "INVALID_ARGUMENT",
    }
    for body, code in bad.items():
        await refused(ctx, code, envelope.format(body))
    for patch in ("", "hello", "*** Begin Patch\n*** Add File: n\n+x", "--- a/a\n+++ b/a\n"):
        await refused(ctx, "INVALID_ARGUMENT", patch)
    await refused(ctx, "INVALID_ARGUMENT", "diff --git a/p b/p\nBinary files a/p and b/p differ\n")


async def test_hostile_places(ctx, tmp_path):
    (ctx.root / ".git").mkdir()
    (ctx.root / ".git" / "config").write_bytes(b"1\n")
    (ctx.root / "a").write_bytes(b"1\n")
    (tmp_path / "out").write_bytes(b"1\n")
    os.symlink(tmp_path / "out", ctx.root / "link")
    os.symlink(tmp_path, ctx.root / "dir")
    os.symlink("a", ctx.root / "near")
    os.mkfifo(ctx.root / "pipe")
    outside = {p: p.read_bytes() for p in (tmp_path / "out", ctx.root / ".git" / "config")}
    good = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+2\n"
    places = [".git/config", "../out", str(tmp_path / "out"), "link", "dir/out", "near", "pipe"]
    for path in [*places, "x/../../out", ".GIT/config", "/dev/tty"]:
        for patch in (
            f"--- {path}\n+++ {path}\n@@ -1 +1 @@\n-1\n+2\n",
            f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+2\n",
            f"diff --git a/a b/{path}\nrename from a\nrename to {path}\n",
            f"*** Begin Patch\n*** Delete File: {path}\n*** End Patch\n",
            f"*** Begin Patch\n*** Update File: a\n*** Move to: {path}\n-1\n+2\n*** End Patch\n",
        ):
            before = tree(ctx.root)
            with pytest.raises(ToolError) as caught:
                await apply(ctx, good + patch if patch.startswith("-") else patch)
            assert caught.value.code in {"DENIED", "CONFLICT", "NOT_FOUND", "INVALID_ARGUMENT"}
            assert tree(ctx.root) == before, (path, patch)
    for path, data in outside.items():
        assert path.read_bytes() == data
    link = "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n"
    await refused(ctx, "INVALID_ARGUMENT", link)


@pytest.mark.parametrize("k", range(4))
async def test_a_failure_at_any_file_leaves_the_tree_as_it_was(ctx, monkeypatch, k):
    for name in "abcd":
        (ctx.root / name).write_bytes(b"1\n")
    before, count = tree(ctx.root), []

    def broken(_name):
        count.append(1)
        if len(count) == k + 1:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("codetether.changes.fault", broken)
    patch = (
        "*** Begin Patch\n*** Update File: a\n-1\n+2\n*** Delete File: b\n"
        "*** Update File: c\n*** Move to: n/c\n-1\n+2\n*** Add File: n/e\n+1\n*** End Patch\n"
    )
    with pytest.raises(ToolError):
        await apply(ctx, patch)
    assert len(count) == k + 1
    assert tree(ctx.root) == before
    assert sorted(os.listdir(ctx.root)) == ["a", "b", "c", "d"]


async def test_a_file_changed_since_it_was_read(ctx):
    path = ctx.root / "a"
    path.write_bytes(b"1\n2\n")
    ctx.workspace.saw("a", ctx.workspace.digest(b"1\n2\n"))
    path.write_bytes(b"1\n2\n3\n")
    await refused(ctx, "CONFLICT", "*** Begin Patch\n*** Delete File: a\n*** End Patch")
    await refused(ctx, "CONFLICT", "--- a/a\n+++ b/a\n@@ -2,1 +2,1 @@\n-1\n+2\n")
    await apply(ctx, "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n-1\n+one\n 2\n")
    assert path.read_bytes() == b"one\n2\n3\n"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "--- a/a",
                "+++ b/a",
                "@@ -1 +1 @@",
                "@@",
                "-1",
                "+2",
                " 1",
                "\\ No newline",
                "diff --git a/a b/a",
                "rename from a",
                "rename to b",
                "*** Begin Patch",
                "*** End Patch",
                "*** Add File: n",
                "*** Update File: a",
                "*** Delete File: a",
                "*** Move to: b",
                "new file mode 100644",
                "deleted file mode 100644",
                "--- /dev/null",
                "+++ /dev/null",
                "@@ -0,0 +1 @@",
                "",
                "*** End of File",
                '--- "a\\',
                "index 1..2 120000",
                "old mode x",
                "new mode 10",
            ]
        ),
        max_size=14,
    )
)
def test_nonsense_is_answered_and_never_breaks(lines):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "a").write_bytes(b"1\n")
        ctx = SimpleNamespace(workspace=Workspace(root), root=root)
        try:
            trio.run(apply, ctx, "\n".join(lines))
        except ToolError:
            assert tree(root) == {"a": (b"1\n", False)}
        TOOL.title(Params("\n".join(lines)))


async def test_a_model_calls_it_by_its_old_name(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "a").write_text("1\n")
    patch = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+2\n"
    script = [Reply(calls=(Call("patch", {"patch": patch}),)), "Done."]
    async with (
        make_kernel(tmp_path, replies=script, plugins=["tools:apply_patch"]) as kernel,
        kernel.open_session(directory=work, access="auto") as session,
    ):
        assert (await session.prompt("change")).reason == "done"
    assert (work / "a").read_text() == "2\n"
