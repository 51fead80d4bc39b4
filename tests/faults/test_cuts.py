"""A stream that is cut, ends too early, says nothing more, or comes in odd pieces (F05 to F08)."""

from __future__ import annotations

import pytest
import trio
from codetether.api import Retrying, TextDelta
from codetether.testing import ByteServer, Fin, Pause, Reset, Stall, split_every
from stand import note, session_at

SAID = note("x", thoughts="I think it over.", text="Let me note that.")
END = "All noted."


async def undisturbed(home, dialect):
    """The parts of every message of the turn as it is meant to be, ids aside."""
    async with ByteServer([dialect.says(SAID), dialect.says(END)]) as server:
        async with session_at(home, server, dialect) as session:
            await session.prompt("go")
            return told(session.messages)


def told(messages):
    """What is in a transcript but for the ids, which are always new."""
    return [
        (message.role, message.interrupted, [_bare(part) for part in message.parts])
        for message in messages
    ]


def _bare(part):
    named = ("text", "opaque", "origin", "name", "arguments", "ok")
    return (type(part).__name__, *(getattr(part, name, None) for name in named))


def as_chunks(*pieces):
    """A body in HTTP chunks with its proper last one: the transport sees nothing wrong."""
    return (
        b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"
    )


@pytest.mark.parametrize("end", [Fin(), Reset()], ids=["fin", "rst"])
async def test_f05_cut_after_every_event(tmp_path, dialect, end, leaping_clock):
    """Whatever came before the cut: the transcript is the undisturbed one, nothing is shown twice, a call runs once."""
    meant = await undisturbed(tmp_path / "meant", dialect)
    events = dialect.events(SAID)
    for kept in range(len(events)):
        cut = [dialect.head(), *events[:kept], Pause(0.01), end]
        async with ByteServer([cut, *[dialect.says(SAID)] * 2]) as server:
            server.steps = _after_the_call(server, dialect, server.steps)
            async with session_at(tmp_path / str(kept), server, dialect) as session:
                done = await session.prompt("go")
                noted = list(session.kernel.noted)
        assert (done.reason, done.text) == ("done", END)
        assert told(session.messages) == meant
        assert session.heard.text() == SAID.text + END
        assert noted == ["x"]
        assert len(session.heard.of(Retrying)) == len(server.requests) - 2
        for sent in server.requests:
            dialect.judge(sent)


def _after_the_call(server, dialect, script):
    """The script, but a request that holds the call's result gets the end of the turn."""

    def steps(request):
        if b"noted x" in request.body:
            return dialect.says(END)
        return script(request)

    return steps


@pytest.mark.parametrize("kind", ["length unknown", "last chunk"])
async def test_f06_a_clean_end_without_the_terminal_event(tmp_path, dialect, kind, leaping_clock):
    """The transport is content, the answer is not: no tool runs, and in the end the turn says it was cut."""
    events = dialect.events(SAID)
    call_is_whole = next(
        kept for kept in range(len(events), 0, -1) if not _is_complete(dialect, events[:kept])
    )
    if kind == "last chunk":
        cut = [dialect.head(**{"transfer-encoding": "chunked"}), as_chunks(*events[:call_is_whole])]
    else:
        cut = [dialect.head(), *events[:call_is_whole]]
    async with ByteServer(lambda request: cut) as server:
        async with session_at(tmp_path, server, dialect) as session:
            done = await session.prompt("go")
            assert session.kernel.noted == []
            kept = session.messages[-1]
            assert (done.reason, kept.interrupted) == ("error", True)
            assert kept.text == SAID.text  # what was said is kept
    assert len(server.requests) == 4  # begun anew three times, then the truth
    assert "complete" in done.error


def _is_complete(dialect, events):
    """Whether the dialect's own reader takes the answer for whole; the tests above do not rely on it."""
    from codetether_wire import WireFault

    decoder = decoder_of(dialect)
    try:
        for event in events:
            decoder.feed(event)
        decoder.close()
    except WireFault:
        return False
    return decoder.complete


def decoder_of(dialect):
    import codetether_wire as wire

    if dialect.provider == "bedrock":
        from codetether_provider_bedrock.aws import EventStream

        return wire.ConverseDialect(EventStream).decoder()
    named = {
        "moonshotai": "ChatDialect", "openai": "ResponsesDialect", "anthropic": "AnthropicDialect",
        "google": "GoogleDialect",
    }  # fmt: skip
    return getattr(wire, named[dialect.provider])().decoder()


async def test_f07_a_stall_after_the_first_words(tmp_path, dialect, leaping_clock):
    """Given up at the idle limit (120 s) and asked again; the words of the dead stream are taken back."""
    events = dialect.events(SAID)
    begun = [dialect.head(), *events[: len(events) // 2], Stall()]
    with trio.CancelScope(shield=True):
        async with ByteServer([begun, dialect.says(END)]) as server:
            async with session_at(tmp_path, server, dialect) as session:
                assert (await session.prompt("go")).text == END
    first, second = (request.at for request in server.requests)
    assert 119 <= second - first <= 123
    assert session.heard.text() == END
    [retrying] = session.heard.of(Retrying)
    assert "120 s" in retrying.why


PINGS = {
    "text/event-stream": (b": ping\n\n", b'event: ping\ndata: {"type": "ping"}\n\n'),
    "application/vnd.amazon.eventstream": (),
}


@pytest.mark.parametrize("number", [0, 1])
async def test_f07_pings_for_ever_are_silence(tmp_path, dialect, number, leaping_clock):
    pings = PINGS[dialect.content_type]
    if dialect.provider == "bedrock":
        from bedrock_judge import event

        pings = (event("ping", {}), event("initial-response", {}))
    if dialect.provider not in ("anthropic", "bedrock") and number == 1:
        pings = (pings[0], b": OPENROUTER PROCESSING\n\n")

    def endless():
        yield from (dialect.head(), *dialect.events(END)[:2])
        while True:
            yield pings[number]
            yield Pause(5)

    with trio.CancelScope(shield=True):
        async with ByteServer([endless(), dialect.says(END)]) as server:
            async with session_at(tmp_path, server, dialect) as session:
                assert (await session.prompt("go")).text == END
    first, second = (request.at for request in server.requests)
    assert 119 <= second - first <= 123


async def test_f07_leaving_does_not_wait_for_the_vendor(tmp_path, dialect):
    """Esc while nothing comes: the turn ends, what was said is kept, the next request is in order."""
    begun = [dialect.head(), *dialect.events("Half of it and more.")[:-2], Stall()]
    async with ByteServer([begun, dialect.says(END)]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            async with trio.open_nursery() as nursery:

                async def press():
                    while not session.heard.of(TextDelta):
                        await trio.sleep(0.01)
                    session.cancel()

                nursery.start_soon(press)
                assert (await session.prompt("go")).reason == "cancelled"
            assert session.messages[-1].interrupted
            assert session.messages[-1].text
            assert (await session.prompt("once more")).text == END
    dialect.judge(server.requests[-1])


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_f08_the_pieces_do_not_matter(tmp_path, dialect, size):
    meant = await undisturbed(tmp_path / "meant", dialect)
    answers = [
        [dialect.head(), *split_every(b"".join(dialect.events(said)), size)] for said in (SAID, END)
    ]
    async with ByteServer(answers) as server, session_at(tmp_path, server, dialect) as session:
        await session.prompt("go")
        assert told(session.messages) == meant
