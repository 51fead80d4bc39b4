"""Conversations as they really end up, made fit by `repair`, for every dialect to write down.

`requests(origin="anthropic", opaques=("sig",))` is a hypothesis strategy of Requests: random histories that were cut,
doubled, reordered and half written, or plain nonsense, then repaired as the loop does. What a dialect makes of one must
satisfy its vendor's own types (the vendor's SDK in the tests of that dialect).
"""

from __future__ import annotations

import random
from base64 import b64decode

from codetether.repair import repair
from codetether.words import (
    Image,
    Message,
    Request,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    ToolSchema,
)
from hypothesis import strategies as st

PNG = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
STRANGER = "another-vendor"
TOOLS = (
    ToolSchema(
        "read_file",
        "Read a file",
        {
            "type": "object",
            "properties": {"path": {"type": "string", "description": "Where"}},
            "required": ["path"],
            "additionalProperties": False,
        },
    ),
    ToolSchema(
        "bash",
        "Run a command",
        {
            "type": "object",
            "properties": {
                "command": {"type": "string"},
                "timeout": {"type": ["number", "null"], "default": None},
            },
            "required": ["command"],
            "additionalProperties": False,
        },
    ),
)
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}


def sound_history(rng, origin, opaques=("sig",)):
    """A conversation in which nothing went wrong: turns, steps with several calls, pictures, thoughts of two vendors."""
    messages, count = [], 0
    for turn in range(rng.randint(1, 4)):
        pictures = [Image("image/png", PNG)] * rng.choice([0, 0, 1])
        messages.append(Message("user", (Text(f"u{turn}"), *pictures), id=f"u{turn}"))
        for step in range(rng.randint(1, 3)):
            calls = []
            for _ in range(rng.randint(0, 3)):
                count += 1
                name = rng.choice(TOOLS).name
                calls.append(ToolCall(f"c{count}", name, '{"n":1}', rng.choice(["", f"v{count}"])))
            thoughts = [
                Thought("hm", rng.choice(opaques), rng.choice([origin, origin, STRANGER, ""]))
                for _ in range(rng.choice([0, 1, 1, 2]))
            ]
            said = (*thoughts, Text(f"a{turn}{step}"), *calls)
            messages.append(Message("assistant", said, id=f"a{turn}{step}"))
            if not calls:
                break
            messages.append(Message("tool", tuple(_result(rng, call) for call in calls)))
    return messages


def _result(rng, call):
    pictures = (Image("image/png", PNG),) * rng.choice([0, 0, 1, 2])
    return ToolResult(call.id, call.name, rng.choice(["out", ""]), rng.random() < 0.8, pictures)


def broken_history(rng, origin, opaques=("sig",)):
    """A sound history, then cut, dropped, doubled, moved, renamed and half written, up to six times."""
    messages = sound_history(rng, origin, opaques)
    for _ in range(rng.randint(0, 6)):
        if messages:
            _hurt(rng, messages, origin)
    return messages


def _hurt(rng, messages, origin):
    at = rng.randrange(len(messages))
    message = messages[at]
    parts = list(message.parts)
    match rng.randrange(12):
        case 0:
            del messages[at]
        case 1:
            del messages[at + 1 :]
        case 2:
            messages.insert(rng.randrange(len(messages) + 1), message)
        case 3:
            messages.append(messages.pop(at))
        case 4 if parts:
            parts.pop(rng.randrange(len(parts)))
            _replace(messages, at, parts)
        case 5:
            rng.shuffle(parts)
            _replace(messages, at, parts)
        case 6:
            _replace(messages, at, parts, interrupted=True)
        case 7:
            _replace(messages, at, [_hurt_part(rng, part) for part in parts])
        case 8:
            between = (Text(f"between{rng.random()}"), Image("image/png", PNG))
            messages.insert(at, Message("user", between))
        case 9:
            messages.insert(at, Message("assistant", ()))
        case 10:
            messages.insert(at, Message("assistant", (Thought("only", "sig", origin),)))
        case 11:
            late = ToolResult(rng.choice(["", "c1", "gone"]), "bash", "late")
            messages.insert(at, Message("tool", (late,)))


