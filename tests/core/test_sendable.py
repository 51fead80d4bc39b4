"""A conversation that grows is sent exactly as if it were made fit from its beginning every time, at less cost."""

from __future__ import annotations

import random

import pytest
from codetether import sendable
from codetether.context import Size, estimate
from codetether.repair import repair
from codetether.sendable import Sendable
from codetether.words import Message, Text, Thought, ToolCall, ToolResult
from hypothesis import given, settings
from hypothesis import strategies as st

from .test_repair import anything, history, hurt


@pytest.fixture
def whole(monkeypatch):
    """How long the histories were that were repaired as a whole."""
    lengths = []

    def counted(messages):
        lengths.append(len(messages))
        return repair(messages)

    monkeypatch.setattr(sendable, "repair", counted)
    return lengths


def grow(messages, cuts):
    one = Sendable()
    for end in [*cuts, len(messages)]:
        given = messages[:end]
        assert one.of(given) == repair(given)[0], given


def test_3000_conversations_that_grow_step_by_step(whole):
    rng = random.Random(20261125)
    steps = 0
    for _ in range(3000):
        messages = history(rng)
        cuts = sorted(rng.sample(range(len(messages) + 1), rng.randint(0, len(messages))))
        steps += len(cuts) + 1
        grow(messages, cuts)
    assert steps * 0.2 < len(whole) < steps * 0.95  # both ways are taken


@settings(max_examples=500, deadline=None)
@given(st.lists(anything, max_size=8))
def test_even_nonsense_grows(messages):
    grow(messages, range(len(messages)))


def test_sound_ends_behind_broken_beginnings():
    rng = random.Random(5)
    for _ in range(1000):
        messages = history(rng)
        before = len(messages)
        messages += _turn(rng, rng.choice(["c1", "new", "c1_2", "call_2"]))
        grow(messages, range(before, len(messages)))


def _turn(rng, name):
    call = ToolCall(name, "bash", "{}")
    asked = Message("user", (Text("go"),))
    return [
        *rng.choice([(), (asked,)]),
        Message("assistant", (Text("so"), call)),
        Message("tool", (ToolResult(name, "bash", "out"),)),
    ]


def test_only_the_new_messages_are_looked_at(whole):
    one = Sendable()
    messages = [Message("user", (Text("go"),))]
    one.of(messages)
    for step in range(50):
        messages += [
            Message("assistant", (Thought("hm"), ToolCall(f"c{step}", "bash", "{}"))),
            Message("tool", (ToolResult(f"c{step}", "bash", "out"),)),
        ]
        assert one.of(list(messages)) == messages
    assert whole == [1]


def test_a_conversation_that_was_changed_is_repaired_from_its_beginning(whole):
    one = Sendable()
    first = [Message("user", (Text("go"),)), *_turn(random.Random(1), "a")[-2:]]
    one.of(first)
    changed = [Message("user", (Text("go on"),)), *first[1:]]
    assert one.of(changed) == changed
    assert one.of(first[:1]) == first[:1]
    assert whole == [3, 3, 1]


def test_what_was_given_stays_as_it_was():
    one = Sendable()
    given = one.of([Message("user", (Text("go"),))])
    given.append(Message("user", (Text("mine"),)))
    assert len(one.of([Message("user", (Text("go"),))])) == 1


def test_a_size_is_the_estimate_of_the_whole():
    rng = random.Random(3)
    size, messages = Size(), []
    for _ in range(200):
        messages += history(rng)[:3]
        if rng.random() < 0.1:
            del messages[rng.randrange(len(messages) + 1) :]
        if rng.random() < 0.1:
            messages = list(messages)
            hurt(rng, messages)
        assert size.estimate(messages) == estimate(messages)
