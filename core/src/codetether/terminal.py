"""The border to a terminal: nothing that others wrote reaches it as a command, and every write can be waited for.

Text of models, tools, files and people's names goes through `clean` or a `Cleaner` before it is shown. The transcript
keeps the raw text; this is about showing only. Colours are made here, by `Style`, and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import unicodedata
from collections.abc import Mapping
from typing import Any, TextIO

import trio

COLUMNS = 80
WRITABLE = 4096  # POSIX: a pipe that is ready takes this many bytes without blocking
HELD = 64  # longest beginning of a colour sequence kept back until the next piece

# Colour sequences alone are dropped: they can hide nothing but digits. Whatever else starts with ESC stays readable.
_COLOUR = r"(?:\x1b\[|\x9b)[0-9;:]{0,60}m"
_UNFINISHED = re.compile(r"(?:\r|\x1b(?:\[[0-9;:]{0,60})?|\x9b[0-9;:]{0,60})\Z")
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_INVISIBLE = (
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_ANY = re.compile(f"\r\n|{_COLOUR}|{_CONTROL}|{_INVISIBLE}")
_EACH = re.compile(f"{_CONTROL}|{_INVISIBLE}")
_JOINERS = "\u200c\u200d"  # needed by Persian, Indic scripts and emoji; suspicious after ASCII
_VARIANTS = "\ufe0e\ufe0f"  # text or picture form of the character before


def clean(text: str, *, exact: bool = False) -> str:
    """`text` fit for a terminal: control, bidi and invisible characters become visible placeholders.

    Tab and newline stay, CR LF becomes LF, colour sequences are dropped. With `exact` nothing is dropped: for what a
    person is asked to approve.
    """
    return Cleaner(exact=exact).feed(text, last=True)


class Cleaner:
    """`clean` for text that comes in pieces: the result is the same wherever the pieces were cut."""

    def __init__(self, *, exact: bool = False) -> None:
        self._pattern = _EACH if exact else _ANY
        self._exact = exact
        self._held = ""
        self._before = ""

    def feed(self, text: str, *, last: bool = False) -> str:
        """The next piece, cleaned; `last` also gives what was kept back waiting for more."""
        text = self._held + text
        self._held = ""
        if not (last or self._exact) and (
            cut := _UNFINISHED.search(text, max(0, len(text) - HELD))
        ):
            self._held = text[cut.start() :]
            text = text[: cut.start()]
        if not text:
            return ""
        shown = (
            text
            if text.isascii() and text.isprintable()
            else self._pattern.sub(self._replace, text)
        )
        self._before = text[-1]
        return shown

    def end(self) -> str:
        """What was kept back; call it when no more comes."""
        return self.feed("", last=True)

    def _replace(self, match: re.Match[str]) -> str:
        found = match.group()
        if found == "\r\n":
            return "\n"
        if len(found) > 1:
            return ""  # a colour
        before = match.string[match.start() - 1] if match.start() else self._before
        if (
            found in _JOINERS + _VARIANTS
            and before
            and not before.isascii()
            and not _EACH.match(before)
        ):
            return found
        return placeholder(found)


def placeholder(character: str) -> str:
    """The visible form of a character that must not reach a terminal."""
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"<U+{code:04X}>"


def one_line(text: str, width: int | None = None) -> str:
    """`text` cleaned, on one line, cut to `width` terminal cells with an ellipsis."""
    line = " ".join(clean(text).split())
    return line if width is None else fit(line, width)


def fit(line: str, width: int) -> str:
    """`line` (already clean) cut to `width` cells; the last one becomes an ellipsis when something was cut."""
    if cells(line) <= width:
        return line
    taken, used = [], 0
    for character in line:
        used += cells(character)
        if used > width - 1:
            break
        taken.append(character)
    return "".join(taken) + "…" if width > 0 else ""


def cells(text: str) -> int:
    """How many columns `text` takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(character) for character in text)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or character in _JOINERS + _VARIANTS:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


# --- what the terminal can do ------------------------------------------------------------------------------------
def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person may be looking at `stream`."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def wants_colour(stream: TextIO | None, env: Mapping[str, str] = os.environ) -> bool:
    """Colour on a terminal, unless NO_COLOR is set or TERM is dumb or unknown."""
    return is_terminal(stream) and not env.get("NO_COLOR") and can_move(env)


