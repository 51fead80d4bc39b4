"""What a search found, as text and for JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from codetether.api import MATCH_END, MATCH_START, Hit, Style, clean, one_line

from codetether_mode_sessions.view import entry


def hit_entry(hit: Hit) -> dict[str, Any]:
    """One session found."""
    snippet = hit.snippet.replace(MATCH_START, "").replace(MATCH_END, "")
    found = {"message": hit.message, "role": hit.role, "snippet": snippet, "matches": hit.count}
    return entry(hit.summary) | {"found": found}


def hits(found: Sequence[Hit], *, colour: bool) -> str:
    """The sessions found, each with the place that matched best."""
    style = Style(colour)
    lines = []
    for hit in found:
        more = f", {hit.count} places" if hit.count > 1 else ""
        title = one_line(hit.summary.title) or "(no title)"
        lines.append(f"{style.cyan(hit.summary.id)}  {hit.summary.updated[:10]}  {title}")
        lines.append(f"    {hit.role}{more}: {_marked(hit.snippet, style)}")
    return "\n".join(lines) + "\n"


def _marked(snippet: str, style: Style) -> str:
    pieces = re.split(f"[{MATCH_START}{MATCH_END}]", snippet)
    plain = [clean(piece).replace("\n", " ") for piece in pieces]
    return "".join(style.bold(piece) if odd % 2 else piece for odd, piece in enumerate(plain))
