"""Make a picture of a terminal from a real run: `python core/dev/picture.py OUT.svg [--columns N] [--title T] -- COMMAND...`.

The command runs on a pseudo terminal; pyte keeps the screen it draws, scrolled-off lines included; rich writes the SVG.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME
from rich.text import Text

ROWS = 200


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--title", default="")
    parser.add_argument(
        "--until", default="", help="leave out the lines from the first with this text on"
    )
    at = words.index("--")
    args, command = parser.parse_args(words[:at]), words[at + 1 :]
    lines = screen(command, args.columns)
    if args.until:
        lines = lines[
            : next((i for i, line in enumerate(lines) if args.until in line.plain), len(lines))
        ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(svg(lines, args.columns, args.title or " ".join(command)), "utf-8")
    return 0


def screen(command: list[str], columns: int) -> list[Text]:
    """What the terminal shows when the command has ended."""
    display = pyte.Screen(columns, ROWS)
    stream = pyte.ByteStream(display)
    pid, descriptor = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
        os.execvp(command[0], command)  # noqa: S606
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    while True:
        try:
            data = os.read(descriptor, 65_536)
        except OSError:
            break
        if not data:
            break
        stream.feed(data)
    os.waitpid(pid, 0)
    lines = [line_of(display.buffer[row], columns) for row in range(ROWS)]
    for line in lines:
        line.rstrip()
    while lines and not lines[-1].plain.strip():
        lines.pop()
    return lines


def line_of(row: dict[int, pyte.screens.Char], columns: int) -> Text:
    """A row of the screen, one piece for each run of cells that look the same."""
    text = Text()
    cells = [row[column] for column in range(columns)]
    for style, run in groupby(cells, key=_style):
        text.append("".join(cell.data for cell in run), style)
    return text


def _style(char: pyte.screens.Char) -> Style:
    return Style(
        color=_colour(char.fg),
        bgcolor=_colour(char.bg),
        bold=char.bold,
        italic=char.italics,
        underline=char.underscore,
        reverse=char.reverse,
    )


def _colour(name: str) -> str | None:
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return {"brown": "yellow"}.get(name, name.replace("bright", "bright_"))


def svg(lines: list[Text], columns: int, title: str, *, light: bool = False) -> str:
    """The picture, with no address of anything outside it; `light`: in a terminal with a white background."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(line, soft_wrap=True)
    text = console.export_svg(
        title=title, unique_id="t", theme=DEFAULT_TERMINAL_THEME if light else SVG_EXPORT_THEME
    )
    text = re.sub(r"@font-face \{.*?\}", "", text, flags=re.DOTALL)
    return text.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
