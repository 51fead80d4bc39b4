"""Renames and code actions: the server says what to change, apply_patch changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codetether.api import ToolError, ToolOutput

from codetether_tool_lsp.answers import counted
from codetether_tool_lsp.connection import ServerError, ServerGone
from codetether_tool_lsp.desk import Shown, told
from codetether_tool_lsp.edits import Patch
from codetether_tool_lsp.operations import at, shown_for
from codetether_tool_lsp.symbols import place
from codetether_tool_lsp.watch import notice_changes

if TYPE_CHECKING:
    from codetether.api import ToolContext

    from codetether_tool_lsp import Params
    from codetether_tool_lsp.desk import Desk

ACTIONS = 40
SHOWN = 16_000  # characters of a diff that is only shown


async def rename(params: Params, desk: Desk, ctx: ToolContext) -> ToolOutput:
    """Give a symbol another name wherever it is used. Raises ToolError."""
    if not params.new_name:
        raise ToolError("rename needs new_name.", "INVALID_ARGUMENT")
    await notice_changes(desk)
    shown = await shown_for(params, desk)
    line, column = await place(params, shown)
    one, edit = await desk.first(
        shown,
        "textDocument/rename",
        lambda each: {**at(each, line, column), "newName": params.new_name},
    )
    if not edit:
        raise ToolError("Nothing there can be renamed.", "NO_OP")
    patch = Patch(desk, one.server.encoding)
    await patch.add(edit)
    return await _made(patch, params, ctx, f"to {params.new_name}")


async def code_actions(params: Params, desk: Desk, ctx: ToolContext) -> ToolOutput:
    """List what servers offer to do about a place or a file, or do one of them. Raises ToolError."""
    await notice_changes(desk)
    shown = await shown_for(params, desk)
    offered = await _offered(params, shown)
    if not offered:
        return ToolOutput("No code actions.", summary="no code actions", meta={"count": 0})
    if not params.action:
        lines = [f"{number}. {_title(action)}" for number, (_, action) in enumerate(offered, 1)]
        return ToolOutput("\n".join(lines), summary=counted(len(offered), "code action"))
    one, action = _chosen(params.action, offered)
    patch = Patch(desk, one.server.encoding)
    try:
        await _collect(action, one, patch)
    except (ServerError, ServerGone) as error:
        raise ToolError(f"{one.server.name}: {told(error)}") from None
    return await _made(patch, params, ctx, action.get("title", ""))


async def _offered(params: Params, shown: list[Shown]) -> list[tuple[Shown, dict[str, Any]]]:
    """The actions of all servers that can be done, in their order."""
    spot: tuple[int, int] | None = None
    if params.symbol or (params.line and params.column):
        spot = await place(params, shown)
    found: list[tuple[Shown, dict[str, Any]]] = []
    for each in shown:
        if not each.server.can("textDocument/codeAction"):
            continue
        area = _area(params, spot, each)
        wrong = await each.server.raw_problems(each.opened, area)
        ask = {
            "textDocument": {"uri": each.opened.path.as_uri()},
            "range": area,
            "context": {"diagnostics": wrong, "triggerKind": 1},
        }
        try:
            raw = await each.server.ask("textDocument/codeAction", ask)
        except (ServerError, ServerGone):
            continue
        found += [
            (each, action)
            for action in (raw if isinstance(raw, list) else ())
            if isinstance(action, dict) and action.get("title") and not action.get("disabled")
        ]
    return found[:ACTIONS]


def _area(params: Params, spot: tuple[int, int] | None, each: Shown) -> dict[str, Any]:
    """A place, a whole line, or the whole file."""
    places = each.opened.places
    if spot is not None:
        return {side: places.position(*spot) for side in ("start", "end")}
    if params.line is None:
        return {"start": places.position(0, 0), "end": places.end()}
    line = params.line - 1
    end = len(places.line(line))
    return {"start": places.position(line, 0), "end": places.position(line, end)}


def _title(action: dict[str, Any]) -> str:
    kind = action.get("kind") or ("command" if isinstance(action.get("command"), str) else "")
    title = " ".join(str(action["title"]).split())[:200]
    return f"{title} [{kind}]" if kind else title


def _chosen(
    wanted: str, offered: list[tuple[Shown, dict[str, Any]]]
) -> tuple[Shown, dict[str, Any]]:
    if wanted.isdigit() and 1 <= int(wanted) <= len(offered):
        return offered[int(wanted) - 1]
    titles = [str(action["title"]) for _, action in offered]
    exact = [place for place, title in enumerate(titles) if title == wanted]
    close = exact or [p for p, title in enumerate(titles) if wanted.casefold() in title.casefold()]
    if len(close) == 1:
        return offered[close[0]]
    numbers = "\n".join(f"{number}. {title}" for number, title in enumerate(titles, 1))
    code = "AMBIGUOUS_MATCH" if close else "NOT_FOUND"
    raise ToolError(f"Which action? Give its number:\n{numbers}", code)


async def _collect(action: dict[str, Any], one: Shown, patch: Patch) -> None:
    """What the action changes: its edit, which it may have to be asked for, then what its command asks us to do."""
    command = action.get("command")
    if isinstance(command, str):
        action, command = {}, action
    if "edit" not in action and action and one.server.resolves_actions():
        action = await one.server.ask("codeAction/resolve", action) or {}
        command = command or action.get("command")
    if action.get("edit"):
        await patch.add(action["edit"])
    if isinstance(command, dict):
        run = {"command": command.get("command"), "arguments": command.get("arguments") or []}
        for edit in await one.server.collecting(
            lambda: one.server.ask("workspace/executeCommand", run)
        ):
            await patch.add(edit)


async def _made(patch: Patch, params: Params, ctx: ToolContext, what: str) -> ToolOutput:
    text = patch.text()
    if not text:
        raise ToolError("That changes nothing.", "NO_OP")
    files, lines = patch.size()
    size = f"{counted(lines, 'line')} in {counted(files, 'file')}"
    if params.dry_run:
        more = "" if len(text) <= SHOWN else "\n[more of the diff is left out]"
        return ToolOutput(
            f"Would change {size}:\n{text[:SHOWN]}{more}",
            summary=f"would change {size}",
            meta={"diff": text, "applied": False},
        )
    done = await ctx.call("apply_patch", {"patch": text})
    summary = f"{params.operation} {what}: {size}" if done.ok else "not changed"
    meta = {**done.meta, "nested": True}
    return ToolOutput(done.text, ok=done.ok, summary=summary, meta=meta)
