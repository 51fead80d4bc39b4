"""Edits change the intended bytes and no others; what cannot be done is refused with help."""

from __future__ import annotations

import codecs

import pytest
from codetether.errors import ToolError
from codetether_editing import apply_edit, decode, kind_of, render
from codetether_editing.document import NotText
from hypothesis import given, settings
from hypothesis import strategies as st

FILES = {
    "lf": (b"", "utf-8", ("\n",), True),
    "crlf": (b"", "utf-8", ("\r\n",), True),
    "mixed": (b"", "utf-8", ("\r\n", "\n"), True),
    "cr": (b"", "utf-8", ("\r",), True),
    "mark": (codecs.BOM_UTF8, "utf-8", ("\n",), True),
    "utf-16": (codecs.BOM_UTF16_LE, "utf-16-le", ("\r\n",), True),
    "utf-16-be": (codecs.BOM_UTF16_BE, "utf-16-be", ("\n",), True),
    "latin": (b"", "latin-1", ("\n",), True),
    "unfinished": (b"", "utf-8", ("\n",), False),
}
BODY = ["def f():", "\tcaf\xe9 = 1  ", "    x\x0b = '\x85'", "", "\tend", "    x2"]
MORE = ["\u2028 separates \u2029", "\U0001f600"]


def make(kind, lines):
    mark, encoding, ends, finished = FILES[kind]
    text = "".join(line + ends[number % len(ends)] for number, line in enumerate(lines))
    if not finished:
        text = text.removesuffix(ends[(len(lines) - 1) % len(ends)])
    return mark + text.encode(encoding)


def lines_of(kind):
    return BODY + ([] if kind == "latin" else MORE)


def refused(code, *edit, **how):
    with pytest.raises(ToolError) as caught:
        apply_edit(*edit, **how)
    assert caught.value.code == code, caught.value.text
    return caught.value


@pytest.mark.parametrize("kind", FILES)
def test_only_the_intended_bytes_change(kind):
    lines = lines_of(kind)
    before = make(kind, lines)
    outcome = apply_edit(before, "caf\xe9 = 1", "tea = 22")
    lines[1] = lines[1].replace("caf\xe9 = 1", "tea = 22")
    assert outcome.data == make(kind, lines)
    assert (outcome.strategy, outcome.lines) == ("exact", (2,))


@pytest.mark.parametrize("kind", FILES)
def test_edits_over_lines_keep_the_line_ends(kind):
    lines = lines_of(kind)
    before = make(kind, lines)
    outcome = apply_edit(before, "def f():\n\tcaf\xe9 = 1  \n", "def g():\n\ttea\n")
    lines[:2] = ["def g():", "\ttea"]
    assert outcome.data == make(kind, lines)
    outcome = apply_edit(before, "def f():\r\n\tcaf\xe9", "def g():\r\n\ttea")
    assert decode(outcome.data).text.startswith("def g():\n\ttea = 1  \n")
    ends = FILES[kind][2]
    more = apply_edit(before, "\tend\n", "\tone\n\ttwo\n\tthree\n").data
    if len(ends) == 1:
        lines = lines_of(kind)
        lines[4:5] = ["\tone", "\ttwo", "\tthree"]
        assert more == make(kind, lines)
    else:
        assert more.count(b"\r\n") + more.count(b"\n") - more.count(b"\r\n") == len(lines) + 2
        assert more.startswith(before[: before.index(b"\tend")])
        assert more.endswith(before[before.index(b"\tend") + 5 :])


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_unique_piece_can_be_replaced(kind, data):
    """Cut any piece out of the text, put any other in: the bytes around it are those of before."""
    mark, encoding, _, _ = FILES[kind]
    alphabet = "ab \t\n\xe9" if kind == "latin" else "ab \t\n\xe9\u2028\U0001f600"
    words = st.text(alphabet, max_size=6)
    before = make(
        kind, data.draw(st.lists(words.map(lambda w: w.replace("\n", "")), min_size=1, max_size=8))
    )
    document = decode(before)
    text = document.text
    start = data.draw(st.integers(0, len(text)))
    old = text[start : data.draw(st.integers(start, len(text)))]
    new = data.draw(words)
    if (
        not old
        or text.count(old) != 1
        or old == new
        or document.encoding not in (encoding, "utf-8", "cp1252")
    ):
        return
    # overlapping occurrences are not unique either
    if text.find(old, text.find(old) + 1) >= 0:
        return
    after = apply_edit(before, old, new).data
    assert decode_as(after, mark, document) == text.replace(old, new)
    head = text[:start].replace("\n", "")
    assert after.startswith(mark)
    kept = after[len(mark) :].decode(document.encoding)
    raw = document.raw
    assert kept.startswith(raw[: raw_place(raw, text, start)])
    assert kept.endswith(raw[raw_place(raw, text, start + len(old)) :])
    assert head in decode_as(after, mark, document).replace("\n", "")


