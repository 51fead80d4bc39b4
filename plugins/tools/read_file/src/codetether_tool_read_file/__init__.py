"""The tool `read_file`: a window of a text file with line numbers, a picture, or what a binary file is."""

from __future__ import annotations

from typing import Annotated, ClassVar

from codetether.api import Effect, Image, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

from codetether_tool_read_file.window import LINES, Window, of_large, of_text

WHOLE = 4 * 1024 * 1024  # larger files are read up to the window, line by line
PICTURE = 5 * 1024 * 1024  # what vendors take
HEAD = 8192


class Params(Struct):
    """What to read."""

    path: Annotated[str, Meta(description="File to read")]
    offset: Annotated[int, Meta(description="Line to start from; the first is 1")] = 1
    limit: Annotated[int, Meta(ge=1, description="Lines to read at most")] = LINES


class ReadFile(Tool[Params]):
    """Shows a file to the model and remembers which version it saw."""

    api = 1
    params = Params
    effect = Effect.READ
    aliases: ClassVar[tuple[str, ...]] = ("read",)

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The window asked for. Raises ToolError: NOT_FOUND, DENIED, INVALID_ARGUMENT for directories."""
        from codetether_editing import image_mime

        path = params.path
        head = await ctx.workspace.read(path, HEAD)
        whole = len(head) < HEAD
        size = len(head) if whole else ctx.workspace.stat(path).st_size
        if mime := image_mime(head):
            return await _picture(path, mime, size, ctx)
        if size > WHOLE:
            return await _large(params, head, size, ctx)
        return _text(params, head if whole else await ctx.workspace.read(path), ctx)


def _text(params: Params, data: bytes, ctx: ToolContext) -> ToolOutput:
    from codetether_editing import NotText, decode

    ctx.workspace.saw(params.path, ctx.workspace.digest(data))
    try:
        document = decode(data)
    except NotText:
        return _described(params.path, data[:HEAD], len(data))
    window = of_text(document.text, params.offset, params.limit)
    note = "" if document.encoding == "utf-8" else f"[encoding {document.encoding}]"
    if document.invalid:
        note = "[some bytes are not valid UTF-8: \ufffd]"
    return _output(params.path, window, note, {"encoding": document.encoding})


async def _large(params: Params, head: bytes, size: int, ctx: ToolContext) -> ToolOutput:
    if b"\0" in head or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _described(params.path, head, size)
    window = await of_large(ctx.workspace, params.path, params.offset, params.limit)
    return _output(params.path, window, f"[large file: {size} bytes]", {"bytes": size})


async def _picture(path: str, mime: str, size: int, ctx: ToolContext) -> ToolOutput:
    about = f"{path}: {mime}, {size} bytes"
    meta = {"path": path, "mime": mime, "bytes": size}
    if ctx.session.model.images is False:
        return ToolOutput(f"{about}. This model cannot see images.", summary=mime, meta=meta)
    if size > PICTURE:
        raise ToolError(
            f"{about}: over the limit of {PICTURE} bytes. Make a smaller copy first.",
            "INVALID_ARGUMENT",
        )
    data = await ctx.workspace.read(path)
    return ToolOutput(
        about, summary=f"{mime}, {size} bytes", images=(Image(mime, data),), meta=meta
    )


def _described(path: str, head: bytes, size: int) -> ToolOutput:
    from codetether_editing import kind_of

    kind = kind_of(head[:512])
    text = f"{path} is not text: {kind}, {size} bytes. Its content is not shown."
    return ToolOutput(
        text, summary=f"{kind}, {size} bytes", meta={"path": path, "kind": kind, "bytes": size}
    )


def _output(path: str, window: Window, note: str, meta: dict[str, object]) -> ToolOutput:
    text = "\n".join(part for part in (window.text, window.note, note) if part)
    shown = window.last - window.first + 1
    return ToolOutput(
        text or "[empty file]",
        summary=f"{shown} lines" if window.total is None else f"{shown} of {window.total} lines",
        meta={
            "path": path,
            "first": window.first,
            "last": window.last,
            "lines": window.total,
            **meta,
        },
    )
