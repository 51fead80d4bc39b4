"""One event, one line: in order, complete, at once, and without secrets."""

from __future__ import annotations

import io
import json
import os
import sys
from types import SimpleNamespace

import trio
from codetether import events
from codetether.words import Image, Message, Text, ToolCall, Usage
from codetether_ui_jsonl import Jsonl

EVENTS = (
    events.SessionStarted("ses_1", "/w", "scripted/demo", "build", "ask"),
    events.TurnStarted(1, "hallo\nWelt \u202e"),
    events.TextDelta("a\x1b]0;b\x07"),
    events.MessageDone(
        Message(
            "assistant",
            (Text("x"), Image("image/png", b"\x89P"), ToolCall("c1", "bash", "{}")),
            usage=Usage(1, 2),
        )
    ),
    events.ToolFinished("c1", "bash", True, "ok", "key sk-secret", 0.1, {"exit_code": 0}),
    events.TurnFinished("done", "x", Usage(1, 2, cost=0.5), 1, 0.2),
)


def jsonl() -> Jsonl:
    redact = SimpleNamespace(text=lambda text: text.replace("sk-secret", "[redacted]"))
    return Jsonl(SimpleNamespace(redact=redact), "ui:jsonl")


async def show(ui, given):
    """What the interface says while it is shown `given`; ends when it does."""
    to_ui, feed = trio.open_memory_channel(len(given))
    say, said = trio.open_memory_channel(0)
    for event in given:
        await to_ui.send(event)
    to_ui.close()
    await ui.run(feed, say)
    return said


async def test_every_event_is_one_line_that_decodes_to_the_event(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    await show(jsonl(), EVENTS)
    lines = stream.getvalue().splitlines()
    assert stream.getvalue().endswith("\n")
    assert len(lines) == len(EVENTS)
    import msgspec

    for number, (line, event) in enumerate(zip(lines, EVENTS, strict=True), 1):
        fields = json.loads(line)
        assert (fields.pop("v"), fields.pop("seq")) == (1, number)
        assert fields.pop("ts") > 1.7e9
        assert list(json.loads(line))[:4] == ["v", "seq", "ts", "type"]
        fields = json.loads(json.dumps(fields).replace("[redacted]", "sk-secret"))
        assert msgspec.convert(fields, events.SessionEvent) == event
    assert "sk-secret" not in stream.getvalue()


async def test_lines_leave_at_once(monkeypatch):
    reading, writing = os.pipe()
    to_ui, feed = trio.open_memory_channel(0)
    say, _ = trio.open_memory_channel(0)
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        monkeypatch.setattr(sys, "stdout", stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jsonl().run, feed, say)
            for event in EVENTS[:2]:
                await to_ui.send(event)
                line = await trio.to_thread.run_sync(reader.readline)
                assert json.loads(line)["type"] == event.__struct_config__.tag
            to_ui.close()


async def test_when_nobody_reads_it_leaves(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        said = await show(jsonl(), EVENTS)
    with trio.fail_after(1):
        assert [act async for act in said] == []
