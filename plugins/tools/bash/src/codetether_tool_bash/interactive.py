"""Commands that can only wait for a person. Refused only when that is certain; all else runs and finds no terminal."""

from __future__ import annotations

import os
import re
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


_ASKS = (
    r"terminal prompts disabled|could not read (?:Username|Password)|a (?:terminal|password) is required"
    r"|no tty present|/dev/tty: No such device|not a (?:tty|terminal)|Inappropriate ioctl for device"
    r"|EOF when reading a line|Host key verification failed|Permission denied \(publickey"
    r"|problem with the editor|no askpass program|must be run from a terminal"
)


def wants_input(text: str) -> bool:
    """Whether a failed command's output says that it wanted to ask a person something."""
    return re.search(_ASKS, text[-4000:]) is not None
