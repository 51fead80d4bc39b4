"""What a terminal would have left standing of a program's output: no colours, no overwritten progress lines."""

from __future__ import annotations

import re

# Bounded repeats: a pattern over untrusted text must not be slow. Compiled (and kept, by re) when first needed.
_ESCAPES = r"\x1b\[[0-?]{0,64}[ -/]{0,8}[@-~]|\x1b\][^\x07\x1b\n]{0,2048}(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78cDEHM]"


def settled(text: str) -> str:
    """`text` without escape sequences, and of each line only what stood after its last carriage return."""
    if "\x1b" in text:
        text = re.sub(_ESCAPES, "", text)
    if "\r" not in text:
        return text
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
