"""Nothing is lost between the agent and its interfaces, and a slow one cannot stop the agent."""

import pytest
import trio
import trio.testing
from codetether.events import Notice, TextDelta, ThoughtDelta, ToolProgress
from codetether.feed import PATIENCE, Feed
from hypothesis import given, settings
from hypothesis import strategies as st


def joined(events):
    """Neighbouring deltas of one kind put together: what a reader of the stream would see."""
    out = []
    for event in events:
        key = (type(event), getattr(event, "call_id", ""))
        if not isinstance(event, Notice) and out and out[-1][0] == key:
            out[-1] = (key, out[-1][1] + event.text)
        else:
            out.append((key, event.text))
    return out


events = st.one_of(
    st.builds(TextDelta, st.text(max_size=3)),
    st.builds(ThoughtDelta, st.text(max_size=3)),
    st.builds(ToolProgress, st.sampled_from("ab"), st.text(max_size=3)),
    st.builds(lambda t: Notice("info", t), st.text(max_size=3)),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(events, max_size=60), st.integers(1, 8))
def test_every_listener_gets_everything_in_order(sent, room):
    async def work():
        feed, got = Feed(), []

        async def listen(task_status):
            with feed.listen(room) as listener:
                task_status.started()
                async for event in listener:
                    got.append(event)

        async with trio.open_nursery() as nursery:
            await nursery.start(listen)
            for event in sent:
                await feed.publish(event)
            feed.close()
        assert joined(got) == joined(sent)

    trio.run(work)


async def test_fifty_thousand_deltas_to_a_reader_that_sleeps():
    feed = Feed()
    with feed.listen(4) as listener:
        for index in range(50_000):
            await feed.publish(TextDelta(f"{index},"))
        feed.close()
        got = [event async for event in listener]
    assert "".join(event.text for event in got) == "".join(f"{i}," for i in range(50_000))
    assert len(got) == 1


async def test_a_listener_that_makes_no_room_is_dropped_and_the_others_go_on(autojump_clock):
    feed = Feed()
    with feed.listen(1) as stuck, feed.listen(100) as good:
        for index in range(5):
            await feed.publish(Notice("info", str(index)))
        assert trio.current_time() == pytest.approx(PATIENCE)
        assert stuck.dropped
        assert [(await good.receive()).text for _ in range(5)] == list("01234")
        assert (await stuck.receive()).text == "0"
        with pytest.raises(trio.EndOfChannel):
            await stuck.receive()


async def test_listening_after_the_end_ends_at_once():
    feed = Feed()
    feed.close()
    with feed.listen() as listener:
        assert [event async for event in listener] == []
