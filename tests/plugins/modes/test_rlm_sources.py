"""Where the texts of a worker come from: directories, pipes, many small files in one."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from pathlib import Path

import pytest
import trio
from codetether_rlm.counting import lines_of
from codetether_rlm.finding import Wanted, find
from codetether_rlm.inside.texts import BLOCK, Seen, Text, merged, sources
from codetether_rlm.mapping import facts_of, mapped
from codetether_rlm.sources import Source, SourceError, from_directory, spooled
from hypothesis import given
from hypothesis import strategies as st


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


async def test_a_directory_is_its_files_without_ignored_and_denied_ones(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    write(
        tmp_path,
        {
            ".gitignore": b"build/\n*.tmp\n",
            "a.py": b"x = 1\n",
            "deep/b.py": b"y = 2\n",
            "deep/c.md": b"# C\n",
            "build/out.py": b"no",
            "z.tmp": b"no",
            ".env": b"KEY=1",
        },
    )
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    found = await from_directory(
        tmp_path, denied=lambda paths: [each for each in paths if each == ".env"]
    )
    assert [each.name for each in found] == [".gitignore", "a.py", "deep/b.py", "deep/c.md"]
    assert [each.name for each in await from_directory(tmp_path, pattern="*.py")] == [
        "a.py",
        "deep/b.py",
    ]
    with pytest.raises(SourceError, match="no files found"):
        await from_directory(tmp_path, pattern="*.rs")
    with pytest.raises(SourceError, match="is no directory"):
        await from_directory(tmp_path / "a.py")


async def test_a_listing_that_did_not_come_to_its_end_is_none(tmp_path, monkeypatch):
    write(tmp_path, {"a.txt": b"words\n", "rg": b"#!/bin/sh\nprintf 'a.txt\\0'\nkill -9 $$\n"})
    (tmp_path / "rg").chmod(0o755)
    monkeypatch.setattr("codetether.ripgrep.ripgrep_path", lambda: str(tmp_path / "rg"))
    with pytest.raises(SourceError, match="could not be listed: ripgrep ended with code"):
        await from_directory(tmp_path)


async def test_a_name_that_would_be_more_than_a_name_is_shown(tmp_path):
    write(tmp_path, {"a\x1b[2Jb.txt": b"words\n"})
    [source] = await from_directory(tmp_path)
    assert source.name == "a␛[2Jb.txt"
    made = await mapped([source], tmp_path / "spool")
    assert made.size == 6
    made.close()


async def test_a_name_that_is_no_utf_8_is_left_out_and_spoils_no_other(tmp_path):
    write(tmp_path, {"b.txt": b"good\n", "c.txt": b"good too\n"})
    (tmp_path / os.fsdecode(b"a\xffb.txt")).write_bytes(b"lost\n")
    made = await mapped(await from_directory(tmp_path), tmp_path / "spool")
    assert [part.name for part in made.parts] == ["b.txt", "c.txt"]
    assert made.skipped == ["a: a does not exist."]
    made.close()


async def test_what_became_a_link_binary_or_gone_is_left_out_and_said(tmp_path):
    write(tmp_path, {"a.txt": b"good\n", "b.txt": b"bad", "c.txt": b"bad", "d.bin": b"\0\1"})
    found = await from_directory(tmp_path)
    (tmp_path / "b.txt").unlink()
    (tmp_path / "b.txt").symlink_to("/etc/passwd")
    (tmp_path / "c.txt").unlink()
    made = await mapped(found, tmp_path / "spool")
    try:
        assert [part.name for part in made.parts] == ["a.txt"]
        assert [each.partition(":")[0] for each in facts_of(made)["skipped"]] == [
            "b.txt",
            "c.txt",
            "d.bin",
        ]
    finally:
        made.close()


async def test_thousands_of_files_are_few_open_ones_and_found_by_line(tmp_path):
    files = {
        f"d{n % 7}/f{n:04}.txt": b"first\n" + b"filler\n" * (n % 5) + b"needle %d" % n
        for n in range(1_500)
    }
    files["big.log"] = b"0123456789abcde\n" * 70_000 + b"needle big\n"
    files["wide.txt"] = "nadel\n".encode("utf-16")
    write(tmp_path, files)
    made = await mapped(await from_directory(tmp_path), tmp_path / "spool")
    try:
        assert len(made.files) == 2
        assert len(made.parts) == len(files)
        assert list((tmp_path / "spool").iterdir()) == []
        facts = facts_of(made)
        kinds = {each["name"]: each["kind"] for each in facts["sources"]}
        assert len(kinds) == len(files)
        assert {kinds["d6/f1497.txt"], kinds["wide.txt"]} == {"documents"}
        wanted = Wanted(pattern="^needle 7$|needle big|nadel", limit=10, ignore_case=False)
        found = await find(made, wanted)
        assert found.hits == [
            ("needle big", "big.log", 70_001, 70_000 * 16),
            ("needle 7", "d0/f0007.txt", 4, 6 + 14),
            ("nadel", "wide.txt", 1, 0),
        ]
        wanted = Wanted(pattern="needle", limit=0, ignore_case=False)
        assert (await find(made, wanted)).count == 1_501
        wanted.sources = ["d0/f0007.txt", "big.log"]
        assert (await find(made, wanted)).count == 2
        wanted.limit = 10
        assert [hit[:3] for hit in (await find(made, wanted)).hits] == [
            ("needle big", "big.log", 70_001),
            ("needle 7", "d0/f0007.txt", 4),
        ]
        wanted.pattern, wanted.ignore_case = "^NEEDLE", True
        assert len((await find(made, wanted)).hits) == 2
        wanted.sources = ["absent"]
        assert (await find(made, wanted)).hits == []
        wanted.pattern, wanted.limit = "needle", 5
        wanted.sources = None
        some = await find(made, wanted)
        assert (len(some.hits), some.more) == (5, True)
    finally:
        made.close()


async def test_where_copies_cannot_be_kept_it_is_told(tmp_path):
    (tmp_path / "spool").write_text("a file where a folder should be")
    with pytest.raises(SourceError, match="copies of texts cannot be kept"):
        await mapped([Source("a", data=b"words")], tmp_path / "spool")
    read, write = os.pipe()
    os.write(write, b"words")
    os.close(write)
    with pytest.raises(SourceError, match="cannot be kept"), open(read, "rb"):
        await spooled(read, "standard input", tmp_path / "spool")
    made = await mapped([Source("a", data=b"words"), Source("b", data=b"more")], tmp_path / "good")
    made.spool = tmp_path / "spool"
    found = await find(made, Wanted("words", 5, ignore_case=False, sources=["a"]))
    made.close()
    assert "copies of texts cannot be kept" in found.error


async def test_what_cannot_be_read_is_told_or_left_out(tmp_path):
    """Files of /proc say nothing of their size; this one has bytes, and reading its beginning fails."""
    for source in (Source("mem", Path("/proc/self/mem")), Source("maps", Path("/proc/self/maps"))):
        if source.name == "mem":
            with pytest.raises(SourceError, match="mem cannot be read: Input/output error"):
                await mapped([source], tmp_path / "spool")
            continue
        made = await mapped([source], tmp_path / "spool")
        assert made.size > 100
        made.close()
    proc = Source("mem", Path("self/mem"), root=Path("/proc"))
    made = await mapped([Source("a", data=b"words"), proc], tmp_path / "spool")
    assert (made.size, made.skipped) == (5, ["mem: Input/output error"])
    made.close()


@pytest.mark.parametrize(("number", "limit"), [(2, 40), (70, 40), (70, 70)])
async def test_too_few_files_at_one_time_are_told_and_leave_nothing_out(tmp_path, number, limit):
    write(tmp_path / "d", {f"{n}.txt": b"words\n" * 200_000 for n in range(number)})
    sources = await from_directory(tmp_path / "d")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with pytest.raises(SourceError, match="Too many open files"):
            await mapped(sources, tmp_path / "spool")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_pipe_is_kept_in_a_file_without_a_name(tmp_path):
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb") as writing:
        writing.write(b"line\n" * 10)
    source = await spooled(ours, "stdin", tmp_path / "spool")
    os.close(ours)
    assert source.file is not None
    with source.file:
        made = await mapped([source], tmp_path / "spool")
        assert made.size == 50
        made.close()
        assert not source.file.closed
    assert list((tmp_path / "spool").iterdir()) == []
    ours, theirs = os.pipe()
    os.close(theirs)
    with pytest.raises(SourceError, match="stdin is empty"):
        await spooled(ours, "stdin", tmp_path / "spool")
    os.close(ours)
    endless = os.open("/dev/zero", os.O_RDONLY)
    with pytest.raises(SourceError, match="more than 3,000,000 bytes came from stdin"):
        await spooled(endless, "stdin", tmp_path / "spool", limit=3_000_000)
    os.close(endless)


async def test_a_file_in_place_of_a_pipe_is_not_copied(tmp_path):
    (tmp_path / "big.log").write_bytes(b"first\nsecond\n")
    (tmp_path / "none").write_bytes(b"")
    with (tmp_path / "big.log").open("rb", buffering=0) as piped:
        whole = await spooled(piped.fileno(), "stdin", tmp_path / "spool")
        assert not (tmp_path / "spool").exists()
        piped.read(6)  # as `read line` of a shell does
        rest = await spooled(piped.fileno(), "stdin", tmp_path / "spool")
    with whole.file, rest.file:
        for source, size in ((whole, 13), (rest, 7)):
            made = await mapped([source], tmp_path / "spool")
            assert made.size == size
            made.close()
    with (tmp_path / "none").open("rb") as none, pytest.raises(SourceError, match="stdin is empty"):
        await spooled(none.fileno(), "stdin", tmp_path / "spool")
    with open("/proc/self/status", "rb") as odd:  # says that it has no bytes
        source = await spooled(odd.fileno(), "stdin", tmp_path / "spool")
    with source.file:
        assert os.fstat(source.file.fileno()).st_size > 100


async def test_a_pipe_that_somebody_has_made_impatient_is_waited_for(tmp_path):
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    sources = []

    async def keep():
        sources.append(await spooled(ours, "stdin", tmp_path / "spool"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        await trio.sleep(0.1)
        os.write(theirs, b"words")
        await trio.sleep(0.1)
        os.close(theirs)
    os.close(ours)
    [source] = sources
    with source.file:
        assert os.fstat(source.file.fileno()).st_size == 5


async def test_a_pipe_that_never_ends_can_be_cancelled(tmp_path):
    ours, theirs = os.pipe()
    with trio.move_on_after(0.2) as scope:
        await spooled(ours, "stdin", tmp_path / "spool")
    assert scope.cancelled_caught
    os.close(theirs)
    os.close(ours)


async def test_lines_of_bytes_are_counted_across_pieces(tmp_path):
    dice = random.Random(7)
    data = bytes(dice.choices(b"ab\n", k=2_500_000))
    made = await mapped([Source("t", data=b"before\n"), Source("u", data=data)], tmp_path / "s")
    places = [tuple(sorted(dice.sample(range(len(data)), 2))) for _ in range(20)]
    places += [(0, 0), (0, 1), (len(data) - 1, len(data))]
    found = await trio.to_thread.run_sync(lines_of, made, made.parts[1], places)
    made.close()
    assert found == [
        (data.count(b"\n", 0, start) + 1, data.count(b"\n", 0, max(start, end - 1)) + 1)
        for start, end in places
    ]


@given(
    st.lists(st.sampled_from([b"", b"a", b"\r", b"\xff", "ö".encode(), b"word " * 5]), max_size=60),
    st.integers(0, 70),
    st.integers(0, 70),
)
def test_lines_are_counted_as_they_are(pieces, first, last):
    data = b"\n".join(pieces)
    text = Text("t", data, 0, len(data), "logs", Seen())
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    ends = [b"\n"] * len(lines)
    if lines and not data.endswith(b"\n"):
        ends[-1] = b""
    whole = [line + end for line, end in zip(lines, ends, strict=True)]
    assert text.lines() == len(lines)
    sources["t"] = text
    told = lambda some: b"".join(some).decode("utf-8", "replace")  # noqa: E731
    assert text.first(first) == told(whole[:first])
    assert text.last(last) == told(whole[-last:] if last else [])
    wanted = whole[max(first, 1) - 1 : max(last, 0)]
    assert text.between_lines(first, last) == told(wanted)
    for number, line in enumerate(whole, 1):
        start = text.start_of(number)
        assert data[start : start + len(line)] == line
        assert text.line_at(start) == number
    del sources["t"]


def test_a_sparse_index_finds_lines_across_its_blocks():
    data = b"x" * (BLOCK - 3) + b"\n" + b"yy\n" * BLOCK + b"last"
    text = Text("t", data, 0, len(data), "logs", Seen())
    assert text.lines() == BLOCK + 2
    assert text.start_of(2) == BLOCK - 2
    assert text.start_of(BLOCK + 2) == len(data) - 4
    assert text.start_of(BLOCK + 3) == len(data)
    assert text.line_at(len(data) - 1) == BLOCK + 2
    assert text.line_at(BLOCK - 4) == 1


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_lines_come_whole_whatever_is_read_at_once(monkeypatch, block):
    monkeypatch.setattr("codetether_rlm.inside.texts.BLOCK", block)
    dice = random.Random(block)
    pieces = [b"", b"a\r", b"\xff", "öö".encode(), b"word " * 9]
    for _ in range(200):
        lines = dice.choices(pieces, k=dice.randrange(1, 12))
        data = b"before\n" + b"\n".join(lines)
        text = Text("t", data, 7, len(data) - 7, "logs", seen := Seen())
        sources["t"] = text
        whole = lines if lines[-1] else lines[:-1]
        wanted = [line.removesuffix(b"\r").decode("utf-8", "replace") for line in whole]
        assert [*text] == wanted
        seen.take()
        for number, _ in enumerate(text, 1):
            if number == 3:
                break
        assert seen.take()["ranges"] == ([("t", 1, min(3, len(whole)))] if whole else [])
        del sources["t"]


def test_a_line_without_an_end_is_looked_through_once(monkeypatch):
    class Counted(bytes):
        looked = 0

        def find(self, words, start, end):
            Counted.looked += end - start
            return super().find(words, start, end)

    monkeypatch.setattr("codetether_rlm.inside.texts.READ", 1_000)
    data = "ä".encode() * 50_000
    text = Text("t", Counted(data), 0, len(data), "logs", Seen())
    assert "".join(text) == data.decode()
    assert Counted.looked <= len(data)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), max_size=80), st.integers(1, 9))
def test_joined_ranges_hold_all_and_are_few(parts, most):
    given_parts = [(first, first + length) for first, length in parts]
    found = merged(given_parts, most)
    assert len(found) <= most
    assert found == sorted(found)
    for first, last in given_parts:
        assert any(a <= first and last <= b for a, b in found)
