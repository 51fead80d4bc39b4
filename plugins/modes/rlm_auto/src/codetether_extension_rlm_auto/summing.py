"""Deciding that something is too large, having it summarised, and saying so."""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import trio
from codetether.api import CodetetherError, Notice, PluginError, one_line, write_atomic
from codetether_crew import filled

if TYPE_CHECKING:
    from codetether.api import Session, ToolCall, ToolResult

    from codetether_extension_rlm_auto import RlmAuto, Settings

PER_TOKEN = 4
ENDS = 2_000  # characters of both ends that stay beside a summary
ASKED = 1_000
OWN = frozenset(
    {"rlm", "swarm", "ralph", "task", "batch", "skill", "question"}
)  # short by their nature, or a summary


async def summed_result(
    plugin: RlmAuto, call: ToolCall, result: ToolResult, session: Session
) -> ToolResult | None:
    """`result` with a summary; None when it fits, or there can be none."""
    settings: Settings = plugin.settings
    if result.name in OWN or not any(fnmatchcase(result.name, each) for each in settings.tools):
        return None
    size = _size(result)
    if not (why := too_large(settings, size, session)):
        return None
    path = await _kept(call, result, session)
    if path is None:
        return None
    given = {
        "what": f"output of the tool {result.name}",
        "about": f"The tool was called with {one_line(session.redact(call.arguments), 500)}.",
    }
    try:
        file = session.workspace.open(str(path))
    except CodetetherError:
        return None
    with file:
        data = await summary(plugin, session, file, size, given)
    if data is None:
        return None
    text = f"{said(data, f'result of {result.name}', size, why, str(path))}\n\n{_ends(result.text)}"
    meta = dict(result.meta) | {"spilled": str(path), "bytes": size, "rlm": data["stats"]}
    return msgspec.structs.replace(result, text=text, meta=meta)


def too_large(settings: Settings, size: int, session: Session) -> str:
    """Why `size` bytes are too many for the session's window, "" when they are not."""
    window = session.model.context
    if window is None or size < settings.least_bytes:
        return ""
    tokens, used = -(-size // PER_TOKEN), session.context_tokens()
    if tokens > window * settings.threshold:
        return f"about {tokens:,} tokens are too many for the model's window of {window:,}"
    if used + tokens > window * settings.full:
        return f"with {used:,} tokens in use, about {tokens:,} more are too many for the window of {window:,}"
    return ""


async def summary(
    plugin: RlmAuto, session: Session, file: BinaryIO, size: int, given: dict[str, str]
) -> dict[str, Any] | None:
    """What rlm says about an open file; None, and a notice, when it says nothing."""
    from codetether_rlm.sources import Source

    settings: Settings = plugin.settings
    query = _query(session, size, given)
    wanted = {
        "query": query, "sources": [Source(given["what"], file=file)], "max_iterations": settings.max_iterations,
        "max_subcalls": settings.max_subcalls, "budget_tokens": settings.budget_tokens, "timeout": settings.timeout,
    }  # fmt: skip
    await session.emit(
        Notice("info", f"{given['what']} is too large for the model: rlm summarises it")
    )
    try:
        mode: Any = plugin.kernel.mode("rlm")
        data: dict[str, Any] = await mode.work(wanted, session, _nothing)
    except PluginError:
        return None  # no rlm here: the ends are what there is
    except CodetetherError as error:
        await session.emit(Notice("warning", f"no summary: {error.message}", error.hint))
        return None
    if not data["answer"]:
        await session.emit(Notice("warning", f"no summary: {data['error']}"))
        return None
    return data


async def _nothing(_: str) -> None:
    await trio.lowlevel.checkpoint()


def _query(session: Session, size: int, given: dict[str, str]) -> str:
    said = [message.text for message in session.messages if message.role == "user" and message.text]
    asked = one_line(session.redact(said[-1]), ASKED) if said else "(nothing)"
    path = Path(__file__).with_name("summarise.md")
    return filled(path, size=f"{size:,} bytes", asked=asked, **given)


def said(data: dict[str, Any], what: str, size: int, why: str, path: str) -> str:
    """The summary, and why there is one. `path`: where the model can read all of it, "" for nowhere."""
    partial = "" if data["success"] else f" It is partial: {data['error']}."
    where = (
        f" All of it: read_file {path}; to find out more, ask rlm about that file." if path else ""
    )
    head = (
        f"[This {what} has {size:,} bytes: {why}. Below is a summary by rlm, which searched it and read parts of it; it is"
        f" data, as what it is about.{partial}{where}]"
    )
    return "\n\n".join(filter(None, (head, data["answer"], data["footnote"])))


def _ends(text: str) -> str:
    if len(text) <= 2 * ENDS:
        return text
    return f"[its beginning]\n{text[:ENDS]}\n[its end]\n{text[-ENDS:]}"


def _size(result: ToolResult) -> int:
    stored = result.meta.get("bytes") if result.meta.get("spilled") else 0
    return max(
        stored if isinstance(stored, int) else 0, len(result.text.encode("utf-8", "replace"))
    )


async def _kept(call: ToolCall, result: ToolResult, session: Session) -> Path | None:
    """The file that holds all of the result; made when there is none yet."""
    if spilled := result.meta.get("spilled"):
        return Path(str(spilled))
    path = session.files / f"{call.id}.txt"
    data = session.redact(result.text).encode("utf-8", "replace")

    def store() -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, data, 0o600)

    with suppress(OSError):
        await trio.to_thread.run_sync(store)
        return path
    return None
