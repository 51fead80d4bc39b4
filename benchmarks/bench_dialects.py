"""From the socket to an interface's event: the first words of an answer in every dialect, against a bare socket.

The server, a process of its own, writes the time into the words just before it sends them; the clock is the machine's.
The floor is a bare trio socket that reads the same bytes, in turns with ours.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import trio
from loopback import process

TESTS = Path(__file__).parents[1] / "tests"
PATHS = [str(TESTS / folder) for folder in ("faults", "plugins/providers", "flow")]
ROUNDS = 40
DIGITS = 19
SERVER = f"""
import sys, time
sys.path[:0] = {PATHS!r}
import trio
from contextlib import AsyncExitStack
from codetether.testing import ByteServer, Pause
from dialects import DIALECTS

MARK = "1" * {DIGITS}

def script(dialect):
    events = dialect.events(MARK * 2)
    first = next(n for n, event in enumerate(events) if MARK.encode() in event)
    converse = dialect.provider == "bedrock"

    def steps(request):
        yield b"".join([dialect.head(), *events[:first]])
        yield Pause(0.01)
        stamp = f"{{time.monotonic_ns():0{DIGITS}}}"
        if converse:  # with a checksum
            from bedrock_judge import event
            yield event("contentBlockDelta", {{"delta": {{"text": stamp}}, "contentBlockIndex": 0}})
        else:
            yield events[first].replace(MARK.encode(), stamp.encode())
        yield Pause(0.005)
        yield b"".join(events[first + 1 :])

    return steps

async def main():
    async with AsyncExitStack() as stack:
        for name in sorted(DIALECTS):
            server = await stack.enter_async_context(ByteServer(script(DIALECTS[name])))
            print(name, server.url, flush=True)
        print(flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)

trio.run(main)
"""


async def _bare(url: str) -> float:
    """Nanoseconds from the stamp to its bytes in hand."""
    port = int(url.rpartition(":")[2])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        data = b""
        while more := await stream.receive_some(65536):
            now = time.monotonic_ns()
            data += more
            if stamp := _stamp(data):
                return now - stamp
    raise AssertionError("no stamp came")


def _stamp(data: bytes) -> int:
    found = re.search(rb"(?<!\d)0\d{18}", data)
    return int(found[0]) if found else 0


async def _ours(session: object) -> float:
    from codetether.events import TextDelta

    took: list[float] = []
    async with trio.open_nursery() as nursery:

        async def listen(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            with session.feed.listen() as feed:
                task_status.started()
                async for event in feed:
                    if isinstance(event, TextDelta):
                        took.append(time.monotonic_ns() - int(event.text[:DIGITS]))
                        return

        await nursery.start(listen)
        finished = await session.prompt("count")
        assert finished.reason == "done", finished
    return took[0]


async def _measured(urls: dict[str, str]) -> dict[str, tuple[float, float]]:
    from dialects import DIALECTS
    from stand import kernel_at

    found = {}
    for name, url in urls.items():
        dialect, floor, ours = DIALECTS[name], [], []
        with tempfile.TemporaryDirectory() as folder:
            async with (
                kernel_at(Path(folder), {dialect.provider: url}, tools=()) as kernel,
                kernel.open_session(directory=Path(folder) / "work", model=dialect.ref) as session,
            ):
                await _ours(session)  # what loads with the first call
                for _ in range(ROUNDS):
                    floor.append(await _bare(url))
                    ours.append(await _ours(session))
        found[name] = (statistics.median(floor) / 1e6, statistics.median(ours) / 1e6)
    return found


def measure() -> list[tuple[str, str, str, bool]]:
    sys.path[:0] = PATHS
    with process(SERVER) as said:
        urls = dict(line.split() for line in iter(said.readline, "\n"))
        found = trio.run(_measured, urls)
    beyond = {name: ours - floor for name, (floor, ours) in found.items()}
    told = ", ".join(f"{name} {extra:.2f}" for name, extra in beyond.items())
    low = statistics.median(floor for floor, _ in found.values())
    return [
        (
            "first delta, socket to UI event, beyond a bare socket",
            "<= 2 ms in every dialect",
            f"{told} ms (bare socket {low:.2f} ms)",
            max(beyond.values()) <= 2,
        )
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))
