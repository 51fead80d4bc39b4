"""The models that benchmarks ask: each a process of its own on loopback, so that its work is not counted as ours."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from measuring import PYTHON

# After a script that says `answer(body) -> (events, seconds to wait)`: connections are kept, lengths are known.
KEPT = """
import sys, trio
from functools import partial

HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\ncontent-length: %d\\r\\n\\r\\n"

async def serve(stream):
    data = bytearray()
    try:
        while True:
            while (end := data.find(b"\\r\\n\\r\\n")) < 0:
                more = await stream.receive_some(1 << 18)
                if not more:
                    return
                data += more
            head = bytes(data[:end])
            del data[:end + 4]
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\\r\\n")[0] or 0)
            while len(data) < length:
                data += await stream.receive_some(1 << 18)
            body, seconds = answer(bytes(data[:length])) if length else (b"{}", 0)
            del data[:length]
            await trio.sleep(seconds)
            await stream.send_all(HEAD % len(body) + body)
    except trio.BrokenResourceError:
        pass

async def main():
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1", backlog=2000))
        print(f"http://127.0.0.1:{listener.socket.getsockname()[1]}", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()

trio.run(main)
"""


@contextmanager
def process(script: str, *words: str) -> Iterator[TextIO]:
    """What the process that runs `script` prints. It is ended afterwards."""
    child = subprocess.Popen(
        [PYTHON, "-c", script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child.stdout
    finally:
        child.terminate()
        child.wait()


@contextmanager
def model(script: str, *words: str) -> Iterator[str]:
    """The address that the process prints first."""
    with process(script, *words) as said:
        yield said.readline().strip()
