"""Themes: the thirteen documented colours, in every documented form, over a preset; shipped ones and people's own.

A theme is a TOML file `NAME.toml` in `themes/` of the user's configuration, or the table `[plugins."modes:tui".custom_theme]`.
What it leaves out is taken from its `base` (default: dark). Colours: a name, `#rrggbb`, `[r, g, b]`, an index of the
256-colour table, or the forms `{ Named = "…" }`, `{ Rgb = […] }`, `{ Indexed = … }`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from codetether.api import CodetetherError

NAMES = {
    "black": "ansiblack", "red": "ansired", "green": "ansigreen", "yellow": "ansiyellow", "blue": "ansiblue",
    "magenta": "ansimagenta", "cyan": "ansicyan", "white": "ansiwhite", "gray": "ansigray", "grey": "ansigray",
    "lightgray": "ansigray", "lightgrey": "ansigray", "darkgray": "ansibrightblack", "darkgrey": "ansibrightblack",
    "lightred": "ansibrightred", "lightgreen": "ansibrightgreen", "lightyellow": "ansibrightyellow",
    "lightblue": "ansibrightblue", "lightmagenta": "ansibrightmagenta", "lightcyan": "ansibrightcyan",
    "darkred": "ansired", "darkgreen": "ansigreen", "darkyellow": "ansiyellow", "darkblue": "ansiblue",
    "darkmagenta": "ansimagenta", "darkcyan": "ansicyan",
}  # fmt: skip
FIELDS = (
    "user_color", "assistant_color", "system_color", "tool_color", "error_color", "border_color",
    "input_border_color", "help_border_color", "timestamp_color", "code_block_color",
    "status_bar_foreground", "status_bar_background", "background",
)  # fmt: skip
_16 = (
    "ansiblack", "ansired", "ansigreen", "ansiyellow", "ansiblue", "ansimagenta", "ansicyan", "ansigray",
    "ansibrightblack", "ansibrightred", "ansibrightgreen", "ansibrightyellow", "ansibrightblue",
    "ansibrightmagenta", "ansibrightcyan", "ansiwhite",
)  # fmt: skip


class Theme(msgspec.Struct, frozen=True):
    """Colours as prompt_toolkit writes them, empty for the terminal's own. `code`: a Pygments style for code."""

    name: str
    dark: bool
    code: str
    colors: dict[str, str]
    text: str = ""

    def __getitem__(self, field: str) -> str:
        return self.colors[field]


def _shipped_file(name: str) -> Path:
    return Path(__file__).parent / "themes" / f"{name}.toml"


def shipped() -> list[str]:
    """The names of the themes that come with the interface."""
    return sorted(path.stem for path in (Path(__file__).parent / "themes").glob("*.toml"))


def names(folder: Path) -> list[str]:
    """Every theme that can be chosen; `folder` holds the user's own."""
    return sorted({*shipped(), *(path.stem for path in folder.glob("*.toml"))})


def load(name: str, folder: Path, custom: Mapping[str, Any] | None = None) -> Theme:
    """The theme `name`, with single colours changed by `custom`. Raises CodetetherError saying what is wrong."""
    name = "dark" if name == "default" else name
    theme = _read(name, folder, depth=0)
    return _over(theme, custom, "custom_theme", theme.name) if custom else theme


def _read(name: str, folder: Path, depth: int) -> Theme:
    path = folder / f"{name}.toml"
    if not path.is_file():
        path = _shipped_file(name)
    if not path.is_file() or os.sep in name:
        known = ", ".join(names(folder))
        raise CodetetherError(f"there is no theme {name!r}", f"there are: {known}")
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CodetetherError(f"the theme {name} cannot be read: {error}", f"mend {path}") from None
    if path == _shipped_file(name):
        base = Theme(name, True, "", dict.fromkeys(FIELDS, ""))
    elif depth < 5:
        base_name = str(table.get("base", "dark"))
        base = _read(base_name if base_name != name else "dark", folder, depth + 1)
    else:
        raise CodetetherError(f"the theme {name} is based on itself", f"mend {path}")
    return _over(base, table, str(path), name)


def _over(base: Theme, table: Mapping[str, Any], where: str, name: str) -> Theme:
    known = {"base", "dark", "code", "text", *FIELDS}
    if unknown := sorted(set(table) - known):
        raise CodetetherError(
            f"{where}: there is no colour {unknown[0]!r}", f"there are: {', '.join(FIELDS)}"
        )
    colors = base.colors | {
        field: color(table[field], f"{where}: {field}") for field in FIELDS if field in table
    }
    return Theme(
        name,
        bool(table.get("dark", base.dark)),
        str(table.get("code", base.code)),
        colors,
        color(table["text"], f"{where}: text") if "text" in table else base.text,
    )


