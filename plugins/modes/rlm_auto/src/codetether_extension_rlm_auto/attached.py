"""Attached files of which a prompt holds the beginning only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import trio
from codetether.api import CodetetherError, Notice

from codetether_extension_rlm_auto.summing import said, summary, too_large

if TYPE_CHECKING:
    from codetether.api import Session
    from codetether_headless import Cut

    from codetether_extension_rlm_auto import RlmAuto

MOST = 5  # files of one prompt that are summarised


@asynccontextmanager
async def told_before(plugin: RlmAuto, session: Session, cut: Sequence[Cut]) -> AsyncIterator[None]:
    """Tell the model a summary of each file of `cut` that is too large for it, or that it cannot read by itself."""
    needed = [(each, why) for each in cut if (why := _why(plugin, session, each))]
    for each, why in needed[:MOST]:
        if text := await _summed(plugin, session, each, why):
            session.tell(text)
    if (more := len(needed) - MOST) > 0:
        text = f"{more} more of the attached files are not summarised: {MOST} at most are"
        await session.emit(Notice("warning", text))
    yield


def _inside(session: Session, cut: Cut) -> bool:
    return cut.root is not None or session.workspace.is_inside(str(cut.path))


def _why(plugin: RlmAuto, session: Session, cut: Cut) -> str:
    """Why it needs a summary; "" when the model can read the rest, and has room for it."""
    outside = "only its beginning is in the prompt, and it lies outside of the workspace"
    return too_large(plugin.settings, cut.size, session) or (
        "" if _inside(session, cut) else outside
    )


async def _summed(plugin: RlmAuto, session: Session, cut: Cut, why: str) -> str:
    given = {"what": f"attached file {cut.path}", "about": "Its beginning is in the prompt."}
    try:
        file = await trio.to_thread.run_sync(_opened, session, cut)
    except (CodetetherError, OSError) as error:
        await session.emit(Notice("warning", f"{cut.path} is not summarised: {error}"))
        return ""
    with file:
        data = await summary(plugin, session, file, cut.size, given)
    if data is None:
        return ""
    path = str(cut.path) if _inside(session, cut) else ""
    return said(data, given["what"], cut.size, why, path)


def _opened(session: Session, cut: Cut) -> BinaryIO:
    """The file: one of the workspace opened within it, one that the person named wherever it is."""
    if cut.root is not None:
        return session.workspace.open(str(cut.path))
    return Path(cut.path).open("rb", buffering=0)
