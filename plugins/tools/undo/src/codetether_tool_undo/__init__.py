"""The tool `undo`: gives back what a turn's file tools changed, and can do it again.

While a turn runs, the workspace tells this plugin of every change. Nothing of git is used or touched.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import trio
from codetether.api import (
    Effect,
    Notice,
    Session,
    Tool,
    ToolContext,
    ToolError,
    ToolOutput,
    hookimpl,
)
from msgspec import UNSET, Meta, Struct

if TYPE_CHECKING:
    from codetether_editing import Draft

    from codetether_tool_undo.checkpoints import Checkpoints, Kept

ACTIONS = ("undo", "redo", "list")
TakeBack = Callable[[], None]


class Params(Struct):
    """What to do, and with which turn."""

    action: Annotated[
        str, Meta(description="undo, redo or list", extra_json_schema={"enum": list(ACTIONS)})
    ] = "undo"
    turn: Annotated[int | None, Meta(description="Number of the turn, as list shows it")] = None


class Undo(Tool[Params]):
    """Gives files back as they were before a turn; keeps contents in the session's folder, for this user alone."""

    api = 1
    params = Params
    effect = Effect.WRITE

    @hookimpl
    def codetether_around_turn(self, session: Session) -> object:
        """Keep what this turn changes."""
        return _keeping(session)

    def title(self, params: Params) -> str:
        """The action and the turn."""
        return f"{params.action} turn {params.turn}" if params.turn else f"{params.action} turn"

    async def preview(self, params: Params, ctx: ToolContext) -> str:
        """The diff that `run` would make. Raises ToolError as `run`."""
        from codetether_editing import diff_of

        if params.action == "list":
            return ""
        return diff_of((await _prepare(params, ctx))[1]).text

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """Do it. Raises ToolError: NO_OP (nothing to undo), CONFLICT (a file is not as the turn left it)."""
        from codetether_editing import commit, diff_of, locked

        if params.action == "list":
            return _listed(_load(_checkpoints(ctx.session)))
        turn, drafts = await _prepare(params, ctx)
        paths = [draft.path for draft in drafts]
        keep, ctx.workspace.keep = ctx.workspace.keep, None
        try:
            async with locked(ctx.workspace, paths):
                await commit(drafts, ctx.workspace)
        finally:
            ctx.workspace.keep = keep
        undone = params.action == "undo"
        store = _checkpoints(ctx.session)
        kept = _load(store)
        left = {draft.path: draft.digest or None for draft in drafts}
        for each in kept:
            if each.turn == turn:
                each.undone = undone
                if each.earlier is not UNSET:  # what it was about to be it never was
                    each.after, each.earlier = left.get(each.path, each.before), UNSET
        await trio.to_thread.run_sync(store.store, kept)
        diff = diff_of(drafts)
        done = "Undid" if undone else "Did again"
        text = f"{done} turn {turn} (+{diff.added} -{diff.removed}): {', '.join(paths)}"
        meta = {"diff": diff.text, "added": diff.added, "removed": diff.removed, "paths": paths}
        return ToolOutput(text, summary=f"{done.lower()} turn {turn}", meta=meta)


@asynccontextmanager
async def _keeping(session: Session) -> AsyncIterator[None]:
    turn = session.turns

    def tell(text: str) -> None:
        session.kernel.notices.append(Notice("warning", session.redact(text)))

    def keep(path: str, before: bytes | None, mode: int, after: bytes | None) -> TakeBack:
        try:
            return _checkpoints(session).add(session.workspace, turn, path, before, mode, after)
        except (OSError, ValueError, ToolError) as error:
            tell(f"the change of {path} was not kept and cannot be undone: {error}")
            return lambda: None

    def settle() -> None:
        try:
            _checkpoints(session).settle(session.workspace, turn)
        except (OSError, ValueError) as error:
            tell(f"the list of changes cannot be written: {error}")

    if session.transcript.path.with_name(f"{session.id}.files").joinpath("undo").exists():
        with contextlib.suppress(OSError, ValueError):  # said when a change cannot be kept
            await trio.to_thread.run_sync(_checkpoints(session).forget_from, turn)
    session.workspace.keep = keep
    try:
        yield
    finally:
        session.workspace.keep = None
        if "tools:undo" in session.state:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(settle)


