"""What the model can ask: each operation from its parameters to its text. Loaded with the protocol, in a thread."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from codetether.api import ToolError, ToolOutput, ripgrep

from codetether_tool_lsp import answers, find, reading
from codetether_tool_lsp.connection import ServerError, ServerGone
from codetether_tool_lsp.desk import Shown, told
from codetether_tool_lsp.problems import SEVERITIES, Problem, in_order, problems
from codetether_tool_lsp.symbols import place
from codetether_tool_lsp.watch import notice_changes

if TYPE_CHECKING:
    from codetether_tool_lsp import Params
    from codetether_tool_lsp.desk import Desk
    from codetether_tool_lsp.settings import LspSettings

PLACES = {
    "definition": ("textDocument/definition", "definition"),
    "type_definition": ("textDocument/typeDefinition", "type definition"),
    "implementation": ("textDocument/implementation", "implementation"),
    "references": ("textDocument/references", "reference"),
}
HOVER = 4_000  # characters
COMPLETIONS = 50
PROBLEMS = 100


async def answer(params: Params, desk: Desk, settings: LspSettings) -> ToolOutput:
    """The answer of one operation that changes nothing. Raises ToolError."""
    await notice_changes(desk)
    try:
        match params.operation:
            case "workspace_symbols":
                return await _workspace_symbols(params, desk)
            case "diagnostics":
                return await _diagnostics(params, desk, settings)
            case "document_symbols":
                return await _outline(params, desk)
            case "hover":
                return await _hover(params, desk)
            case "completion":
                return await _completion(params, desk)
            case "incoming_calls" | "outgoing_calls":
                return await _calls(params, desk)
            case _:
                return await _places(params, desk)
    except ValueError as error:
        raise ToolError(f"The server's answer cannot be read: {error}.") from None


async def shown_for(params: Params, desk: Desk) -> list[Shown]:
    """The servers for the call's file. Raises ToolError."""
    if not params.path:
        raise ToolError(f"{params.operation} needs path.", "INVALID_ARGUMENT")
    return await desk.show(desk.path(params.path))


def at(each: Shown, line: int, column: int) -> dict[str, Any]:
    """The place in the file, for one server."""
    return {
        "textDocument": {"uri": each.opened.path.as_uri()},
        "position": each.opened.places.position(line, column),
    }


async def _places(params: Params, desk: Desk) -> ToolOutput:
    method, word = PLACES[params.operation]
    shown = await shown_for(params, desk)
    line, column = await place(params, shown)
    more = {"context": {"includeDeclaration": True}} if params.operation == "references" else {}
    one, raw = await desk.first(shown, method, lambda each: {**at(each, line, column), **more})
    found = reading.spots(raw)
    if not found:
        return _nothing(f"No {word} found")
    text = await answers.places(found, word, desk, one.server.encoding)
    return ToolOutput(text, summary=answers.counted(len(found), word), meta={"count": len(found)})


async def _hover(params: Params, desk: Desk) -> ToolOutput:
    shown = await shown_for(params, desk)
    line, column = await place(params, shown)
    _, raw = await desk.first(shown, "textDocument/hover", lambda each: at(each, line, column))
    text = reading.hover(raw)
    if not text:
        return _nothing("Nothing is known about that place")
    return ToolOutput(text if len(text) <= HOVER else text[:HOVER] + "…", summary="hover")


async def _completion(params: Params, desk: Desk) -> ToolOutput:
    shown = await shown_for(params, desk)
    if params.line is None or params.column is None:
        raise ToolError("completion needs line and column.", "INVALID_ARGUMENT")
    line, column = await place(params, shown)
    context = {"context": {"triggerKind": 1}}
    _, raw = await desk.first(
        shown, "textDocument/completion", lambda each: {**at(each, line, column), **context}
    )
    items, more = reading.completions(raw)
    text = shown[0].opened.places.line(line)[:column]
    begun = text[len(text.rstrip("_" + "".join(filter(str.isalnum, text)))) :]
    fitting = [item for item in items if item.label.startswith(begun)] or items
    lines = [
        " ".join(filter(None, (item.label, reading.kind_name(item.kind), (item.detail or "")[:80])))
        for item in fitting[:COMPLETIONS]
    ]
    if not lines:
        return _nothing("No completions")
    if more or len(fitting) > COMPLETIONS:
        lines.append("... more; type more of the name")
    return ToolOutput("\n".join(lines), summary=answers.counted(len(fitting), "completion"))


async def _outline(params: Params, desk: Desk) -> ToolOutput:
    shown = await shown_for(params, desk)
    path = shown[0].opened.path
    _, raw = await desk.first(
        shown, "textDocument/documentSymbol", lambda _: {"textDocument": {"uri": path.as_uri()}}
    )
    found = reading.symbols(raw, path)
    if not found:
        return _nothing("No symbols")
    return ToolOutput(answers.outline(found), summary=answers.counted(len(found), "symbol"))


