"""Whatever a conversation went through, what is sent obeys the strictest reading of every vendor's rules."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from codetether.repair import GO_ON, NO_IMAGE, NO_OUTPUT, NO_RESULT, repair
from codetether.words import Image, Message, Text, Thought, ToolCall, ToolResult
from hypothesis import given, settings
from hypothesis import strategies as st


# --- strict validators, written from the vendors' documents and not from repair ---
def as_openai(messages):
    """Chat completions: flat messages."""
    out = []
    for message in messages:
        if message.role == "tool":
            out += [
                {"role": "tool", "id": r.call_id, "content": r.text or "image" * len(r.images)}
                for r in message.results
            ]
        else:
            calls = [(c.id, c.name, c.arguments) for c in message.calls]
            content = [p for p in message.parts if isinstance(p, Text | Image)]
            out.append({"role": message.role, "content": content, "calls": calls})
    return out


def openai_faults(messages):
    pending, seen, faults = [], set(), []
    before = None
    for entry in as_openai(messages):
        if entry["role"] == "tool":
            if not pending or pending[0] != entry["id"]:
                faults.append("a tool message must answer the next pending call")
            else:
                pending.pop(0)
            if not entry["content"]:
                faults.append("empty tool message")
        else:
            if pending:
                faults.append("calls must be followed by their tool messages")
                pending = []
            if entry["role"] == before:
                faults.append("user and assistant must take turns")
            if not entry["content"] and not entry["calls"]:
                faults.append("empty message")
            for name, function, arguments in entry["calls"]:
                if not name or name in seen:
                    faults.append("call id empty or not unique")
                if not function:
                    faults.append("function without a name")
                if not isinstance(loads(arguments), dict):
                    faults.append("arguments are no object")
                seen.add(name)
                pending.append(name)
        before = entry["role"]
    return faults + ["last calls have no results"] * bool(pending)


def as_anthropic(messages):
    """Messages: tool results are user content; neighbours of one role are one turn."""
    turns = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(message.parts)
        else:
            turns.append((role, list(message.parts)))
    return turns


def anthropic_faults(messages):
    faults, seen, wanted = [], set(), []
    turns = as_anthropic(messages)
    if turns and turns[0][0] != "user":
        faults.append("first must be user")
    if turns and turns[-1][0] != "user":
        faults.append("the last must not be assistant")
    for role, parts in turns:
        results = [p.call_id for p in parts if isinstance(p, ToolResult)]
        calls = [p.id for p in parts if isinstance(p, ToolCall)]
        if results != wanted:
            faults.append("tool_result blocks must match the tool_use blocks before")
        if any(isinstance(p, ToolResult) for p in parts[len(results) :]):
            faults.append("tool_result blocks must come first")
        if role == "user" and calls:
            faults.append("a user cannot call")
        if role == "assistant" and all(isinstance(p, Thought) for p in parts):
            faults.append("assistant says nothing")
        if isinstance(parts[-1], Thought):
            faults.append("the final block must not be a thought")
        if any(isinstance(p, Text) and not p.text.strip() for p in parts):
            faults.append("blank text")
        if any(isinstance(p, Image) and not p.data for p in parts):
            faults.append("empty image")
        if any(not i.data for p in parts if isinstance(p, ToolResult) for i in p.images):
            faults.append("empty image in a result")
        if len(set(calls)) != len(calls) or seen & set(calls) or "" in calls:
            faults.append("tool_use ids must be unique")
        seen |= set(calls)
        wanted = calls
    return faults + ["tool_use without result"] * bool(wanted)


def loads(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


MAY_HOLD = {
    "user": Text | Image,
    "assistant": Text | Thought | ToolCall,
    "tool": ToolResult,
}


def faults(messages):
    for message in messages:
        if not message.parts or not all(
            isinstance(p, MAY_HOLD[message.role]) for p in message.parts
        ):
            return ["message without content, or with another role's"]
    names = {c.id: c.name for m in messages for c in m.calls}
    if any(names.get(r.call_id) != r.name for m in messages for r in m.results):
        return ["a result under another function's name"]  # Google pairs by name
    return openai_faults(messages) + anthropic_faults(messages)


def user_words(messages):
    """Every user text and picture, counted."""
    parts = [p for m in messages if m.role == "user" for p in m.parts]
    texts = [
        line for p in parts if isinstance(p, Text) for line in p.text.split("\n\n") if line.strip()
    ]
    return Counter(texts + [p.data for p in parts if isinstance(p, Image) and p.data])


def check(history):
    sent, notes = repair(history)
    assert faults(sent) == []
    assert user_words(history) <= user_words(sent)
    again, more = repair(sent)
    assert again == sent
    assert more == []
    if not faults(history) and not any(m.interrupted for m in history):
        assert sent == list(history)
        assert notes == []
    return sent


# --- random histories, broken the ways real ones are ---
def history(rng):
    """A sound conversation, then hurt: cut, dropped, doubled, moved, renamed, half written."""
    messages, calls = [], 0
    for turn in range(rng.randint(1, 5)):
        messages.append(Message("user", (Text(f"u{turn}"),), id=f"u{turn}"))
        for step in range(rng.randint(0, 3)):
            asked = []
            for _ in range(rng.randint(0, 3)):
                calls += 1
                asked.append(ToolCall(f"c{calls}", "bash", '{"n":1}'))
            parts = [Thought("hm", "sig", "x")] * rng.randint(0, 1) + [Text(f"a{turn}{step}")]
            messages.append(Message("assistant", (*parts, *asked), id=f"a{turn}{step}"))
            if not asked:
                break
            messages.append(Message("tool", tuple(ToolResult(c.id, "bash", "out") for c in asked)))
    for _ in range(rng.randint(0, 6)):
        hurt(rng, messages)
    return messages


def hurt(rng, messages):
    if not messages:
        return
    at = rng.randrange(len(messages))
    message = messages[at]
    parts = list(message.parts)
    match rng.randrange(12):
        case 0:
            del messages[at]
        case 1:
            del messages[at:]
        case 2:
            messages.insert(rng.randrange(len(messages) + 1), message)
        case 3:
            messages.append(messages.pop(at))
        case 4 if parts:
            parts.pop(rng.randrange(len(parts)))
            replace(messages, at, parts)
        case 5:
            rng.shuffle(parts)
            replace(messages, at, parts)
        case 6:
            replace(messages, at, parts, interrupted=True)
        case 7:
            replace(messages, at, [hurt_part(rng, p) for p in parts])
        case 8:
            messages.insert(
                at, Message("user", (Text(f"between{rng.random()}"), Image("image/png", b"p")))
            )
        case 9:
            messages.insert(at, Message("assistant", ()))
        case 10:
            messages.insert(at, Message("assistant", (Thought("only"),)))
        case 11:
            messages.insert(
                at, Message("tool", (ToolResult(rng.choice(["", "c1", "gone"]), "x", "late"),))
            )


def hurt_part(rng, part):
    if isinstance(part, ToolCall):
        arguments = rng.choice(['{"n":1}', '{"n', "", "[]", "null", '{"a":1}{"b":2}'])
        return ToolCall(rng.choice(["", "c1", "c2", part.id]), rng.choice(["bash", ""]), arguments)
    if isinstance(part, ToolResult):
        images = rng.choice([(), (Image("image/png", b""),), (Image("image/png", b"p"),)])
        return ToolResult(
            rng.choice(["", "c1", part.call_id]), "y", rng.choice(["", "out"]), images=images
        )
    if isinstance(part, Text):
        return Text(rng.choice([" \n", part.text, part.text]))
    return part


def replace(messages, at, parts, **changes):
    old = messages[at]
    interrupted = changes.get("interrupted", old.interrupted)
    messages[at] = Message(old.role, tuple(parts), id=old.id, interrupted=interrupted)


def test_of_3000_broken_histories_none_is_refused_and_no_user_is_lost():
    rng = random.Random(20261125)
    broken = 0
    for _ in range(3000):
        messages = history(rng)
        broken += bool(faults(messages))
        check(messages)
    assert broken > 1500  # else this test hurts nothing


ids = st.sampled_from(["", "c1", "c1_2", "c2", "call_2"])
images = st.builds(Image, st.just("image/png"), st.sampled_from([b"", b"p"]))
texts = st.builds(Text, st.sampled_from(["", " ", "hello", "x\n\ny"]))
calls = st.builds(
    ToolCall, ids, st.sampled_from(["bash", ""]), st.sampled_from(["{}", "{", "[1]"]), ids
)
results = st.builds(
    ToolResult,
    ids,
    st.just("bash"),
    st.sampled_from(["", "out"]),
    st.booleans(),
    st.lists(images, max_size=2).map(tuple),
)
thoughts = st.builds(Thought, st.just("hm"), st.sampled_from(["", "sig"]))
parts = st.lists(st.one_of(texts, images, calls, results, thoughts), max_size=4).map(tuple)
anything = st.builds(
    Message, st.sampled_from(["user", "assistant", "tool"]), parts, interrupted=st.booleans()
)


@settings(max_examples=500, deadline=None)
@given(st.lists(anything, max_size=8))
def test_even_nonsense_is_made_fit(messages):
    check(messages)


# --- one by one ---
def said(text="a", *calls, **how):
    return Message("assistant", (Text(text), *calls), **how)


def call(name, arguments="{}"):
    return ToolCall(name, "bash", arguments)


def result(name, text="out", **how):
    return ToolResult(name, "bash", text, **how)


U = Message("user", (Text("go"),), id="u")


def test_a_sound_history_is_the_same_objects():
    history = [
        U,
        said("a", call("1"), call("2")),
        Message("tool", (result("1"), result("2"))),
        said("b"),
        Message("user", (Text("x"),)),
    ]
    sent, notes = repair(history)
    assert all(a is b for a, b in zip(sent, history, strict=True))
    assert notes == []


def test_nothing_is_nothing():
    assert repair([]) == ([], [])


def test_a_missing_result_is_said_to_be_interrupted():
    sent, notes = repair(
        [U, said("a", call("1"), call("2")), Message("tool", (result("2"),), id="t")]
    )
    assert sent[2].results == (result("1", NO_RESULT, ok=False), result("2"))
    assert sent[2].id == "t"
    assert len(notes) == 1


def test_calls_of_an_interrupted_answer_go_and_its_text_stays():
    sent, _ = repair([U, said("half", call("1"), interrupted=True), Message("user", (Text("on"),))])
    assert [m.text for m in sent] == ["go", "half", "on"]
    assert sent[1].calls == ()


def test_repair_does_not_leave_an_empty_turn_behind():
    cut = Message("assistant", (Thought("hm"), call("1")), interrupted=True)
    sent, _ = repair([U, cut, Message("tool", (result("1"),)), Message("user", (Text("on"),))])
    assert sent == [Message("user", (Text("go\n\non"),), id="u")]


def test_doubled_ids_get_their_own_results():
    sent, _ = repair(
        [
            U,
            said("a", call("1")),
            Message("tool", (result("1", "first"),)),
            said("b", call("1")),
            Message("tool", (result("1", "second"),)),
        ]
    )
    (first,), (second,) = sent[2].results, sent[4].results
    assert (first.text, second.text) == ("first", "second")
    assert sent[1].calls[0].id == first.call_id == "1"
    assert sent[3].calls[0].id == second.call_id == "1_2"


def test_a_new_name_is_none_that_a_later_call_has():
    sent, _ = repair([U, said("a", call("1"), call("1"), call("1_2"))])
    assert [c.id for c in sent[1].calls] == ["1", "1_3", "1_2"]


def test_late_and_disordered_results_go_back_to_their_calls():
    sent, _ = repair(
        [
            U,
            said("a", call("1"), call("2")),
            Message("user", (Text("stop"),)),
            Message("tool", (result("2", "two"),)),
            said("b", call("3")),
            Message("tool", (result("1", "one"), result("3", "three"))),
        ]
    )
    assert [[r.text for r in m.results] for m in sent if m.role == "tool"] == [
        ["one", "two"],
        ["three"],
    ]
    assert [m.role for m in sent] == ["user", "assistant", "tool", "user", "assistant", "tool"]


def test_a_result_from_before_its_call_is_not_its_result():
    sent, notes = repair([U, Message("tool", (result("1", "earlier"),)), said("a", call("1"))])
    assert sent[2].results[0].text == NO_RESULT
    assert len(notes) == 2


def test_nor_when_other_calls_come_between():
    sent, _ = repair(
        [
            U,
            Message("tool", (result("1", "earlier"),)),
            said("a", call("1")),
            said("b", call("2")),
            Message("tool", (result("2"),)),
        ]
    )
    assert [m.results[0].text for m in sent if m.role == "tool"] == [NO_RESULT, "out"]


def test_what_vendors_refuse_in_small():
    picture = Message("user", (Image("image/png", b""),))
    sent, _ = repair(
        [
            said("hello"),
            picture,
            said("a", call("1", '{"x":')),
            Message("tool", (result("1", ""),)),
            said("end"),
        ]
    )
    assert [m.role for m in sent] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert sent[2].text == NO_IMAGE
    assert sent[3].calls[0].arguments == "{}"
    assert sent[4].results[0].text == NO_OUTPUT
    assert sent[6].text == GO_ON


def test_joined_answers_begin_with_the_last_thought():
    first = Message("assistant", (Thought("1", "s1"), Text("a")))
    second = Message("assistant", (Thought("2", "s2"), Text("b"), call("1")), id="2")
    sent, _ = repair([U, first, second])
    assert sent[1] == Message("assistant", (Thought("2", "s2"), Text("a\n\nb"), call("1")), id="2")


@pytest.mark.parametrize("broken", [[said("a", call("1"))], [U, said("a", call("1"), call("1"))]])
def test_the_validators_see_faults(broken):
    assert openai_faults(broken)
    assert anthropic_faults(broken)