def _checkpoints(session: Session) -> Checkpoints:
    from codetether_tool_undo.checkpoints import Checkpoints

    if "tools:undo" not in session.state:
        session.state["tools:undo"] = Checkpoints(session.files / "undo")
    store: Checkpoints = session.state["tools:undo"]
    return store


def _load(store: Checkpoints) -> list[Kept]:
    try:
        return store.load()
    except (OSError, ValueError) as error:
        raise ToolError(f"The list of changes cannot be read: {error}") from None


async def _prepare(params: Params, ctx: ToolContext) -> tuple[int, list[Draft]]:
    """The turn meant, and the drafts that give its files back (or change them again)."""
    if params.action not in ACTIONS:
        raise ToolError(f"action is one of {', '.join(ACTIONS)}.", "INVALID_ARGUMENT")
    store, back = _checkpoints(ctx.session), params.action == "undo"
    able = [kept for kept in _load(store) if kept.undone is not back]
    turns = [kept.turn for kept in able]
    turn = params.turn or (max(turns, default=0) if back else min(turns, default=0))
    chosen = [kept for kept in able if kept.turn == turn]
    if not chosen:
        raise ToolError(f"There is nothing to {params.action}. See action list.", "NO_OP")
    drafts, other = [], []
    for kept in chosen:
        draft = await _draft(kept, store, ctx, back=back)
        if draft is None:
            other.append(kept.path)
        else:
            drafts.append(draft)
    if other:
        raise ToolError(
            f"Not as turn {turn} left them: {', '.join(other)}. Somebody changed them since; nothing was changed.",
            "CONFLICT",
        )
    if changed := [draft for draft in drafts if draft.before != draft.after or draft.mode]:
        return turn, changed
    raise ToolError(f"Turn {turn} left every file as it was.", "NO_OP")


async def _draft(kept: Kept, store: Checkpoints, ctx: ToolContext, *, back: bool) -> Draft | None:
    """What gives one file back; None when it is not what the turn left."""
    from codetether_editing import Draft

    wanted, mode = (kept.before, kept.mode_before) if back else (kept.after, kept.mode_after)
    try:
        found: bytes | None = await ctx.workspace.read(kept.path)
    except ToolError as error:
        if error.code != "NOT_FOUND":
            raise
        found = None
    now = None if found is None else ctx.workspace.digest(found)
    if not kept.left(now) if back else now != kept.before:
        return None
    if found is not None and stat.S_IMODE(ctx.workspace.stat(kept.path).st_mode) == mode:
        mode = 0
    try:
        content = store.content(wanted)
    except OSError:
        raise ToolError(f"What {kept.path} was is no longer kept.") from None
    return Draft(kept.path, found, content, now or "", mode=mode or None)


def _listed(kept: list[Kept]) -> ToolOutput:
    lines, turns = [], []
    for turn in sorted({each.turn for each in kept}, reverse=True):
        some = [each for each in kept if each.turn == turn]
        undone = all(each.undone for each in some)
        state = " (undone)" if undone else ""
        paths = [each.path for each in some]
        turns.append({"turn": turn, "undone": undone, "paths": paths})
        lines.append(f"turn {turn}{state}: {', '.join(_named(each) for each in some)}")
    return ToolOutput(
        "\n".join(lines) or "No turn changed a file.",
        summary=f"{len(lines)} turn{'s' * (len(lines) != 1)}",
        meta={"count": len(lines), "turns": turns},
    )


def _named(kept: Kept) -> str:
    how = "added " if kept.before is None else "removed " if kept.after is None else ""
    return how + kept.path
