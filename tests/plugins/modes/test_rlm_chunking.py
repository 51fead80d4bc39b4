"""Cutting and telling apart the four kinds of content."""

from __future__ import annotations

import mmap

import pytest
from codetether_rlm.chunking import chunks
from codetether_rlm.detection import KINDS, detect
from hypothesis import given
from hypothesis import strategies as st

SAMPLES = {
    "code": "import os\n\n\ndef first(a):\n    return a\n\n\nclass Second:\n    def third(self):\n        pass\n"
    * 40,
    "logs": "2024-05-01 12:00:00 INFO started\n2024-05-01 12:00:01 ERROR failed\nTraceback:\n  at line 3\n"
    * 40,
    "conversation": "User: can you help me?\nwith this\nAssistant: yes, I can.\nWhat is it?\n" * 40,
    "documents": "# A title\n\nSome words that make a long sentence about the thing, as people write.\n\n## Part\n\n- a point\n"
    * 40,
}
WORDS = st.sampled_from(
    [
        "\n",
        "\n\n",
        "def f():\n",
        "class A:",
        "# Title\n",
        "User: hi\n",
        "2024-01-01 00:00:00 x\n",
        "ä€😀",
        "a" * 90,
        " ",
        "{",
        "\r\n",
        "\0",
    ]
)


@given(
    st.one_of(
        st.binary(max_size=2_000),
        st.lists(WORDS, max_size=80).map(lambda words: "".join(words).encode()),
    ),
    st.sampled_from([*KINDS, "other"]),
    st.integers(1, 400),
)
def test_every_byte_is_in_exactly_one_chunk_and_lines_are_right(data, kind, target):
    found = list(chunks(data, kind, target_bytes=target))
    assert b"".join(data[each.start : each.end] for each in found) == data
    at = 0
    for each in found:
        assert each.start == at < each.end
        assert each.end - each.start <= max(target, 64)
        assert each is found[-1] or each.end - each.start >= max(target, 64) // 2
        assert each.first_line == data.count(b"\n", 0, each.start) + 1
        assert each.last_line == data.count(b"\n", 0, each.end - 1) + 1
        assert len(each.title) <= 80
        at = each.end
    assert at == len(data)


@given(st.text(max_size=600), st.integers(1, 200))
def test_characters_stay_whole(text, target):
    data = text.encode("utf-8", "replace")
    assert (
        "".join(
            data[each.start : each.end].decode()
            for each in chunks(data, "documents", target_bytes=target)
        )
        == data.decode()
    )


@pytest.mark.parametrize(
    ("kind", "begins"),
    [
        ("code", ("import", "def ", "class ")),
        ("logs", ("2024",)),
        ("conversation", ("User:", "Assistant:")),
        ("documents", ("#",)),
    ],
)
def test_chunks_begin_where_the_kind_has_seams(kind, begins):
    data = SAMPLES[kind].encode()
    found = list(chunks(data, kind, target_bytes=500))
    assert len(found) > 5
    for each in found:
        assert data[each.start : each.end].decode().startswith(begins), each


def test_a_part_of_a_mapped_file_is_cut_as_bytes_are(tmp_path):
    data = b"x\n" * 10 + SAMPLES["code"].encode()
    (tmp_path / "file").write_bytes(data)
    with (
        (tmp_path / "file").open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
    ):
        found = list(chunks(mapped, "code", target_bytes=300, start=20, end=1_000, first_line=11))
    assert (found[0].start, found[0].first_line, found[0].title) == (20, 11, "import os")
    assert found[-1].end == 1_000


def test_a_seam_in_the_first_half_makes_no_short_chunk():
    found = chunks(b"x\n# Title\n\n" + b"a" * 200, "documents", target_bytes=64)
    assert [each.end - each.start for each in found] == [64, 64, 64, 19]


def test_a_line_longer_than_a_chunk_is_in_several():
    found = list(chunks(b"a" * 1_000, "logs", target_bytes=300))
    assert [each.end - each.start for each in found] == [300, 300, 300, 100]
    assert {(each.first_line, each.last_line) for each in found} == {(1, 1)}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_known_by_its_lines(kind):
    found = detect(SAMPLES[kind].encode(), "")
    assert found.kind == kind
    assert found.confidence > 0.5
    assert "lines look like" in found.why


def test_a_name_speaks_too_and_less_than_all_lines():
    assert detect(b"", "src/lib.rs").kind == "code"
    assert detect((SAMPLES["documents"] + SAMPLES["code"]).encode(), "notes.md").kind == "documents"
    assert detect(SAMPLES["logs"].encode(), "notes.txt").kind == "logs"
    sure = detect(SAMPLES["code"].encode(), "a.py")
    assert (sure.kind, sure.confidence >= 0.9) == ("code", True)
    assert detect(b"hello", "").confidence < 0.5
    assert detect(b"", "").confidence == 0.25


@given(st.binary(max_size=1_500), st.text(max_size=20))
def test_anything_is_one_of_the_four_with_a_confidence(sample, name):
    found = detect(sample, name)
    assert found.kind in KINDS
    assert 0 < found.confidence <= 1
    assert found.why
