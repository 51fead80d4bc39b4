"""Diffs say what changed, in bounded time."""

from __future__ import annotations

import re

from codetether_editing import unified_diff
from codetether_editing.diff import LARGEST, STEPS, _Myers
from hypothesis import given, settings
from hypothesis import strategies as st


def patched(before, diff):
    """Apply a diff strictly: context and line numbers must be right."""
    source = before.split("\n")
    finished = source.pop()
    source = [line + "\n" for line in source] + ([finished] if finished else [])
    out, at = [], 0
    lines = diff.split("\n")[2:-1]
    number = 0
    while number < len(lines):
        head = re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", lines[number])
        assert head, lines[number]
        start, count = int(head[1]), int(head[2] or 1)
        first = start - 1 if count else start
        out += source[at:first]
        at = first
        assert len(out) == int(head[3]) - (1 if int(head[4] or 1) else 0)
        number += 1
        while number < len(lines) and not lines[number].startswith("@@"):
            sign, line = lines[number][0], lines[number][1:] + "\n"
            if lines[number + 1 : number + 2] == ["\\ No newline at end of file"]:
                line, number = line[:-1], number + 1
            if sign in " -":
                assert source[at] == line
                at += 1
            if sign in " +":
                out.append(line)
            number += 1
    return "".join(out + source[at:])


texts = st.lists(st.sampled_from(["a", "b", "c", "", "d e"]), max_size=25).flatmap(
    lambda lines: st.sampled_from(["\n".join(lines), "\n".join([*lines, ""])])
)


@settings(max_examples=300, deadline=None)
@given(texts, texts)
def test_applying_the_diff_gives_the_new_text(before, after):
    diff = unified_diff(before.encode(), after.encode(), "f")
    if before == after:
        assert (diff.text, diff.added, diff.removed) == ("", 0, 0)
        return
    assert patched(before, diff.text) == after
    assert diff.added - diff.removed == line_count(after) - line_count(before)


def line_count(text):
    return text.count("\n") + (text != "" and not text.endswith("\n"))


def test_form():
    before = b"".join(b"%d\n" % n for n in range(1, 21))
    after = before.replace(b"10\n", b"ten\n")
    assert unified_diff(before, after, "src/a").text == (
        "--- a/src/a\n+++ b/src/a\n@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n"
    )
    new = unified_diff(None, b"x\ny", "a")
    assert (
        new.text
        == "--- /dev/null\n+++ b/a\n@@ -0,0 +1,2 @@\n+x\n+y\n\\ No newline at end of file\n"
    )
    assert (new.added, new.removed) == (2, 0)


def test_line_ends_show_only_when_they_differ():
    assert "\r" not in unified_diff(b"a\r\nb\r\n", b"a\r\nc\r\n", "f").text
    assert "-a\r\n+a\n" in unified_diff(b"a\r\n", b"a\n", "f").text
    assert "Binary" in unified_diff(b"\0", b"a", "f").text


def test_the_search_for_the_shortest_diff_is_bounded():
    one = [f"{n % 7}\n" for n in range(20_000)]
    other = [f"{n * n % 11}\n" for n in range(20_000)]
    search = _Myers(one, other, (0, len(one), 0, len(other)), STEPS)
    assert len(search.ranges()) == 1
    assert search.steps < STEPS * 2
    diff = unified_diff("".join(one).encode(), "".join(other).encode(), "f")
    assert len(diff.text) < LARGEST + 100
    assert diff.text.endswith("more lines of diff]\n")
    assert diff.added == diff.removed > 10_000
