"""Opening a session of 10,000 messages, with the plain decode of the same bytes beside it."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec

COUNT = 10_000


def filled(root: Path, directory: Path) -> str:
    """Write a session of `COUNT` messages into the folder of sessions `root`; its id."""
    from codetether.records import SessionHeader
    from codetether.transcript import Transcript
    from codetether.words import Message, Text, ToolCall, ToolResult

    transcript = Transcript.create(root, SessionHeader(directory=str(directory)))
    for index in range(COUNT // 4):
        call = ToolCall(f"call_{index}", "read_file", '{"path": "src/module.py"}')
        for message in (
            Message("user", (Text(f"question {index} " + "word " * 40),)),
            Message("assistant", (Text("I look at it. " * 10), call)),
            Message("tool", (ToolResult(call.id, "read_file", "line of code\n" * 400),)),
            Message("assistant", (Text("An answer in words. " * 60 + f"\n\nAnswer#{index}."),)),
        ):
            transcript.append_message(message)
    transcript.close()
    return transcript.id


def measure() -> list[tuple[str, str, str, bool]]:
    from codetether.transcript import Transcript

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        session = filled(root, root)
        opens, floors = [], []
        for _ in range(7):
            start = time.perf_counter()
            opened, loaded = Transcript.open(root, session)
            opens.append(time.perf_counter() - start)
            assert len(loaded.messages) == COUNT
            raw = opened.path.read_bytes()
            opened.close()
            start = time.perf_counter()
            msgspec.json.Decoder().decode_lines(raw)
            floors.append(time.perf_counter() - start)
    wall, floor = statistics.median(opens) * 1000, statistics.median(floors) * 1000
    told = f"{wall:.0f} ms for {len(raw) / 1e6:.0f} MB (untyped decode of the same bytes {floor:.0f} ms)"
    return [("resume of a 10,000-message session", "<= 100 ms", told, wall <= 100)]


if __name__ == "__main__":
    sys.exit(print(measure()))