def can_move(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal understands escape sequences at all."""
    return env.get("TERM", "") not in ("", "dumb")


def columns(stream: TextIO | None) -> int:
    """The width of the terminal now; 80 when it cannot be told."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS if stream else COLUMNS
    except (OSError, ValueError):
        return COLUMNS


class Style:
    """Colours of our own; each method gives its text unchanged when `on` is false. Give it cleaned text."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def _sgr(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and text else text

    def dim(self, text: str) -> str:
        """Less important."""
        return self._sgr("2", text)

    def bold(self, text: str) -> str:
        """More important."""
        return self._sgr("1", text)

    def red(self, text: str) -> str:
        """Failed, removed."""
        return self._sgr("31", text)

    def green(self, text: str) -> str:
        """Done, added."""
        return self._sgr("32", text)

    def yellow(self, text: str) -> str:
        """A warning, a question."""
        return self._sgr("33", text)

    def cyan(self, text: str) -> str:
        """A place in a file."""
        return self._sgr("36", text)

    def diff(self, text: str) -> str:
        """A unified diff, cleaned and coloured line by line."""
        return "\n".join(
            self._diff_line(line) for line in clean(text, exact=True).rstrip("\n").split("\n")
        )

    def _diff_line(self, line: str) -> str:
        if line.startswith(("+++", "---", "diff ", "index ")):
            return self.bold(line)
        paint = {"+": self.green, "-": self.red, "@": self.cyan}.get(line[:1])
        return paint(line) if paint else line


class Output:
    """Writes to a stream without ever holding up trio: a full pipe or a stopped terminal blocks a thread only.

    Goes round the stream's own buffer, so that nothing is left in it when the process ends. Raises BrokenPipeError.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal = is_terminal(stream)
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower()
        self.unicode = encoding.replace("-", "") == "utf8"
        self._encoding = encoding
        try:
            stream.flush()
            self._fd = stream.fileno()
        except (OSError, ValueError, AttributeError):
            self._fd = -1

    async def write(self, text: str | bytes) -> None:
        """Write all of `text`. Cancelled, it may have written a part."""
        data = text if isinstance(text, bytes) else text.encode(self._encoding, "replace")
        if self._fd < 0 or (len(data) <= WRITABLE and self._ready()):
            self._all(data)
            await trio.lowlevel.checkpoint()
        else:
            await trio.to_thread.run_sync(self._all, data, abandon_on_cancel=True)

    def write_now(self, text: str) -> None:
        """Write a few characters if the stream takes them at once, else nothing: for the way out."""
        if self._fd < 0 or self._ready():
            try:
                self._all(text.encode(self._encoding, "replace"))
            except OSError:
                return

    def _ready(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(0))

    def _all(self, data: bytes) -> None:
        if self._fd < 0:
            self.stream.write(data.decode(self._encoding))
            self.stream.flush()
        view = memoryview(data)
        while self._fd >= 0 and view:
            view = view[os.write(self._fd, view) :]


async def read_line(fd: int, limit: int = 4096) -> str | None:
    """One line a person types on the terminal `fd`, without its newline; None at the end of input.

    The terminal stays in its normal mode, so there is nothing to restore whatever happens; the wait ends within
    0.1 s of being cancelled.
    """
    return await trio.to_thread.run_sync(_read_line, fd, limit)


def _read_line(fd: int, limit: int) -> str | None:
    data = b""
    while not data.endswith(b"\n") and len(data) < limit:
        if not _wait(fd):
            continue
        piece = os.read(fd, limit)
        if not piece:
            return data.decode("utf-8", "replace") if data else None
        data += piece
    return data.decode("utf-8", "replace").rstrip("\r\n")


def _wait(fd: int, seconds: float = 0.1) -> bool:
    trio.from_thread.check_cancelled()
    return bool(select.select([fd], [], [], seconds)[0])


def forget_typed_ahead(fd: int) -> None:
    """Drop what was typed before a question was on the screen: it was no answer to it."""
    import termios

    with contextlib.suppress(
        OSError, termios.error
    ):  # not a terminal after all: nothing is waiting
        termios.tcflush(fd, termios.TCIFLUSH)


def open_terminal(*streams: TextIO) -> int | None:
    """A descriptor for the terminal a person sits at, for reading and writing; None when there is none.

    Only if one of `streams` is a terminal: a job without one must not grab the terminal of its ancestors.
    """
    for path in ("/dev/tty", *(_name(stream) for stream in streams)):
        if any(is_terminal(stream) for stream in streams) and path:
            try:
                return os.open(
                    path, os.O_RDWR | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)
                )
            except OSError:
                continue
    return None


def _name(stream: Any) -> str:
    try:
        return os.ttyname(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return ""
