"""What a vendor refuses: keys, requests, conversations that are too long (F03, F04, F13, F14)."""

from __future__ import annotations

import json

import msgspec
import pytest
from codetether.api import Compacted, Effect, Tool, ToolOutput
from codetether.testing import ByteServer, Call, Reply
from dialects import DIALECTS, refusal
from stand import KEY, NEW_KEY, NoteParams, session_at

END = "Done."
CHAT = DIALECTS["chat"]


# --- F03 ---
@pytest.mark.parametrize("status", [401, 403])
async def test_f03_a_key_changed_in_vault_works_after_one_failed_call(tmp_path, dialect, status):
    def script(request):
        return (
            dialect.says(END) if NEW_KEY in repr(request.headers) else [refusal(status, "bad key")]
        )

    async with ByteServer(script) as server, session_at(tmp_path, server, dialect) as session:
        session.kernel.memory.next_keys[:] = [NEW_KEY]
        assert (await session.prompt("go")).text == END
        assert (await session.prompt("again")).text == END
        assert session.kernel.memory.forgotten == [dialect.provider]
    assert [KEY in repr(sent.headers) for sent in server.requests] == [True, False, False]


@pytest.mark.parametrize("status", [401, 403])
async def test_f03_a_wrong_key_is_two_calls_and_names_who_and_what_to_do(tmp_path, dialect, status):
    async with ByteServer(lambda request: [refusal(status, "bad key")]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            done = await session.prompt("go")
    assert len(server.requests) == 2
    assert done.reason == "error"
    assert dialect.provider in done.error
    assert f"codetether auth login {dialect.provider}" in done.hint


# --- F04 ---
async def test_f04_a_refused_request_is_not_sent_again_as_it_was(tmp_path, dialect):
    async with ByteServer(lambda request: [refusal(400, "roles must alternate")]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            done = await session.prompt("go")
    assert "roles must alternate" in done.error
    bodies = [sent.body for sent in server.requests]
    assert len(set(bodies)) == len(bodies) <= 2


async def test_f04_a_conversation_hurt_on_disk_is_mended_before_it_is_sent(tmp_path, dialect):
    """The refusal that broken histories earn elsewhere never comes: what is sent is in order to begin with."""
    from codetether.api import Message, Text, ToolCall, ToolResult

    async with ByteServer([dialect.says(END)]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            for message in (
                Message("user", (Text("one"),)),
                Message("assistant", (ToolCall("c1", "note", '{"te'),), interrupted=True),
                Message("assistant", (Text("said"), ToolCall("c2", "note", "{}"))),
                Message("tool", (ToolResult("gone", "note", "orphan"),)),
                Message("assistant", ()),
                Message("user", (Text("two"),)),
            ):
                await session.add(message)
            assert (await session.prompt("three")).text == END
    [sent] = server.requests
    dialect.judge(sent)
    assert all(word in sent.body for word in (b"one", b"two", b"three", b"said"))
    assert b"orphan" not in sent.body


# --- F13 ---
def size(body):
    return len(body) // 4


async def test_f13_an_irreducible_tail_ends_with_advice(tmp_path, dialect):
    """A window of 4,000 tokens and one message of 5,000: at most two attempts, then the truth."""
    asked = []

    def script(request):
        asked.append(request)
        if b"SUMMARY" in request.body or size(request.body) < 3000:
            return dialect.says("A summary.")
        return [refusal(400, "This model's maximum context length is 4096 tokens.")]

    async with ByteServer(script) as server:
        async with session_at(
            tmp_path, server, dialect, plugins=("extensions:compact",)
        ) as session:
            session.model = msgspec.structs.replace(session.model, context=4096)
            done = await session.prompt("word " * 4000)
            assert done.reason == "error"
            assert "cannot be shortened" in done.error
            assert "larger context" in done.hint
            assert len(session.heard.of(Compacted)) <= 2
    assert len(asked) <= 4
    assert session.messages[0].text == "word " * 4000  # what the person said is not lost


async def test_f13_one_refusal_one_compaction_and_on(tmp_path, dialect):
    """The vendor says too long although nobody knew its limit: shortened once, asked once more."""
    refused = []

    def script(request):
        if b"last question" in request.body and not refused:
            refused.append(request)
            return [refusal(400, "prompt is too long: 5000 tokens > 4096 maximum")]
        return dialect.says(f"Answer {'x' * 3000}" if not refused else END)

    async with ByteServer(script) as server:
        async with session_at(
            tmp_path, server, dialect, plugins=("extensions:compact",)
        ) as session:
            for number in range(6):
                await session.prompt(f"question {number} {'y' * 2000}")
            done = await session.prompt("the last question")
            assert (done.reason, done.text) == ("done", END)
            assert len(session.heard.of(Compacted)) == 1
    final = server.requests[-1]
    dialect.judge(final)
    assert b"the last question" in final.body
    assert len(final.body) < len(refused[0].body)


# --- F14 ---
class Flood(Tool[NoteParams]):
    """Five megabytes."""

    api = 1
    params = NoteParams
    effect = Effect.READ
    text = "Say much."

    async def run(self, params, ctx):
        return ToolOutput("0123456789abcdef\n" * 300_000)


async def test_f14_a_result_larger_than_the_window_is_bounded(tmp_path, dialect):
    asked = Reply(calls=(Call("flood", {"text": "x"}),))
    async with ByteServer([dialect.says(asked), dialect.says(END)]) as server:
        how = {"extra": {"tools:flood": Flood}, "plugins": ("extensions:compact",)}
        async with session_at(tmp_path, server, dialect, **how) as session:
            session.model = msgspec.structs.replace(session.model, context=40_000)
            assert (await session.prompt("go")).text == END
            [result] = [r for message in session.messages for r in message.results]
    dialect.judge(server.requests[-1])
    assert len(server.requests[-1].body) < 200_000
    assert len(json.dumps(result.text)) < 150_000
