"""Which key does what. The one table from which bindings, the help and the documentation are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from codetether.api import CodetetherError


class Action(msgspec.Struct, frozen=True):
    """What a key can be bound to. `keys`: each a key or a sequence parted by blanks, as prompt_toolkit names them."""

    name: str
    keys: tuple[str, ...]
    about: str


ACTIONS = (
    Action("send", ("enter",), "send the message"),
    Action("newline", ("escape enter", "c-j"), "begin a new line"),
    Action("stop", ("escape",), "stop the turn; close what is open; twice: go back to a message"),
    Action("interrupt", ("c-c",), "stop the turn, empty the input; twice: leave"),
    Action("quit", ("c-q",), "leave"),
    Action("help", ("f1", "c-_"), "these keys; also ? on an empty line"),
    Action(
        "model", ("f4", "escape m", "f24"), "choose the model (Ctrl+M where the terminal sends it)"
    ),
    Action("sessions", ("f5",), "choose a session"),
    Action("agent", ("tab",), "switch between build and plan; in a command: complete"),
    Action("layout", ("c-b",), "three columns, or the chat alone"),
    Action("inspector", ("f3",), "show or hide the inspector"),
    Action("board", ("f2", "c-s"), "swarm or Ralph, and back to the chat"),
    Action("up", ("pageup",), "a page up"),
    Action("down", ("pagedown",), "a page down"),
    Action("line-up", ("escape k",), "a line up; also Up on an empty line"),
    Action("line-down", ("escape j",), "a line down; also Down on an empty line"),
    Action("some-up", ("escape u",), "five lines up"),
    Action("some-down", ("escape d",), "five lines down"),
    Action("top", ("c-g", "c-home"), "the beginning"),
    Action("end", ("escape g", "c-end"), "the end"),
    Action("select-up", ("escape up",), "select the tool call above"),
    Action("select-down", ("escape down",), "select the tool call below"),
    Action("open", ("c-o",), "open or close the selected tool call, else the last"),
    Action("history-back", ("c-up",), "the message before in the history"),
    Action("history-forward", ("c-down",), "the message after in the history"),
    Action("search", ("c-r",), "search the history"),
    Action("editor", ("c-x c-e",), "write the message in $EDITOR"),
    Action("copy", ("escape c",), "copy the last answer to the clipboard of the terminal"),
    Action("redraw", ("c-l",), "draw the screen anew"),
    Action("suspend", ("c-z",), "suspend; fg comes back"),
)
_SHOWN = {
    "escape": "Esc", "enter": "Enter", "tab": "Tab", "pageup": "PgUp", "pagedown": "PgDn", "up": "Up", "down": "Down",
    "home": "Home", "end": "End", "_": "/",
}  # fmt: skip


def bound(changes: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The keys of every action, with a person's changes. Raises CodetetherError for an action there is not."""
    keys = {action.name: action.keys for action in ACTIONS}
    for name, chosen in changes.items():
        if name not in keys:
            raise CodetetherError(
                f"keys: there is no action {name!r}", f"there are: {', '.join(keys)}"
            )
        keys[name] = tuple(chosen)
    return keys


def help_rows(keys: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Keys as a person reads them, and what they do; an action without a key is left out."""
    about = {action.name: action.about for action in ACTIONS}
    return [
        (", ".join(shown(key) for key in chosen if key != "f24"), about[name])
        for name, chosen in keys.items()
        if chosen
    ]


def hints(keys: Mapping[str, tuple[str, ...]]) -> str:
    """The keys that stand in the status bar."""
    named = (("help", "help"), ("model", "model"), ("agent", "plan"), ("layout", "layout"))
    return "  ".join(f"{shown(keys[name][0])} {word}" for name, word in named if keys[name])


def first_steps(keys: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """What a newcomer needs: keys and what they do."""
    named = (
        ("agent", "plans first, and changes nothing"),
        ("model", "chooses the model"),
        ("newline", "begins a new line"),
    )
    rows = [
        ("/", "lists the commands"),
        ("@", "names a file"),
        ("?", "shows all keys and commands"),
    ]
    return rows + [(shown(keys[name][0]), about) for name, about in named if keys[name]]


def shown(key: str) -> str:
    """`escape m` as Alt+M, `c-x c-e` as Ctrl+X Ctrl+E."""
    parts = key.split()
    if len(parts) == 2 and parts[0] == "escape":
        return f"Alt+{_name(parts[1])}"
    return " ".join(_name(part) for part in parts)


def _name(part: str) -> str:
    for prefix, word in (("c-", "Ctrl+"), ("s-", "Shift+")):
        if part.startswith(prefix):
            return word + _name(part[len(prefix) :])
    return _SHOWN.get(
        part, part.upper() if len(part) == 1 or part.startswith("f") else part.title()
    )
