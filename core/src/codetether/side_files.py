"""Large tool results and pictures, kept beside the session file under the hash of their bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from codetether.records import SideFile
from codetether.words import Image, Message, Part, Text, ToolResult

LARGE = 64 * 1024  # characters of a result, bytes of a picture
NAME = re.compile(r"[0-9a-f]{64}")


def put_aside(
    messages: Sequence[Message], directory: Path, redact: Callable[[str], str] | None = None
) -> tuple[tuple[Message, ...], tuple[SideFile, ...]]:
    """`messages` without their large contents, which are written to `directory`, and where each went.

    Text goes through `redact` first. What cannot be written stays in its message.
    """
    lighter: list[Message] = []
    files: list[SideFile] = []
    for number, message in enumerate(messages):
        parts = list(message.parts)
        for index, part in enumerate(message.parts):
            if _is_large(part):
                parts[index] = _lighten(_redacted(part, redact), directory, number, index, files)
        changed = any(new is not old for new, old in zip(parts, message.parts, strict=True))
        lighter.append(msgspec.structs.replace(message, parts=tuple(parts)) if changed else message)
    return tuple(lighter), tuple(files)


def bring_back(
    messages: Sequence[Message], files: Sequence[SideFile], directory: Path
) -> tuple[tuple[Message, ...], list[str]]:
    """`messages` with the contents put aside, and a sentence for each that is lost or altered."""
    parts = [list(message.parts) for message in messages]
    complaints: list[str] = []
    lost: list[SideFile] = []
    for file in files:
        try:
            data = _read(file, directory)
            parts[file.message][file.part] = _restored(parts[file.message][file.part], file, data)
        except (OSError, ValueError, IndexError) as error:
            complaints.append(f"content of {file.size} bytes is lost ({error})")
            lost.append(file)
    for file in lost:  # last, because it removes pictures that others are counted by
        _mark_lost(parts, file)
    restored = (
        msgspec.structs.replace(message, parts=tuple(new)) if new else message
        for message, new in zip(messages, parts, strict=True)
    )
    return tuple(restored), complaints


def _is_large(part: Part) -> bool:
    if isinstance(part, ToolResult):
        return len(part.text) > LARGE or any(len(image.data) > LARGE for image in part.images)
    return isinstance(part, Image) and len(part.data) > LARGE


def _redacted(part: Part, redact: Callable[[str], str] | None) -> Part:
    if redact is None or not isinstance(part, ToolResult):
        return part
    return msgspec.structs.replace(part, text=redact(part.text))


def _lighten(part: Part, directory: Path, message: int, index: int, files: list[SideFile]) -> Part:
    def store(data: bytes, image: int = -1) -> bool:
        name = _write(data, directory)
        if name:
            files.append(SideFile(index, name, len(data), message, image))
        return bool(name)

    if isinstance(part, Image):
        return Image(part.mime, b"") if store(part.data) else part
    if not isinstance(part, ToolResult):
        return part
    if len(part.text) > LARGE and store(part.text.encode("utf-8", "replace")):
        part = msgspec.structs.replace(part, text="")
    images = tuple(
        Image(image.mime, b"") if len(image.data) > LARGE and store(image.data, number) else image
        for number, image in enumerate(part.images)
    )
    return msgspec.structs.replace(part, images=images)


def _write(data: bytes, directory: Path) -> str:
    """The name it has in `directory`, or "" when it could not be written."""
    from codetether.files import write_atomic

    name = _name_of(data)
    path = directory / name
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size != len(data):
            write_atomic(path, data, mode=0o600)
    except OSError:
        return ""
    return name


def _name_of(data: bytes) -> str:
    import hashlib  # loads OpenSSL, which most sessions never need

    return hashlib.sha256(data).hexdigest()


def _read(file: SideFile, directory: Path) -> bytes:
    if not NAME.fullmatch(file.name):
        raise ValueError("its name is not a hash")
    data = (directory / file.name).read_bytes()
    if _name_of(data) != file.name:
        raise ValueError("its bytes were altered")
    return data


def _restored(part: Part, file: SideFile, data: bytes) -> Part:
    if isinstance(part, Image):
        return Image(part.mime, data)
    if not isinstance(part, ToolResult):
        raise ValueError("its place holds no result")  # noqa: TRY004 - a damaged file, not a wrong call
    if file.image < 0:
        return msgspec.structs.replace(part, text=data.decode("utf-8", "replace"))
    images = list(part.images)
    images[file.image] = Image(images[file.image].mime, data)
    return msgspec.structs.replace(part, images=tuple(images))


def _mark_lost(parts: list[list[Part]], file: SideFile) -> None:
    """Leave words where the content was: an empty picture would be refused by every vendor."""
    try:
        part = parts[file.message][file.part]
    except IndexError:
        return
    note = f"[{file.size} bytes of content were lost]"
    if isinstance(part, ToolResult):
        images = tuple(image for image in part.images if image.data)
        text = f"{part.text}\n{note}" if part.text else note
        part = msgspec.structs.replace(part, text=text, images=images)
    elif isinstance(part, Image):
        part = Text(note)
    parts[file.message][file.part] = part
