"""Lines from bytes in any pieces, and calls in lanes, whatever they are and whenever they are cancelled."""

import itertools

import trio
import trio.testing
from codetether_mode_mcp.lanes import Lanes
from codetether_mode_mcp.stdio import Lines
from hypothesis import given, settings
from hypothesis import strategies as st

PIECES = st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"ab\ncd", b"\n\n", b"x" * 30]))


@given(PIECES)
def test_lines_are_the_same_in_whatever_pieces_they_come(pieces):
    lines = Lines(longest=20)
    found = [line for piece in pieces for line in lines.take(piece)] + lines.rest()
    whole = b"".join(pieces).split(b"\n")
    if not whole[-1]:
        del whole[-1]
    assert found == [None if len(line) > 20 else line for line in whole]


def test_a_long_line_is_not_kept_while_it_comes():
    lines = Lines(longest=1000)
    for _ in range(1000):
        assert lines.take(b"x" * 1000) == []
    assert sum(map(len, lines._begun)) <= 1000
    assert lines.take(b"\nnext\n") == [None, b"next"]


CALLS = st.lists(
    st.tuples(st.booleans(), st.floats(0, 3), st.floats(0.01, 2), st.none() | st.floats(0, 2)),
    max_size=12,
)


@settings(max_examples=50)
@given(CALLS)
def test_one_that_acts_is_alone_and_the_others_are_few_and_in_order(calls):
    """Each call: whether it acts, when it comes, how long it takes, when it is cancelled (None: never)."""
    width = 3
    running, begun, came = [], [], []

    async def call(number, lanes, alone, comes, takes, patience):
        await trio.sleep(comes)
        came.append(number)
        with trio.move_on_after(float("inf") if patience is None else patience):
            async with lanes.lane(alone=alone):
                begun.append(number)
                running.append(alone)
                assert len(running) == 1 if True in running else len(running) <= width
                try:
                    await trio.sleep(takes)
                finally:
                    running.remove(alone)

    async def all_of_them():
        lanes = Lanes(width)
        async with trio.open_nursery() as nursery:
            for number, (alone, *times) in enumerate(calls):
                nursery.start_soon(call, number, lanes, alone, *times)
        with trio.fail_after(1):  # nothing is left held
            async with lanes.lane(alone=True):
                pass

    trio.run(all_of_them, clock=trio.testing.MockClock(autojump_threshold=0))
    order = {number: place for place, number in enumerate(came)}
    for earlier, later in itertools.combinations(begun, 2):
        if calls[earlier][0] or calls[later][0]:
            assert order[earlier] < order[later]
    assert {number for number, each in enumerate(calls) if each[3] is None} <= set(begun)
