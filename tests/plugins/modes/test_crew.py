"""What runs with many agents have in common: a journal that can be believed."""

import json
import math
import os
import resource
from collections import Counter

import msgspec
import pytest
import trio
import trio.testing
from codetether.api import CodetetherError, StepStarted
from codetether_crew import Journal, Watch, records
from codetether_crew.carrying import _json
from codetether_crew.journal import AT_ONCE


class Said(msgspec.Struct, tag="said"):
    text: str


async def test_a_record_that_found_no_room_is_told_and_spoils_no_other(tmp_path):
    journal = Journal(tmp_path)
    await journal.write(Said("one"))
    room = (tmp_path / "journal.jsonl").stat().st_size + 10
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(CodetetherError, match="journal cannot be written: File too large"):
            await journal.write(Said("two"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    await journal.write(Said("three"))
    journal.close()
    assert [each.text for each in records(tmp_path, Said)] == ["one", "three"]


async def test_records_that_come_together_go_to_the_disk_together(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync

    def counting(fd):
        synced.append(1)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", counting)
    journal, seen = Journal(tmp_path), []

    async def write(number):
        await journal.write(Said(f"{number}"))
        seen.append([each.text for each in records(tmp_path, Said)].index(f"{number}"))

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(write, number)
    journal.close()
    assert sorted(seen) == list(range(100))  # each was there when its writer went on
    assert len(synced) <= 3


async def test_who_waits_for_the_disk_goes_on_with_others_and_not_all_in_one_go(tmp_path):
    """Not one after the other, as from one lock to the next, and not a thousand before anything else is looked at."""
    journal, ended = Journal(tmp_path), []

    class Steps(trio.abc.Instrument):
        count = passes = 0

        def before_task_step(self, task):
            self.count += 1

        def after_io_wait(self, timeout):
            self.passes += 1

    async def write(number):
        await journal.write(Said(f"{number}"))
        ended.append(steps.passes)

    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(write, number)
    trio.lowlevel.remove_instrument(steps)
    journal.close()
    assert len(ended) == 100
    assert max(Counter(ended).values()) <= AT_ONCE + 1  # and who wrote for all
    assert len(set(ended)) <= 100 / AT_ONCE + 4
    assert steps.count <= 2 * 100 + 20  # each begins, and goes on; what a thread takes comes on top


async def test_records_given_together_are_there_together(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    journal = Journal(tmp_path)
    await journal.write(Said("one"), Said("two"))
    journal.close()
    assert [each.text for each in records(tmp_path, Said)] == ["one", "two"]
    assert len(synced) == 1


async def test_who_is_cancelled_waits_for_the_disk(tmp_path):
    journal = Journal(tmp_path)
    for one_more in (False, True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.write, Said("first"))
            if one_more:
                nursery.start_soon(journal.write, Said("second"))
            await trio.testing.wait_all_tasks_blocked(0)
            nursery.cancel_scope.cancel()
    journal.close()
    assert sorted(each.text for each in records(tmp_path, Said)) == ["first", "first", "second"]


async def test_records_that_found_no_room_together_are_all_told(tmp_path):
    journal, told = Journal(tmp_path / "file"), []
    (tmp_path / "file").write_text("")

    async def write(number):
        try:
            await journal.write(Said(f"{number}"))
        except CodetetherError as error:
            told.append(error.message)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(write, number)
    assert len(told) == 10


async def test_a_journal_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CodetetherError, match="journal cannot be written: Not a directory"):
        await Journal(tmp_path / "file" / "run").write(Said("one"))


@pytest.mark.parametrize(
    "data",
    [
        {
            "a": [],
            "b": {},
            "c": [1, {"x": None, "y": [True, 1.5, 0.0, -3, '\u00e9\u2028\n\t\x01"\\/']}],
        },
        {"half": "\ud800", "large": 2**70},
    ],
)
def test_an_object_is_told_as_the_standard_library_writes_it(data):
    assert _json(data) == json.dumps(data, indent=2, ensure_ascii=False)


@pytest.mark.parametrize("every", [0.01, 0.7, 9.0])
async def test_what_makes_progress_goes_on_and_what_makes_none_is_ended_in_time(
    autojump_clock, every
):
    with trio.CancelScope() as scope:
        watch = Watch(scope, 10)
        for _ in range(20):
            await trio.sleep(every)
            watch.see(StepStarted(1, "a/b"))
        last = trio.current_time()
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert last + 10 <= trio.current_time() <= last + 10.6


async def test_the_timer_is_not_set_with_every_event():
    class Scope:
        sets = 0

        def __setattr__(self, name, value):
            type(self).sets += name == "deadline"

    watch = Watch(Scope(), 10)
    for _ in range(100):
        watch.see(StepStarted(1, "a/b"))
    assert Scope.sets == 1


async def test_without_a_limit_no_timer_is_set(autojump_clock):
    with trio.CancelScope() as scope:
        Watch(scope, 0).see(StepStarted(1, "a/b"))
    assert scope.deadline == math.inf
