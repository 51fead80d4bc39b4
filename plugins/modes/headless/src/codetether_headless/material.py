"""What a person hands over with a prompt: words, standard input, files and mentions of files in the workspace.

`@path` in the words names a file (its text is added), a picture (it is attached) or a directory (its names are listed),
inside the workspace. What is piped in beside a prompt is data: mentions in it mean nothing.
"""

from __future__ import annotations

import os
import re
import select
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import msgspec
import trio
from codetether.api import Image, ToolError, UsageError, Workspace

FILE_LIMIT = 64 * 1024
TOTAL_LIMIT = 256 * 1024
IMAGE_LIMIT = 5 * 1024 * 1024
NAMES = 200
CUT = "attachments"  # the key in Session.state
WAIT_NOTE = 2.0
# Compiled (and kept, by re) when first needed: most prompts mention nothing.
MENTION = r"""(?<![\w@/.])@(?:"([^"\n]+)"|([^\s"'`<>|@]+))"""
TRAILING = ".,;:!?)]}"
MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


class Cut(msgspec.Struct, frozen=True):
    """A file of `size` bytes of which only the beginning is in the prompt. With `root`, that of the workspace, `path` is
    relative to it; without, a person named it and it may be anywhere.
    """

    path: Path
    size: int
    root: Path | None = None


class Material(msgspec.Struct, frozen=True):
    """A prompt ready to send: its text with everything added, pictures, and notes for the person. `cut` goes to
    `Session.state[CUT]` before the prompt: a plugin may make more of it.
    """

    text: str
    images: tuple[Image, ...] = ()
    notes: tuple[str, ...] = ()
    cut: tuple[Cut, ...] = ()


async def read_material(
    directory: Path, words: Sequence[str], files: Sequence[str] = (), stdin: TextIO | None = None
) -> Material:
    """Put the prompt together. `-` among the words, or no words at all, means standard input.

    Raises UsageError when there is no prompt or a file named with --file cannot be read.
    """
    _check(directory)
    asked = _sound(" ".join(word for word in words if word != "-").strip())
    piped = await _standard_input(stdin, wanted="-" in words or not words)
    prompt = asked or piped.strip()
    if not prompt:
        raise UsageError(
            "there is no prompt",
            'give it as an argument, or on standard input: echo "…" | codetether exec -',
        )
    basket = _Basket(Workspace(directory))
    for name in files:
        await basket.add_file(name)
    for path in mentions(prompt):
        await basket.add_mention(path)
    if asked and piped.strip():
        basket.add("stdin", "", piped)
    return basket.material(prompt)


async def add_mentions(directory: Path, prompt: str) -> Material:
    """`prompt` as it was typed, with the files, pictures and directories it mentions."""
    basket = _Basket(Workspace(directory))
    for path in mentions(prompt):
        await basket.add_mention(path)
    return basket.material(prompt)


