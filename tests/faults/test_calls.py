"""Tool calls that were cut, are no JSON, have the id of another, or were never answered (F09 to F12)."""

from __future__ import annotations

import json

import pytest
import trio
from codetether.api import Effect, Tool, ToolOutput
from codetether.testing import ByteServer, Call, Reply
from dialects import DIALECTS
from stand import NoteParams, note, session_at

END = "Done."
WRITE = '{"path": "made.txt", "content": "half a README"}'


def results(messages):
    return [result for message in messages for result in message.results]


def answers(dialect, *said):
    """A script: these answers in order, and what was said last again and again."""
    said = [dialect.says(each) for each in said]
    count = iter(range(10_000))
    return lambda request: said[min(next(count), len(said) - 1)]


def cuts(dialect):
    """The arguments of a call as they may end: at every byte, or only whole where the vendor sends objects."""
    return [WRITE] if dialect.provider == "google" else [WRITE[:n] for n in range(len(WRITE) + 1)]


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls"])
async def test_f09_a_call_that_was_cut_is_never_run(tmp_path, dialect, reason):
    """`write_file`, cut at every byte, with each stop reason: no file is made, and one that is there stays as it is."""
    made = tmp_path / "work" / "made.txt"
    script = []

    async with (
        ByteServer(lambda request: script.pop(0)) as server,
        session_at(tmp_path, server, dialect, tools=("tools:write_file",)) as session,
    ):
        for number, arguments in enumerate(cuts(dialect)):
            if reason == "tool_calls" and arguments == WRITE:
                continue  # that one is whole
            cut = Reply(calls=(Call("write_file", arguments, f"w{number}"),), finish=reason)
            script[:] = [dialect.says(cut), dialect.says(END), dialect.says(END)]
            await session.prompt("write it")
            assert not made.exists(), arguments
            dialect.judge(server.requests[-1])
    assert all(not result.ok for result in results(session.messages))


async def test_f09_the_model_is_told_and_after_two_the_turn_ends(tmp_path, dialect):
    cut = Reply(calls=(Call("note", {"text": "x"}),), finish="length")
    async with ByteServer([dialect.says(cut)] * 2) as server:
        async with session_at(tmp_path, server, dialect) as session:
            done = await session.prompt("go")
            assert session.kernel.noted == []
    assert done.reason == "error"
    assert "2 times in a row" in done.error
    assert "smaller" in done.hint
    assert b"smaller parts" in server.requests[1].body  # the model's chance to do better
    dialect.judge(server.requests[1])


SHAPES = [
    "", " ", "null", "true", "0", "[]", '"text"', '"{\\"text\\": \\"x\\"}"', "{", '{"text"', '{"text": }',
    "{'text': 'x'}", '{"text": null}', '{"text": 1}', '{"text": ["x"]}', '{"text": {"text": "x"}}',
    '{"other": "x"}', '{"text": NaN}', '{"text": 1e999}', '{"text": ' + "9" * 400 + "}",
    '{"text": "a"}{"text": "b"}', '{"text": "\\ud83d"}', '{"text": "x",}', "```json\n{}\n```",
    '{"text": ' + "[" * 2000 + "]" * 2000 + "}", '{"": ""}', '{"text": tru', "\ufeff{}",
]  # fmt: skip


@pytest.mark.parametrize("name", ["chat", "responses", "anthropic", "converse"])
async def test_f10_whatever_the_arguments_are_the_turn_goes_on(tmp_path, name):
    """An error result that says what is wrong; nothing is run with what was not said; the next request is in order."""
    dialect = DIALECTS[name]
    script = []
    async with (
        ByteServer(lambda request: script.pop(0)) as server,
        session_at(tmp_path, server, dialect) as session,
    ):
        for number, arguments in enumerate(SHAPES):
            asked = Reply(calls=(Call("note", arguments, f"c{number}"),))
            script[:] = [dialect.says(asked), dialect.says(END)]
            done = await session.prompt("go")
            assert done.reason == "done", (arguments, done)
            [result] = results(session.messages[-2:])
            assert not result.ok or session.kernel.noted, arguments
            assert result.text
            dialect.judge(server.requests[-1])
        wrong = [result for result in results(session.messages) if not result.ok]
        assert len(wrong) >= len(SHAPES) - 2
        assert set(session.kernel.noted) <= {"x"}  # a text in a text may be read, nothing else