def _hurt_part(rng, part):
    if isinstance(part, ToolCall):
        arguments = rng.choice(
            ['{"n":1}', '{"n', "", "[]", "null", '{"a":1}{"b":2}', '{"a":"\\ud83d"}']
        )
        return ToolCall(rng.choice(["", "c1", "c2", part.id]), rng.choice(["bash", ""]), arguments)
    if isinstance(part, ToolResult):
        images = rng.choice([(), (Image("image/png", b""),), (Image("image/png", PNG),)])
        name = rng.choice(["", "c1", part.call_id])
        return ToolResult(name, "read_file", rng.choice(["", "out"]), images=images)
    if isinstance(part, Text):
        return Text(rng.choice([" \n", part.text, part.text]))
    return part


def _replace(messages, at, parts, **changes):
    old = messages[at]
    interrupted = changes.get("interrupted", old.interrupted)
    messages[at] = Message(old.role, tuple(parts), id=old.id, interrupted=interrupted)


def _nonsense(origin, opaques):
    """Messages of any parts in any order, some with another role's."""
    ids = st.sampled_from(["", "c1", "c1_2", "c2", "call:3/ü", "x" * 80])
    names = st.sampled_from(["bash", ""])
    images = st.builds(Image, st.just("image/png"), st.sampled_from([b"", PNG]))
    texts = st.builds(Text, st.sampled_from(["", " ", "hello", "x\n\ny", "ü\u2028\x00"]))
    calls = st.builds(ToolCall, ids, names, st.sampled_from(["{}", "{", "[1]", '{"a":1}']), ids)
    pictures = st.lists(images, max_size=2).map(tuple)
    answers = st.sampled_from(["", "out"])
    results = st.builds(ToolResult, ids, st.just("bash"), answers, st.booleans(), pictures)
    origins = st.sampled_from([origin, STRANGER, ""])
    thoughts = st.builds(
        Thought, st.sampled_from(["hm", ""]), st.sampled_from(["", *opaques]), origins
    )
    parts = st.lists(st.one_of(texts, images, calls, results, thoughts), max_size=4).map(tuple)
    roles = st.sampled_from(["user", "assistant", "tool"])
    return st.lists(st.builds(Message, roles, parts, interrupted=st.booleans()), max_size=8)


def histories(origin, opaques=("sig",)):
    """A strategy of unrepaired histories: broken ones and nonsense. `opaques` are what the vendor's thoughts may hold
    in Thought.opaque; thoughts of `origin`, of another vendor and of nobody occur.
    """
    seeds = st.integers(0, 2**32 - 1)
    broken = seeds.map(lambda seed: broken_history(random.Random(seed), origin, opaques))
    return st.one_of(broken, _nonsense(origin, opaques))


def repaired(messages):
    """What the loop would send; never empty, since a turn begins with what a user said."""
    fit, _ = repair(messages)
    return tuple(fit) or (Message("user", (Text("go"),)),)


@st.composite
def requests(draw, *, origin, opaques=("sig",), models=("model-1",)):
    """A strategy of whole Requests: repaired histories with and without system, tools, limits, schema."""
    tools = draw(st.sampled_from([(), TOOLS, TOOLS[:1]]))
    return Request(
        model=draw(st.sampled_from(models)),
        messages=repaired(draw(histories(origin, opaques))),
        system=draw(st.sampled_from(["", "Be brief."])),
        tools=tools,
        max_output=draw(st.sampled_from([None, 1, 4096, 10**7])),
        temperature=draw(st.sampled_from([None, 0.0, 0.7, 1.0])),
        schema=draw(st.sampled_from([None, None, SCHEMA])),
        cache_key=draw(st.sampled_from(["", "s1"])),
        tool_choice=draw(st.sampled_from(["auto", "none", "required"])) if tools else "auto",
    )
