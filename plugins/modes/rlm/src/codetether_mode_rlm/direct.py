"""Small texts, sent whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether_mode_rlm import texts

if TYPE_CHECKING:
    from codetether_rlm.mapping import Mapped


def parts(found: Mapped, mark: str) -> tuple[str, list[tuple[str, int, int]]]:
    """All sources as text, each named, and the lines that are in it. They are small: who calls has looked."""
    blocks, ranges = [], []
    for part in found.parts:
        text = found.read(part, 0, part.size).decode("utf-8", "replace")
        blocks.append(f"{part.name!r}:\n{texts.data('text', mark, text)}")
        if lines := text.count("\n") + (not text.endswith("\n") and bool(text)):
            ranges.append((part.name, 1, lines))
    return "\n\n".join(blocks), ranges
