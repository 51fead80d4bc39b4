"""What a server answered, as a tool's output: text cleaned of escapes, pictures checked, the rest named."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from codetether.api import Image, ToolOutput, clean, one_line

if TYPE_CHECKING:
    import mcp_types as types

PICTURES = 8
PICTURE_BYTES = 5_000_000
LARGEST = 4_000_000  # characters of all texts together; what is longer than the toolbox's budget goes to a file
SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class _Gathered:
    """Texts and pictures of one answer."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images: list[Image] = []
        self._room = LARGEST

    def say(self, text: str) -> None:
        """Take a text as far as there is room."""
        text = clean(text)
        if len(text) > self._room:
            text = text[: self._room] + "\n[the rest was left out: the answer is too large]"
        self._room = max(self._room - len(text), 0)
        if text:
            self.texts.append(text)

    def show(self, mime: str, data: str) -> None:
        """Take a picture, or say why not."""
        named = one_line(mime, 60)
        if len(self.images) == PICTURES:
            self.say(f"[one more picture left out: {PICTURES} are the most]")
        elif mime not in SHOWN or len(data) > PICTURE_BYTES * 4 // 3:
            self.say(f"[{named}, {len(data) * 3 // 4} bytes: left out]")
        else:
            try:
                self.images.append(Image(mime, base64.b64decode(data, validate=True)))
            except (binascii.Error, ValueError):
                self.say(f"[{named}: damaged, left out]")


def output(result: types.CallToolResult, title: str) -> ToolOutput:
    """The output for a call's result. An error the tool told of is one for the model, too."""
    gathered = _Gathered()
    _blocks(result.content, gathered)
    data = result.structured_content
    if data is not None and not _said(data, gathered.texts):
        gathered.say(json.dumps(data, ensure_ascii=False, indent=1))
    text = "\n".join(gathered.texts)
    if not text:
        text = "[no text]" if gathered.images else "[it answered with nothing]"
    ok = not result.is_error
    summary = one_line(f"{title}: {text}" if ok else text, 120)
    return ToolOutput(text, ok=ok, summary=summary, images=tuple(gathered.images))


def read_output(contents: Iterable[object], title: str) -> ToolOutput:
    """The output for what a resource holds."""
    gathered = _Gathered()
    for each in contents:
        _held(each, gathered)
    text = "\n".join(gathered.texts) or ("[no text]" if gathered.images else "[it is empty]")
    return ToolOutput(text, summary=one_line(title, 120), images=tuple(gathered.images))


def texts(blocks: Iterable[object]) -> str:
    """The text of a prompt's message."""
    gathered = _Gathered()
    _blocks(blocks, gathered)
    return "\n".join(gathered.texts)


def _said(data: object, told: list[str]) -> bool:
    """Whether the structured content is there as text already, as the protocol recommends."""
    for text in told:
        try:
            if json.loads(text) == data:
                return True
        except (ValueError, RecursionError):
            pass
        if isinstance(data, dict) and [str(value) for value in data.values()] == [text]:
            return True
    return False


def _blocks(blocks: Iterable[object], gathered: _Gathered) -> None:
    for block in blocks:
        kind = getattr(block, "type", "")
        if kind == "text":
            gathered.say(block.text)  # type: ignore[attr-defined]
        elif kind == "image":
            gathered.show(block.mime_type, block.data)  # type: ignore[attr-defined]
        elif kind == "resource":
            _held(block.resource, gathered)  # type: ignore[attr-defined]
        elif kind == "resource_link":
            name, uri = one_line(block.name, 120), one_line(str(block.uri), 500)  # type: ignore[attr-defined]
            gathered.say(f"[resource {uri}: {name}]")
        else:
            mime = one_line(str(getattr(block, "mime_type", "")), 60)
            gathered.say(f"[{kind or 'something'} {mime}: left out]")


def _held(resource: object, gathered: _Gathered) -> None:
    text = getattr(resource, "text", None)
    if isinstance(text, str):
        gathered.say(text)
        return
    mime = str(getattr(resource, "mime_type", "") or "bytes")
    gathered.show(mime, str(getattr(resource, "blob", "")))
