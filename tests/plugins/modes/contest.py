"""Two processes that want to work on the same thing: one does, the other says why it does not."""

from __future__ import annotations

import subprocess

import trio


async def of_two(words, folder):
    """Two processes of `words`, which say that they are ready and wait for `start`: the one that goes on, and what the one
    says that does not.
    """
    both = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for each in both:
        while "ready" not in each.stderr.readline():
            assert each.poll() is None
    (folder / "start").touch()
    with trio.fail_after(60):
        while not (ended := [each for each in both if each.poll() is not None]):
            await trio.sleep(0.05)
    [refused] = ended
    out, why = refused.communicate()
    assert (refused.returncode, out) == (1, "")
    [one] = [each for each in both if each is not refused]
    return one, why


async def goes_on(process, folder):
    """What a process says that waited for `go`, to its end."""
    (folder / "go").touch()
    out, _ = await trio.to_thread.run_sync(lambda: process.communicate(timeout=60))
    return out