def color(value: Any, where: str = "colour") -> str:
    """A documented form as prompt_toolkit wants it. Raises CodetetherError."""
    if isinstance(value, Mapping) and len(value) == 1:
        kind, inner = next(iter(value.items()))
        if kind in ("Named", "Rgb", "Indexed"):
            value = inner
    if value is None or value == "none":
        return ""
    if isinstance(value, str):
        folded = value.strip().casefold()
        if (
            folded.startswith("#")
            and len(folded) == 7
            and all(c in "0123456789abcdef" for c in folded[1:])
        ):
            return folded
        if (named := NAMES.get(folded.replace("_", ""))) is not None:
            return named
    if isinstance(value, list) and len(value) == 3 and all(_is_byte(part) for part in value):
        return "#{:02x}{:02x}{:02x}".format(*value)
    if _is_byte(value):
        return _indexed(value)
    raise CodetetherError(
        f"{where}: {value!r} is no colour", "a name, #rrggbb, [r, g, b] or 0 to 255"
    )


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _indexed(index: int) -> str:
    if index < 16:
        return _16[index]
    if index >= 232:
        level = 8 + 10 * (index - 232)
        return f"#{level:02x}{level:02x}{level:02x}"
    red, green, blue = (index - 16) // 36, (index - 16) // 6 % 6, (index - 16) % 6
    levels = [0 if part == 0 else 55 + 40 * part for part in (red, green, blue)]
    return "#{:02x}{:02x}{:02x}".format(*levels)


# --- as prompt_toolkit's rules -----------------------------------------------------------------------------------
def rules(theme: Theme, *, few: bool = False) -> dict[str, str]:
    """The style rules of a theme, by class; `few`: the terminal has 16 colours, so that no tint is near what it should be."""
    c = theme.colors
    ground = f"bg:{c['background']}" if c["background"] else ""
    dim = c["timestamp_color"]
    add, remove = ("#7ee787", "#ff8f85") if theme.dark else ("#116329", "#82071e")
    grounds = ("#12261e", "#2d1517", "#1d572d", "#792024") if theme.dark else ("#e6ffec", "#ffebe9", "#abf2bc", "#ffc1c0")  # fmt: skip
    add, remove = f"{add} bg:{grounds[0]}", f"{remove} bg:{grounds[1]}"
    words = [f"bg:{ground}" for ground in grounds[2:]]
    if few:
        add, remove, words = "ansigreen", "ansired", ["underline", "underline"]
    return {
        "ground": f"{ground} {theme.text}".strip(),
        "user": f"bold {c['user_color']}",
        "user.bar": c["user_color"],
        "assistant": c["assistant_color"],
        "dim": dim,
        "thought": f"italic {dim}",
        "note": c["system_color"],
        "note.title": f"bold {c['system_color']}",
        "warning": c["system_color"],
        "error": f"bold {c['error_color']}",
        "tool": "",
        "tool.name": c["tool_color"],
        "tool.ok": c["user_color"],
        "tool.running": c["tool_color"],
        "tool.failed": c["error_color"],
        "output": dim,
        "key": c["tool_color"],
        "selected": f"reverse {c['tool_color']}",
        "border": c["border_color"],
        "title": f"bold {c['assistant_color']}",
        "input.border": c["input_border_color"],
        "busy": c["system_color"],
        "help.border": c["help_border_color"],
        "status": f"noreverse {c['status_bar_foreground']} bg:{c['status_bar_background']}",
        "status.hot": f"noreverse bold {c['status_bar_foreground']} bg:{c['status_bar_background']}",
        "md.heading": f"bold {c['assistant_color']}",
        "md.h1": "underline",
        "md.bullet": c["assistant_color"],
        "md.quote": dim,
        "md.rule": dim,
        "md.link": f"underline {c['assistant_color']}",
        "md.address": dim,
        "md.code": c["tool_color"],
        "md.code.edge": c["code_block_color"],
        "md.th": "bold",
        "diff.file": "bold",
        "diff.hunk": c["assistant_color"],
        "diff.add": add,
        "diff.add.word": words[0],
        "diff.remove": remove,
        "diff.remove.word": words[1],
        "diff.same.number": dim,
        "diff.same": "",
        "picker.at": f"noreverse {c['status_bar_foreground']} bg:{c['status_bar_background']}",
        "completion-menu.completion": f"noreverse {c['status_bar_foreground']} bg:{c['status_bar_background']}",
        "completion-menu.completion.current": "reverse",
        "completion-menu.meta.completion": f"noreverse {c['status_bar_foreground']} bg:{c['status_bar_background']}",
        "completion-menu.meta.completion.current": "reverse",
        "gauge": c["user_color"],
        "gauge.rest": c["border_color"],
        "scrollbar.button": f"bg:{c['border_color']}" if c["border_color"] else "reverse",
    }


def is_light(background: str | None, colorfgbg: str = "") -> bool | None:
    """Whether the terminal's background is light: its answer to OSC 11 (`rgb:rrrr/gggg/bbbb`), or COLORFGBG."""
    if background and background.startswith("rgb:"):
        parts = background.removeprefix("rgb:").split("/")
        try:
            red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in parts)
        except (ValueError, ZeroDivisionError):
            return None
        return bool(0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5)
    ground = colorfgbg.rpartition(";")[2]
    if ground.isdecimal():
        return int(ground) in (7, 15)
    return None
