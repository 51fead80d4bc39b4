"""Commands that can only wait for a person. Refused only when that is certain; all else runs and finds no terminal."""

from __future__ import annotations

import os
import shlex

EDITORS = frozenset({"vi", "vim", "nvim", "view", "nano", "pico", "emacs"})
SCREENS = {"top": "top -b -n 1", "htop": "ps aux", "btop": "ps aux", "watch": "the command itself"}
_SHELL_SIGNS = frozenset("|&;<>()$`\\\n*?[]{}#!")


def refusal(command: str) -> str:
    """What to tell the model instead of running `command`, or nothing.

    Only one plain command is judged: a name of the short list, with no option that may make it a batch program.
    """
    if _SHELL_SIGNS & set(command):
        return ""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    name = os.path.basename(words[0]) if words else ""
    if any(word.startswith(("-", "+")) for word in words[1:]):
        return ""
    if name in EDITORS:
        return f"{name} needs a person at a terminal. Use edit or write_file to change a file."
    if name in SCREENS:
        return f"{name} redraws a terminal until a person ends it. Run {SCREENS[name]} instead."
    return ""