def _sound(text: str) -> str:
    """Words of the command line as text that can be sent: bytes of another encoding are replaced."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _check(directory: Path) -> None:
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")


def mentions(text: str) -> list[str]:
    """The paths mentioned as @path or @"a path", each once, in order."""
    if "@" not in text:
        return []
    found = (quoted or bare.rstrip(TRAILING) for quoted, bare in re.findall(MENTION, text))
    return list(dict.fromkeys(path for path in found if path))


class _Basket:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.blocks: list[str] = []
        self.images: list[Image] = []
        self.notes: list[str] = []
        self.cut: list[Cut] = []
        self._left = TOTAL_LIMIT

    def material(self, prompt: str) -> Material:
        """The prompt with all that was added."""
        text = "\n\n".join([prompt, *self.blocks])
        return Material(text, tuple(self.images), tuple(self.notes), tuple(self.cut))

    async def add_file(self, name: str) -> None:
        """A file the person named: it may be anywhere."""
        try:
            data, whole = await trio.to_thread.run_sync(_read, name)
        except OSError as error:
            raise UsageError(f"cannot read {name}: {error.strerror or error}") from None
        if self._data(name, data) and whole is not None:
            self.cut.append(whole)

    async def add_mention(self, path: str) -> None:
        """A file, picture or directory of the workspace; what cannot be had is said, and the words stay."""
        workspace = self.workspace
        try:
            if workspace.is_inside(path) and (workspace.root / workspace.relative(path)).is_dir():
                self._names(path)
            elif self._data(path, await workspace.read(path, IMAGE_LIMIT + 1)):
                size = workspace.stat(path).st_size
                self.cut.append(Cut(Path(workspace.relative(path)), size, workspace.root))
        except ToolError as error:
            reason = error.text.partition("\n")[0]
            self.notes.append(f"@{path} is not attached: {reason}")

    def _names(self, path: str) -> None:
        root = self.workspace.root / self.workspace.relative(path)
        names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(root))
        more = f"\n… and {len(names) - NAMES} more" if len(names) > NAMES else ""
        self.add("directory", path, "\n".join(names[:NAMES]) + more)

    def _data(self, path: str, data: bytes) -> bool:
        """Whether it was cut."""
        if mime := _picture(data):
            if len(data) > IMAGE_LIMIT:
                self.notes.append(
                    f"{path} is not attached: pictures may have {IMAGE_LIMIT // 1024**2} MiB"
                )
            else:
                self.images.append(Image(mime, data))
        elif b"\0" in data[:8192]:
            self.notes.append(f"{path} is not attached: it is neither text nor a picture")
        else:
            return self.add("file", path, data.decode("utf-8", "replace"))
        return False

    def add(self, kind: str, path: str, text: str) -> bool:
        """A block of text, cut where the limits are; whether it was."""
        limit = min(FILE_LIMIT, self._left)
        data = text.encode("utf-8", "replace")
        self._left -= min(limit, len(data))
        if len(data) > limit:
            text = (
                data[:limit].decode("utf-8", "ignore")
                + f"\n[cut: the first {limit:,} bytes of more]"
            )
            self.notes.append(
                f"{path or 'standard input'} is long: only its first {limit:,} bytes are attached"
            )
        name = f' path="{path}"' if path else ""
        newline = "" if text.endswith("\n") else "\n"
        self.blocks.append(f"<{kind}{name}>\n{text}{newline}</{kind}>")
        return len(data) > limit


def _read(name: str) -> tuple[bytes, Cut | None]:
    """The beginning of a file, and where all of it is; None for a pipe, of which there is no more."""
    path = os.path.abspath(os.path.expanduser(name))
    with open(path, "rb") as file:
        about = os.fstat(file.fileno())
        whole = Cut(Path(path), about.st_size) if stat.S_ISREG(about.st_mode) else None
        return file.read(IMAGE_LIMIT + 1), whole


def _picture(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for start, mime in MAGIC.items() if data.startswith(start)), "")


# --- standard input ----------------------------------------------------------------------------------------------
async def _standard_input(stdin: TextIO | None, *, wanted: bool) -> str:
    """All of standard input, if something is connected to it. A person at a terminal is waited for only when asked."""
    if stdin is None or stdin.closed:
        return ""
    try:
        fd = stdin.fileno()
        kind = os.fstat(fd).st_mode
    except (OSError, ValueError):
        return stdin.read() if wanted else ""
    piped = stat.S_ISFIFO(kind) or stat.S_ISREG(kind) or stat.S_ISSOCK(kind)
    if not piped and not wanted:
        return ""
    if os.isatty(fd):
        print("type the prompt, end it with Ctrl-D:", file=sys.stderr)
    data = await trio.to_thread.run_sync(
        _read_all, fd, piped and not wanted, abandon_on_cancel=True
    )
    return data.decode("utf-8", "replace")


def _read_all(fd: int, note: bool) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while size <= TOTAL_LIMIT:
        if note and not select.select([fd], [], [], WAIT_NOTE)[0]:
            print("reading standard input; for none, add </dev/null", file=sys.stderr, flush=True)
        note = False
        piece = os.read(fd, 65536)
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)
