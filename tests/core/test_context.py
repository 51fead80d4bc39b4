"""Shortening a conversation: what is told is what happened."""

from __future__ import annotations

import pytest
from codetether.api import Extension, hookimpl
from codetether.context import ContextTooLong
from codetether.events import Compacted, Notice
from codetether.testing import make_kernel


def compactor(shorter, told):
    class Shortens(Extension):
        api = 1

        @hookimpl
        async def codetether_observe(self, event, session):
            told.append(event)

        @hookimpl
        async def codetether_compact(self, messages, session, limit):
            return shorter(messages)

    return {"extensions:shortens": Shortens}


async def compacted(tmp_path, shorter, times=1):
    told = []
    async with make_kernel(
        tmp_path, replies=["one", "two"], plugins=(), extra=compactor(shorter, told)
    ) as kernel:
        async with kernel.open_session(directory=tmp_path / "work") as session:
            await session.prompt("word " * 3000)
            await session.prompt("more")
            before = list(session.context)
            for _ in range(times):
                await session.compact()
            return told, before, list(session.context)


async def test_nothing_is_told_to_be_shorter_that_is_not(tmp_path):
    told, before, after = await compacted(tmp_path, lambda messages: messages, times=3)
    assert not [event for event in told if isinstance(event, Compacted)]
    assert [e.text for e in told if isinstance(e, Notice)] == [
        "the conversation is as short as it can be made"
    ] * 3
    assert after == before


async def test_what_became_shorter_is_told_in_one_measure(tmp_path):
    """The scripted model counts otherwise than the estimate: the second number is still the smaller one."""
    told, before, after = await compacted(tmp_path, lambda messages: messages[-2:])
    [event] = [event for event in told if isinstance(event, Compacted)]
    assert 0 < event.after < event.before
    assert [m.id for m in after] == [m.id for m in before[-2:]]


async def test_nobody_who_can_shorten_is_an_error(tmp_path):
    with pytest.raises(ContextTooLong):
        await compacted(tmp_path, lambda messages: None)