async def _calls(params: Params, desk: Desk) -> ToolOutput:
    incoming = params.operation == "incoming_calls"
    shown = await shown_for(params, desk)
    line, column = await place(params, shown)
    one, items = await desk.first(
        shown, "textDocument/prepareCallHierarchy", lambda each: at(each, line, column)
    )
    if not items:
        return _nothing("No function or method is there")
    method = f"callHierarchy/{'incoming' if incoming else 'outgoing'}Calls"
    found: list[reading.Call] = []
    for item in items[:4]:
        try:
            raw = await one.server.ask(method, {"item": item})
        except (ServerError, ServerGone) as error:
            raise ToolError(f"{one.server.name}: {told(error)}") from None
        found += reading.calls(raw, incoming=incoming)
    if not found:
        return _nothing("Nothing calls it" if incoming else "It calls nothing that is known")
    text = answers.call_list(found, desk)
    word = "caller" if incoming else "callee"
    return ToolOutput(text, summary=answers.counted(len(found), word), meta={"count": len(found)})


# --- the whole workspace ---
async def _workspace_symbols(params: Params, desk: Desk) -> ToolOutput:
    if not params.symbol:
        raise ToolError("workspace_symbols needs symbol, a part of the name.", "INVALID_ARGUMENT")
    shown = await desk.show(desk.path(params.path) if params.path else await _typical(desk))
    _, raw = await desk.first(shown, "workspace/symbol", lambda _: {"query": params.symbol})
    found = reading.workspace_symbols(raw)
    found = [each for each in found if each.spot.path and not desk.hidden(each.spot.path)]
    found.sort(key=lambda each: (_rank(each.name, params.symbol), each.name, each.spot.uri))
    if not found:
        return _nothing(f"No symbol like {params.symbol!r}")
    text = answers.found_symbols(found, desk)
    return ToolOutput(
        text, summary=answers.counted(len(found), "symbol"), meta={"count": len(found)}
    )


def _rank(name: str, wanted: str) -> int:
    name, wanted = name.casefold(), wanted.casefold()
    return 0 if name == wanted else 1 if name.startswith(wanted) else 2 if wanted in name else 3


async def _typical(desk: Desk) -> Path:
    """A file of the commonest language here that has a server. Raises ToolError."""
    listed = await ripgrep(
        ["--files"], cwd=desk.session.directory, head=400_000, tail=0, timeout=10
    )
    names = [name for name in listed.output.split("\n")[:20_000] if name]
    kinds = Counter(os.path.splitext(name)[1].lower() for name in names)
    for suffix, _ in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))[:20]:
        name = min(name for name in names if os.path.splitext(name)[1].lower() == suffix)
        path = desk.session.directory / name
        if await trio.to_thread.run_sync(find.for_file, path, desk.known, desk.session):
            return path
    raise ToolError("No file here has a language server; give path.", "NOT_FOUND")


# --- problems ---
async def _diagnostics(params: Params, desk: Desk, settings: LspSettings) -> ToolOutput:
    path = desk.path(params.path) if params.path else None
    if path is None or path.is_dir():
        return _everywhere(path or desk.session.directory, desk)
    shown = await desk.show(path)
    found: list[Problem] = []
    silent = []

    async def one(each: Shown) -> None:
        try:
            said = await each.server.problems(each.opened, settings.request_seconds)
        except ServerGone:
            said = None
        if said is None:
            silent.append(each.server.name)
        found.extend(said or each.opened.pushed)

    async with trio.open_nursery() as nursery:
        for each in shown:
            nursery.start_soon(one, each)
    if params.line is not None:
        found = [problem for problem in found if problem.line == params.line]
    note = f"\n({', '.join(sorted(silent))} did not answer in time)" if silent else ""
    return _listed({desk.name(path): in_order(found)}, note)


def _everywhere(folder: Path, desk: Desk) -> ToolOutput:
    """What running servers have found so far, below a directory."""
    found: dict[str, list[Problem]] = {}
    servers = [each for each in desk.crew.all() if not each.starting]
    for server in servers:
        for path, opened in server.files.open.items():
            if path.is_relative_to(folder):
                found.setdefault(desk.name(path), []).extend(opened.pushed)
        for path, raw in server.files.elsewhere.items():
            if path.is_relative_to(folder):
                said = problems(raw, server.nowhere, server.name)
                found.setdefault(desk.name(path), []).extend(said)
    if not servers:
        raise ToolError("No language server runs yet; give the path of a file.", "INVALID_ARGUMENT")
    note = "\n(only files that servers have looked at; give path to have one checked)"
    return _listed({name: in_order(each) for name, each in sorted(found.items())}, note)


def _listed(found: dict[str, list[Problem]], note: str) -> ToolOutput:
    every = [(name, problem) for name, each in found.items() for problem in each]
    if not every:
        return ToolOutput(f"No problems{note}", summary="no problems", meta={"count": 0})
    lines: list[str] = []
    last = ""
    for name, problem in every[:PROBLEMS]:
        if name != last:
            lines.append(name)
            last = name
        lines.append(f"  {problem}")
    if len(every) > PROBLEMS:
        lines.append(f"... {len(every) - PROBLEMS} more")
    counts = Counter(SEVERITIES[problem.severity] for _, problem in every)
    summary = ", ".join(
        answers.counted(counts[word], word) for word in SEVERITIES.values() if counts[word]
    )
    return ToolOutput("\n".join(lines) + note, summary=summary, meta={"count": len(every)})


def _nothing(text: str) -> ToolOutput:
    return ToolOutput(f"{text}.", summary=text.lower(), meta={"count": 0})
