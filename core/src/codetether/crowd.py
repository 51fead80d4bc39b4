"""How many processes and threads a command may have at one time, so that one that forks without end harms nobody else.

Two guards, because neither holds everywhere. The system's own limit (RLIMIT_NPROC, setrlimit(2)) cannot be outrun, but the
kernel does not hold root to it. It counts all that a user runs, so it is what the machine runs now and `most` above that.
The watch asks many times a second how much the whole machine has grown, which costs nothing, and whose it is only when
that is too much, and once a second. It holds for everybody, but a command can grow past it for the moment it takes to
look. Both are for Linux; elsewhere there is no limit.
"""

from __future__ import annotations

import contextlib
import itertools

import trio

from codetether import leftovers

MOST = 2000
LOOK_SECONDS = 0.05
COUNT_EVERY = 20  # looks: others may shrink while this one grows


def tasks() -> int:
    """Processes and threads of the whole machine; 0 where that cannot be told."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[3].partition(b"/")[2])
    except (OSError, ValueError, IndexError):
        return 0


def limit(pid: int, most: int) -> None:
    """Let the user of `pid` have at most `most` more processes and threads than run now, as far as it goes."""
    running = tasks()
    if not running:
        return
    import resource

    with contextlib.suppress(OSError, ValueError, AttributeError):  # gone already; not Linux
        _, hard = resource.prlimit(pid, resource.RLIMIT_NPROC)
        wanted = running + most if hard == resource.RLIM_INFINITY else min(running + most, hard)
        resource.prlimit(pid, resource.RLIMIT_NPROC, (wanted, wanted))


async def outgrown(leader: int, most: int) -> None:
    """Wait until the command of `leader` has more than `most` processes and threads."""
    before = tasks()
    if not before:
        await trio.sleep_forever()
    for look in itertools.count(1):
        await trio.sleep(LOOK_SECONDS)
        now = tasks()
        before = min(before, now)
        if now - before > most or look % COUNT_EVERY == 0:
            own = await trio.to_thread.run_sync(leftovers.size, leader, most)
            if own > most:
                return
            before = now - own
