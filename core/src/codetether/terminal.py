"""The border to a terminal: nothing that others wrote reaches it as a command.

Text of models, tools, files and people's names goes through `clean` or a `Cleaner` before it is shown. The transcript
keeps the raw text; this is about showing only. Colours are made here, by `Style`, and nowhere else.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from typing import TextIO

COLUMNS = 80
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
# Compiled (and kept, by re) when first needed: plain text needs neither.
_ANY = f"\r\n|{_COLOUR}|{_CONTROL}|{_INVISIBLE}"
_EACH = f"{_CONTROL}|{_INVISIBLE}"
# What can hide an order in a text, or turn its order around; the flags of England and its like are made of such too.
_HIDING = "\U0001f3f4[\U000e0061-\U000e007a]+\U000e007f|[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
_JOINERS = "\u200c\u200d"  # needed by Persian, Indic scripts and emoji; suspicious after ASCII
_VARIANTS = "\ufe0e\ufe0f"  # text or picture form of the character before


def clean(text: str, *, exact: bool = False) -> str:
    """`text` fit for a terminal: control, bidi and invisible characters become visible placeholders.

    Tab and newline stay, CR LF becomes LF, colour sequences are dropped. With `exact` nothing is dropped: for what a
    person is asked to approve.
    """
    if text.isascii() and text.isprintable():
        return text
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
            if text.isascii() and text.replace("\n", "").isprintable()
            else re.sub(self._pattern, self._replace, text)
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
            and not re.match(_EACH, before)
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


def hiding(text: str) -> int:
    """How many characters of `text` a model reads and a person does not see: tags, bidi controls and their like."""
    if text.isascii():
        return 0
    return sum(len(found.group()) == 1 for found in re.finditer(_HIDING, text))


def unhide(text: str) -> str:
    """`text` with those characters made visible."""
    if text.isascii():
        return text
    return re.sub(
        _HIDING, lambda found: placeholder(one) if len(one := found.group()) == 1 else one, text
    )


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
