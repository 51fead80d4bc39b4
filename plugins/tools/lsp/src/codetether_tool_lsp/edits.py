"""What a server wants to change, as one patch: it is made by the tool apply_patch, so that it is permitted, undone and
shown like every other edit, all of it or nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codetether.api import ToolError
from codetether_editing import Document, NotText, decode, unified_diff
from codetether_editing.document import Span

from codetether_tool_lsp.document import path_of
from codetether_tool_lsp.positions import Places

if TYPE_CHECKING:
    from codetether_tool_lsp.desk import Desk

FILES = 500
LARGEST = 16 << 20


class Change:
    """One file on its way: its bytes on the disk (None: none), its bytes then, and where it came from."""

    def __init__(self, name: str, before: bytes | None) -> None:
        self.name = name
        self.before = before
        self.after = before
        self.origin: Change | None = None
        self.taken = False


class Patch:
    """Collects the changes of one workspace edit. `add` in the order the server gave them."""

    def __init__(self, desk: Desk, encoding: str) -> None:
        self._desk = desk
        self._encoding = encoding
        self._changes: dict[Path, Change] = {}

    async def add(self, edit: Any) -> None:
        """Take in a WorkspaceEdit. Raises ToolError when it cannot be done here."""
        if not isinstance(edit, dict):
            raise ToolError("The server's change cannot be read.")
        try:
            steps = edit.get("documentChanges")
            if steps is None:
                steps = [
                    {"textDocument": {"uri": uri}, "edits": edits}
                    for uri, edits in (edit.get("changes") or {}).items()
                ]
            for step in steps:
                await self._step(step)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ToolError("The server's change cannot be read.") from None

    async def _step(self, step: dict[str, Any]) -> None:
        match step.get("kind"):
            case None:
                await self._edit(step["textDocument"]["uri"], step["edits"])
            case "create":
                change = await self._change(step["uri"])
                if change.after is not None and not (step.get("options") or {}).get("overwrite"):
                    if (step.get("options") or {}).get("ignoreIfExists"):
                        return
                    raise ToolError(f"{change.name} exists already.", "CONFLICT")
                change.after = b""
            case "delete":
                change = await self._change(step["uri"])
                change.after = None
            case "rename":
                await self._rename(step["oldUri"], step["newUri"])
            case other:
                raise ToolError(f"The server wants to {other} files, which is not done here.")

    async def _rename(self, old: str, new: str) -> None:
        source, target = await self._change(old), await self._change(new)
        if source.after is None:
            raise ToolError(f"There is no file {source.name}.", "NOT_FOUND")
        if target.after is not None:
            raise ToolError(f"{target.name} exists already.", "CONFLICT")
        target.after, source.after = source.after, None
        target.origin, source.taken = source.origin or source, True

    async def _edit(self, uri: str, edits: list[dict[str, Any]]) -> None:
        change = await self._change(uri)
        if change.after is None:
            raise ToolError(f"There is no file {change.name}.", "NOT_FOUND")
        try:
            document = decode(change.after)
        except NotText:
            raise ToolError(f"{change.name} is no text file.", "INVALID_ARGUMENT") from None
        change.after = document.replace(_spans(document, edits, self._encoding))

    async def _change(self, uri: str) -> Change:
        path = path_of(uri)
        if path is None:
            raise ToolError(f"The server wants to change {uri}, which is no file.", "DENIED")
        if path not in self._changes:
            if len(self._changes) >= FILES:
                raise ToolError(f"The change is of more than {FILES} files.", "INVALID_ARGUMENT")
            workspace = self._desk.workspace
            name = workspace.relative(str(path))
            if Path(name).is_absolute():
                raise ToolError(f"{name} cannot be changed: it is outside the workspace.", "DENIED")
            before: bytes | None = None
            try:
                before = await workspace.read(name)
            except ToolError as error:
                if error.code != "NOT_FOUND":
                    raise
            self._changes[path] = Change(name, before)
        return self._changes[path]

    # --- what comes of it ---
    def text(self) -> str:
        """The patch; nothing when nothing changes."""
        return "".join(_part(change) for change in self._changes.values())

    def size(self) -> tuple[int, int]:
        """How many files change, and how many lines are new."""
        parts = [_diff(change) for change in self._changes.values() if _part(change)]
        return len(parts), sum(parts)


def _diff(change: Change) -> int:
    return unified_diff(change.before, change.after, change.name).added


def _part(change: Change) -> str:
    if change.taken and change.after is None:
        return ""
    before = change.origin.before if change.origin is not None else change.before
    if before == change.after and change.origin is None:
        return ""
    head, name = f"diff --git a/{change.name} b/{change.name}\n", change.name
    if change.origin is not None:
        head = (
            f"diff --git a/{change.origin.name} b/{name}\n"
            f"rename from {change.origin.name}\nrename to {name}\n"
        )
    elif before is None:
        head += "new file mode 100644\n"
    elif change.after is None:
        head += "deleted file mode 100644\n"
    return head + unified_diff(before, change.after, name, LARGEST).text


def _spans(document: Document, edits: list[dict[str, Any]], encoding: str) -> list[Span]:
    """The edits as places in the document's text, in order. Raises ToolError when two overlap."""
    raw = document.raw
    places = Places(raw, encoding)
    spans = []
    for edit in edits:
        area = edit["range"]
        start, end = (_in_text(raw, places.offset(area[side])) for side in ("start", "end"))
        spans.append(Span(start, end, _bare(str(edit["newText"]))))
    spans.sort(
        key=lambda span: (span.start, span.end)
    )  # stable: insertions at one place keep their order
    merged: list[Span] = []
    for span in spans:
        last = merged[-1] if merged else None
        if last is not None and span.start < last.end:
            raise ToolError("The server's change overlaps itself.")
        if last is not None and span.start == last.end:
            merged[-1] = Span(last.start, span.end, last.new + span.new)
        else:
            merged.append(span)
    return merged


def _in_text(raw: str, offset: int) -> int:
    """A place in `raw` as a place in the document's text, where a line end of two characters is one."""
    return offset - raw.count("\r\n", 0, offset) if "\r\n" in raw else offset


def _bare(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
