"""What of a reply is done: commands, cells, an answer; and the lines an answer rests on."""

from itertools import pairwise

import pytest
from codetether_mode_rlm.reading import Step, read
from codetether_mode_rlm.report import merged
from codetether_mode_rlm.texts import data
from hypothesis import given
from hypothesis import strategies as st


def command(text):
    return Step("command", text)


@pytest.mark.parametrize(
    ("reply", "steps"),
    [
        ("head(5)", [command("head(5)")]),
        ("Let me look.\n\n  grep('x')\nthen\ntail(3)", [command("grep('x')"), command("tail(3)")]),
        ("let hits = grep('a=b')", [command("let hits = grep('a=b')")]),
        ("```python\nx = 1\nprint(x)\n```", [Step("python", "x = 1\nprint(x)")]),
        ("```\nprint(grep('x')[0].line)\n```", [command("print(grep('x')[0].line)")]),
        ("```\nfor x in grep('x'):\n    print(x)\n```", [Step("python", "for x in grep('x'):\n    print(x)")]),
        ("```rlm\nhead(2)\ntail(2)\n```", [command("head(2)\ntail(2)")]),
        ("~~~py\nx\n~~~\n```json\n{}\n```", [Step("python", "x")]),
        ("```python title=x\nx\n```\nSo it is.", [Step("python", "x")]),
        ("1. first\n   ```py\n   x\n   ```\nthen", [Step("python", "x")]),
        ("It said:\n```\n03:12 ERROR full\n```", []),
        ('```python\nx = """see:\n```js\ny;\n```\n"""\nFINAL(x)\n```\nbye', [Step("python", 'x = """see:\n```js\ny;\n```\n"""\nFINAL(x)')]),
        ("```python\nx = 'it''s'\nprint(\n```\nhead(5)", [Step("python", "x = 'it''s'\nprint("), command("head(5)")]),
        ("```python\nnever closed", [Step("python", "never closed")]),
        ("FINAL(one line) and no more", [command("FINAL(one line) and no more")]),
        ('FINAL("a (b)\nc)")\nbye', [command('FINAL("a (b)\nc)")')]),
        ("FINAL(\na list:\n- x (y)\n)\nbye", [command("FINAL(\na list:\n- x (y)\n)")]),
        ('FINAL("""see:\n```python\nx\n```\nend""")', [command('FINAL("""see:\n```python\nx\n```\nend""")')]),
        ("FINAL!(`x`)", [command("FINAL!(`x`)")]),
        ("I would say FINAL(x) soon; head(5) is a command", []),
        ("", []),
    ],
)  # fmt: skip
def test_steps(reply, steps):
    assert list(read(reply).steps) == steps


def test_words_beside_the_steps_are_kept():
    assert read("I look.\nhead(5)\nSo.").prose == "I look.\nSo."


WORDS = st.sampled_from(["head(5)", "FINAL(", ")", '"', "```", "```python", "~~~", "x = 1", "\n", " ", "é", "grep('a')"])  # fmt: skip


@given(st.lists(WORDS, max_size=40).map("".join) | st.text(max_size=200))
def test_nothing_is_made_up_and_nothing_is_raised(reply):
    found = read(reply)
    flat = "".join(reply.split())
    for step in found.steps:
        assert "".join(step.text.split()) in flat
    assert len(found.steps) <= 50


RANGES = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 40), st.integers(0, 9)).map(lambda r: (r[0], r[1], r[1] + r[2])),
    max_size=30,
)  # fmt: skip


@given(RANGES)
def test_merged_ranges_hold_the_same_lines_in_order_and_apart(ranges):
    def lines(some):
        return {(name, line) for name, first, last in some for line in range(first, last + 1)}

    done = merged(ranges)
    assert lines(done) == lines(ranges)
    for (name, _, last), (other, first, _) in pairwise(done):
        assert name != other or first > last + 1


@given(st.text(max_size=200))
def test_a_text_cannot_leave_its_tags_or_drive_a_terminal(text):
    told = data("text", "0123abcd", text)
    inside = told.removeprefix("<text-0123abcd>\n").removesuffix("\n</text-0123abcd>")
    assert "\x1b" not in inside
    assert inside == "".join(c for c in text if c in "\t\n\r" or not (ord(c) < 32 or 127 <= ord(c) < 160))  # fmt: skip
