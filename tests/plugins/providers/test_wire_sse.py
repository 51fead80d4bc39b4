from __future__ import annotations

from itertools import pairwise

import pytest
from codetether_wire import Event, SseParser, WireFault
from hypothesis import given
from hypothesis import strategies as st

LINE = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data:  three",
        b"data",
        b"data: \xe2\x82\xac\xf0\x9f\x98\x80",
        b"event: ping",
        b"event:x",
        b": comment",
        b":",
        b"id: 7",
        b"retry: 10",
        b"unknown: field",
        b"nocolon",
        b"data: a:b:c",
        b"",
        b"",
        b"",
    ]
)
END = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def streams(draw):
    lines = draw(st.lists(st.tuples(LINE, END), max_size=30))
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return bom + b"".join(line + end for line, end in lines)


def pieces(data, cuts):
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


def feed_all(parser, chunks):
    return [event for chunk in chunks for event in parser.feed(chunk)]


def events_of(chunks, limit=1 << 20):
    parser = SseParser(limit)
    return feed_all(parser, chunks) + parser.close()


@given(streams(), st.lists(st.integers(0, 2000), max_size=20))
def test_any_split_gives_the_same_events(data, cuts):
    assert events_of(pieces(data, cuts)) == events_of([data])


@given(streams())
def test_byte_by_byte(data):
    assert events_of([bytes([byte]) for byte in data]) == events_of([data])


@given(
    st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8")), max_size=20)
)
def test_what_was_written_is_read(texts):
    data = "".join(f"data: {text}\n\n" for text in texts).encode()
    assert [event.data.decode() for event in events_of([data])] == texts


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [Event("", b"a"), Event("", b"b")]),
        (b"data: a\ndata: b\n\n", [Event("", b"a\nb")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [Event("x", b"a"), Event("", b"b")]),
        (b"event: x\n\ndata: b\n\n", [Event("", b"b")]),
        (b"\xef\xbb\xbfdata: a\r\rdata: b\r\n\r\n", [Event("", b"a"), Event("", b"b")]),
        (b"data\n\n", [Event("", b"")]),
        (b"data: cut off", [Event("", b"cut off")]),
        (b": ping\n\n: ping\n\n", []),
    ],
)
def test_the_rules(data, expected):
    assert events_of([data]) == expected


@given(st.integers(80, 120), st.lists(st.integers(0, 300), max_size=8))
def test_an_event_beyond_the_limit_is_a_fault_under_any_split(size, cuts):
    data = b"data: ok\n\ndata: " + b"x" * size + b"\n\n"
    parser = SseParser(limit=100)
    seen = []
    try:
        for chunk in pieces(data, cuts):
            seen += parser.feed(chunk)
        seen += parser.close()
        ended = ""
    except WireFault as fault:
        ended = fault.fault.kind
    assert seen[0] == Event("", b"ok")
    assert (ended == "other") == (size + len(b"data: ") > 100)


def test_a_megabyte_event_is_read_in_small_pieces():
    data = b"data: " + b"y" * 1_000_000 + b"\n\n"
    [event] = events_of([data[i : i + 1000] for i in range(0, len(data), 1000)])
    assert len(event.data) == 1_000_000


def test_endless_lines_and_endless_data_lines_end():
    for piece in (b"data: " + b"z" * 1000, b"data: " + b"z" * 1000 + b"\n", b":" + b"z" * 1000):
        parser = SseParser(limit=10_000)
        with pytest.raises(WireFault):
            feed_all(parser, [piece] * 50)