def decode_as(data, mark, document):
    raw = data[len(mark) :].decode(document.encoding)
    if document.newline == "\r":
        return raw.replace("\r", "\n")
    return raw.replace("\r\n", "\n")


def raw_place(raw, text, place):
    """The slow way: walk both."""
    at = 0
    for character in text[:place]:
        at += 2 if character == "\n" and raw[at] == "\r" and raw[at + 1 : at + 2] == "\n" else 1
    return at


def test_unreadable_bytes_are_kept_and_never_overwritten_by_accident():
    before = "naïve café — one".encode() + b" \xff\xfe two\n"
    assert decode(before).text == "naïve café — one \ufffd\ufffd two\n"
    assert apply_edit(before, "one", "1").data == before.replace(b"one", b"1")
    assert apply_edit(before, "one \ufffd\ufffd two", "one \ufffd\ufffd 2").data == before.replace(
        b"two", b"2"
    )
    refused("INVALID_ARGUMENT", before, "\ufffd\ufffd two", "x\ufffdx")


def test_eight_bit_files():
    before = b"caf\xe9 \x93quoted\x94\n"
    assert decode(before).text == "café “quoted”\n"
    assert apply_edit(before, "café", "thé").data == b"th\xe9 \x93quoted\x94\n"
    assert "cp1252" in refused("INVALID_ARGUMENT", before, "café", "日本").text
    assert decode(b"\x81\xe9").encoding == "latin-1"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x7fELF\x02\x01\x01\0", "ELF program or library"),
        (b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
        (b"\0" * 100, "zero bytes"),
        (codecs.BOM_UTF32_LE + "a".encode("utf-32-le"), "UTF-32 text"),
        (codecs.BOM_UTF16_LE + b"odd", "binary data"),
    ],
)
def test_binary_files_are_refused(data, kind):
    assert kind_of(data) == kind
    assert kind in refused("INVALID_ARGUMENT", data, "a", "b").text
    with pytest.raises(NotText):
        decode(data)


def test_refusals():
    text = b"one\ntwo\none\n"
    ambiguous = refused("AMBIGUOUS_MATCH", text, "one", "1")
    assert ambiguous.meta == {"matches_found": 2, "lines": [1, 3]}
    assert "1, 3" in ambiguous.text
    refused("NO_OP", text, "one", "one")
    refused("NO_OP", text.replace(b"\n", b"\r\n"), "one\r\ntwo", "one\ntwo")
    refused("INVALID_ARGUMENT", text, "", "x")
    assert apply_edit(text, "one", "1", replace_all=True).data == b"1\ntwo\n1\n"
    assert apply_edit(b"aaaa", "aa", "b", replace_all=True).data == b"bb"


def test_absent_text_gets_the_closest_block():
    text = b"import os\n\n\ndef total(items):\n    result = 0\n    for item in items:\n        result += item\n"
    error = refused("NOT_FOUND", text, "    result = 0\n    for item in item:\n", "x")
    assert "line 5 to 6" in error.text
    assert "-     for item in item:\n+     for item in items:" in error.text
    error = refused("NOT_FOUND", text, "def totals(item):", "x")
    assert "line 4 to 4" in error.text
    assert (
        "Read the file again" in refused("NOT_FOUND", text, "something else altogether", "x").text
    )
    assert (
        "line numbers"
        in refused("NOT_FOUND", text, "4|def total(items):\n5|    result = 0", "x").text
    )


def test_whole_files_in_the_style_of_the_old():
    like = decode(codecs.BOM_UTF8 + b"a\r\nb\r\n")
    assert render("x\ny\n", like) == codecs.BOM_UTF8 + b"x\r\ny\r\n"
    assert render("x\r\ny\n", like) == codecs.BOM_UTF8 + b"x\r\ny\n"
    assert render("\ufeffx", like) == codecs.BOM_UTF8 + b"x"
    assert render("é", decode(b"caf\xe9")) == b"\xe9"
    assert render("日", decode(b"caf\xe9")) == "日".encode()
    assert render("é\n", None) == "é\n".encode()
    with pytest.raises(ToolError):
        render("\ud800", None)
