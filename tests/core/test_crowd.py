"""A command that forks without end is ended before it has the machine; the forks here are many, and end by themselves."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest
from codetether import crowd, leftovers
from codetether.api import clean_env, run_process
from codetether.testing import call, make_kernel, processes_with, reply

# doubles nine times, then waits: what `f(){ f|f& }` does without an end
BOMB = 'f() { [ "$1" = 0 ] && exec sleep 300; f $(($1-1)) | f $(($1-1)) & }; f 9'


async def run(command, most=60, **more):
    return await run_process(
        ["bash", "-c", command], cwd="/", env=clean_env(more), timeout=60, processes=most
    )


def left(marker):
    """Processes of a run; what is killed may take a moment to be gone."""
    until = time.monotonic() + 30
    while (found := processes_with(marker)) and time.monotonic() < until:
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("end", ["; wait; sleep 300", "; sleep 300", ""])
async def test_what_forks_without_end_is_ended_with_all_of_it(end):
    """Also when the command itself is over at once, and only its offspring goes on."""
    marker = f"bomb-{os.getpid()}-{len(end)}"
    done = await run(BOMB + end + " >/dev/null 2>&1", LC_BOMB=marker)
    assert done.outgrown or not end
    assert not done.timed_out
    assert left(f"LC_BOMB={marker}") == {}


async def test_a_command_of_many_processes_within_the_limit():
    done = await run("for i in $(seq 30); do sleep 1.5 & done; wait; echo done", most=200)
    assert (done.output, done.outgrown) == ("done\n", False)


async def test_threads_count_too():
    threads = "import threading as t, time; [t.Thread(target=time.sleep, args=(300,)).start() for _ in range(200)]"
    done = await run(f"exec python3 -c '{threads}'")
    assert done.outgrown


async def test_others_that_grow_are_no_reason():
    """The machine has more processes, and this command has not."""
    ready = threading.Event()
    others = [threading.Thread(target=ready.wait) for _ in range(120)]
    for other in others:
        other.start()
    try:
        done = await run("sleep 2; echo done", most=60)
    finally:
        ready.set()
        for other in others:
            other.join()
    assert (done.output, done.outgrown) == ("done\n", False)


async def test_the_systems_own_limit_is_set():
    """It is set when the command runs already; so this one looks until it is."""
    most = crowd.tasks() + 5000 + 3000  # others come and go
    script = """
    read_limit() { while read -r what name soft hard rest; do
      [ "$what $name" = "Max processes" ] && echo "$soft" "$hard"; done </proc/$$/limits; }
    for try in $(seq 600); do
      set -- $(read_limit); [ "$1" != unlimited ] && [ "$1" -lt MOST ] && break; sleep 0.05
    done; echo "$1 $2"
    """
    done = await run(script.replace("MOST", str(most)), 5000)
    soft, hard = done.output.split()
    assert soft == hard
    assert int(soft) < most


def test_counting_ends_when_it_is_enough():
    assert 1 <= leftovers.size(os.getpid(), 10_000) < 10_000
    assert leftovers.size(0, 10) >= 0
    assert leftovers.size(2**22 + 1, 10) <= leftovers.size(os.getpid(), 10_000)


@pytest.mark.parametrize("sandbox", ["auto", "none"])
async def test_through_a_turn(tmp_path_factory, sandbox):
    """With the sandbox that is chosen here, and with none; not below /tmp, where a sandbox has its own."""
    place = tmp_path_factory.mktemp("place")
    replies = [reply(call("bash", command=f"{BOMB}; sleep 300")), "done"]
    settings = {"sandbox": sandbox, "processes": 60}
    plugins = ["sandboxes", "tools:bash"]
    async with (
        make_kernel(place, replies=replies, plugins=plugins, settings=settings) as kernel,
        kernel.open_session(directory=place / "work", access="full") as session,
    ):
        await session.prompt("go")
        [result] = [each for message in session.messages for each in message.results]
    assert "too many processes at one time" in result.text
    assert not result.ok


def test_what_the_tests_need_is_here():
    assert shutil.which("bash")
    assert shutil.which("python3")