async def test_f10_an_unknown_tool_and_five_wrong_calls(tmp_path, dialect):
    asked = Reply(calls=(Call("nota", {"text": "x"}),))
    async with ByteServer(lambda request: dialect.says(asked)) as server:
        async with session_at(tmp_path, server, dialect) as session:
            done = await session.prompt("go")
    assert "note" in results(session.messages)[0].text  # what there is instead
    assert done.reason == "error"
    assert "5 times in a row" in done.error
    assert len(server.requests) == 5
    dialect.judge(server.requests[-1])


IDS = {
    "the same within a turn": [("note_46", "note_46", "note_46")],
    "the same across turns": [("call_0",), ("call_0",), ("call_0", "call_1")],
    "odd": [("functions.note:0", "functions.note:0", "ü/ö" * 40)],
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
async def test_f11_each_call_runs_once_whatever_its_id(tmp_path, dialect, ids):
    number, steps, meant = iter(range(100)), [], []
    for step in ids:
        texts = [f"n{next(number)}" for _ in step]
        steps.append(note(*texts, ids=step))
        meant += texts
    async with ByteServer([*map(dialect.says, steps), dialect.says(END)]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            done = await session.prompt("go")
            assert sorted(session.kernel.noted) == sorted(meant)
    assert (done.reason, done.text) == ("done", END)
    asked = [call for message in session.messages for call in message.calls]
    assert len({call.id for call in asked}) == len(meant)
    for call, result in zip(asked, results(session.messages), strict=True):
        assert call.id == result.call_id
        assert result.text == "noted " + json.loads(call.arguments)["text"]
    for sent in server.requests:
        dialect.judge(sent)


@pytest.mark.parametrize("name", ["chat", "google", "anthropic"])
async def test_f11_no_id_at_all(tmp_path, name):
    dialect = DIALECTS[name]
    events = [
        event.replace(b"call_a", b"").replace(b"call_b", b"")
        for event in dialect.events(note("a", "b", ids=("call_a", "call_b")))
    ]
    async with ByteServer([[dialect.head(), *events], dialect.says(END)]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            await session.prompt("go")
            assert sorted(session.kernel.noted) == ["a", "b"]
    dialect.judge(server.requests[-1])


async def test_f12_a_call_that_never_ended_is_answered_for_the_vendor(tmp_path, dialect):
    """Cancelled in the middle of a tool, then taken up again from the disk: every call has its result."""
    begun = trio.Event()

    class Slow(Tool[NoteParams]):
        """Never ends."""

        api = 1
        params = NoteParams
        effect = Effect.READ
        text = "Wait."

        async def run(self, params, ctx):
            begun.set()
            await trio.sleep_forever()
            return ToolOutput("")

    asked = Reply(
        thoughts="hm",
        text="I wait.",
        calls=(Call("note", {"text": "a"}), Call("slow", {"text": "b"}), Call("note", "{}")),
    )
    async with ByteServer([dialect.says(asked), dialect.says(END)]) as server:
        how = {"extra": {"tools:slow": Slow}}
        async with session_at(tmp_path, server, dialect, **how) as session:
            async with trio.open_nursery() as nursery:

                async def press():
                    await begun.wait()
                    session.cancel()

                nursery.start_soon(press)
                assert (await session.prompt("go")).reason == "cancelled"
            kernel = session.kernel
            name = session.id
            session.transcript.close()
            async with kernel.open_session(directory=session.directory, resume=name) as again:
                assert (await again.prompt("go on")).text == END
    dialect.judge(server.requests[-1])
    assert b"go on" in server.requests[-1].body
    assert b"I wait." in server.requests[-1].body
