"""A secret that the model itself says, in whatever pieces it comes."""

from __future__ import annotations

import pytest
from codetether.events import CallStart, Finish, MessageDone, Retrying, TextDelta, ThoughtDelta
from codetether.masking import Masking
from codetether.redact import MASK, Redactor
from codetether.testing import make_kernel
from hypothesis import example, given
from hypothesis import strategies as st

KEY = "canary-abcab-canary-abcd"
few = st.text("ab-", min_size=8, max_size=12)


def redactor(*secrets):
    redact = Redactor()
    for secret in secrets:
        redact.add(secret)
    return redact


def through(redact, events):
    masking = Masking(redact)
    passed = [each for event in events for each in masking.take(event)] + list(masking.rest())
    return [p.kept for p in passed if p.kept], [p.shown for p in passed if p.shown]


def texts(events, kind=TextDelta):
    return "".join(event.text for event in events if isinstance(event, kind))


@pytest.mark.parametrize("size", range(1, len(KEY) + 1))
def test_in_pieces_of_any_size(size):
    text = f"The key is {KEY}, and {KEY[:9]} is none."
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    kept, shown = through(redactor(KEY), map(TextDelta, pieces))
    assert texts(shown) == texts(kept) == f"The key is {MASK}, and {KEY[:9]} is none."


@given(
    st.lists(few, min_size=1, max_size=3),
    st.lists(st.one_of(st.text("ab- ", max_size=9), st.integers(0, 2)), max_size=12),
    st.data(),
)
@example(["aaaaaaaab", "aaaaaaaa"], [0, " ", 1], None)
def test_as_if_the_whole_had_been_masked(secrets, parts, data):
    """However secrets overlap and wherever the pieces part them: none is shown that masking the whole would hide."""
    redact = redactor(*secrets)
    text = "".join(secrets[p % len(secrets)] if isinstance(p, int) else p for p in parts)
    cuts = (
        range(1, len(text))
        if data is None
        else sorted(data.draw(st.sets(st.integers(0, max(len(text), 1)))))
    )
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    kept, shown = through(redact, map(TextDelta, pieces))
    for secret in secrets:
        if len(secret.strip()) >= 8:
            assert secret.strip() not in texts(shown)
    if not any(secret.strip() in text for secret in secrets):
        assert texts(shown) == texts(kept) == text


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        (["it is ", "hu", "nter", "."], f"it is {MASK}."),
        (["it is hunter"], f"it is {MASK}"),
        (["it is hunter", "s"], "it is hunters"),
        (["big", "hunter", " game"], "bighunter game"),
    ],
)
def test_a_short_one_only_where_it_stands_alone(pieces, told):
    assert texts(through(redactor("hunter"), map(TextDelta, pieces))[1]) == told


def test_thoughts_are_shown_masked_and_kept_as_they_were():
    events = [ThoughtDelta(KEY[:5]), ThoughtDelta(KEY[5:]), TextDelta("Done "), TextDelta(KEY)]
    kept, shown = through(redactor(KEY), events)
    assert texts(kept, ThoughtDelta) == KEY
    assert texts(shown, ThoughtDelta) == MASK
    assert texts(shown) == texts(kept) == f"Done {MASK}"


def test_what_was_held_comes_before_what_follows():
    kept, _ = through(
        redactor(KEY), [TextDelta("see " + KEY[:4]), CallStart(0, "c", "bash"), Finish("stop")]
    )
    assert [type(each) for each in kept] == [TextDelta, TextDelta, CallStart, Finish]
    assert texts(kept) == "see " + KEY[:4]


def test_what_a_retry_takes_back_is_not_shown():
    _, shown = through(redactor(KEY), [TextDelta(KEY[:4]), Retrying(1, 0.0, "cut"), TextDelta("x")])
    assert texts(shown) == "x"


def test_without_secrets_every_event_is_passed_as_it_is():
    event = TextDelta(KEY)
    assert through(Redactor(), [event])[1][0] is event


async def test_neither_screen_nor_transcript_of_a_session_holds_it(tmp_path):
    async with make_kernel(tmp_path, replies=[f"It is {KEY}!"], plugins=()) as kernel:
        kernel.redact.add(KEY)
        async with kernel.open_session(directory=tmp_path / "work") as session:
            with session.feed.listen() as events:
                done = await session.prompt("which key?")
            shown = []
            while events._queue:
                shown.append(await events.receive())
            assert done.text == f"It is {MASK}!"
            assert texts(shown) == f"It is {MASK}!"
            assert KEY not in repr(shown)
            assert [e for e in shown if isinstance(e, MessageDone)]
            for file in kernel.dirs.data.rglob("*"):
                assert not file.is_file() or KEY.encode() not in file.read_bytes()
