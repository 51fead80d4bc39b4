"""The output budget: what a tool says is bounded before it enters the conversation.

Head and tail are kept, the middle goes to a side file of the session that the model can page with read_file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from codetether.files import write_atomic
from codetether.ports import ToolOutput

if TYPE_CHECKING:
    from codetether.session import Session

BUDGET = 64 * 1024
HEAD = 40 * 1024
TAIL = 20 * 1024
PIECE = 4 * 1024 * 1024


async def bound(output: ToolOutput, session: Session, call_id: str) -> ToolOutput:
    """`output` with a text of at most 64 KiB (UTF-8) of valid Unicode."""
    data = output.text.encode("utf-8", "replace")
    if len(data) <= BUDGET:
        text = data.decode()
        return output if text == output.text else msgspec.structs.replace(output, text=text)
    path = session.files / f"{call_id}.txt"
    await trio.to_thread.run_sync(_store, path, session.redact(data.decode()).encode())
    head = data[:HEAD].decode("utf-8", "ignore")
    tail = data[-TAIL:].decode("utf-8", "ignore")
    head, tail = head[: head.rfind("\n") + 1] or head, tail[tail.find("\n") + 1 :] or tail
    left_out = len(data) - len(head.encode()) - len(tail.encode())
    note = f"\n[{left_out} of {len(data)} bytes left out; all of it: read_file {path}]\n"
    meta = dict(output.meta) | {"spilled": str(path), "bytes": len(data)}
    return msgspec.structs.replace(output, text=head + note + tail, meta=meta)


def _store(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(path, data, 0o600)


def redact_file(path: Path, redact: Callable[[str], str]) -> None:
    """Rewrite a spilled file without secrets. Read some megabytes of whole lines at a time; left alone if clean."""
    if any(changed for _, changed in _redacted(path, redact)):
        write_atomic(path, b"".join(piece for piece, _ in _redacted(path, redact)), 0o600)


def _redacted(path: Path, redact: Callable[[str], str]) -> Iterator[tuple[bytes, bool]]:
    with path.open("rb") as source:
        while lines := source.readlines(PIECE):
            before = b"".join(lines).decode("utf-8", "surrogateescape")
            after = redact(before)
            yield after.encode("utf-8", "surrogateescape"), after != before
