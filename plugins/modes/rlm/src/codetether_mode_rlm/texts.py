"""The texts models are given, each in a file of its own in `prompts`, and how what is not ours is put into them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import codetether_crew as crew

CONTROL = bytes([*range(9), 11, 12, *range(14, 32), 127])
HIGH_CONTROL = re.compile(rb"\xc2[\x80-\x9f]")  # U+0080 to U+009F
NAMED = 30  # sources a model is told by name


def filled(name: str, /, **given: str) -> str:
    """The text `name` with its `{words}` replaced."""
    return crew.filled(Path(__file__).parent / "prompts" / f"{name}.md", **given)


def data(kind: str, mark: str, text: str) -> str:
    """`text` as data: between tags that it cannot close, because `mark` is this run's own; without control characters."""
    return f"<{kind}-{mark}>\n{_sound(text)}\n</{kind}-{mark}>"


def _sound(text: str) -> str:
    """`text` without control characters. As bytes: `str.translate` takes 7 ms for 100 KB that are not all ASCII, this 0.2."""
    data = text.encode("utf-8", "replace").translate(None, CONTROL)
    if b"\xc2" in data:
        data = HIGH_CONTROL.sub(b"", data)
    return data.decode()


def cut(text: str, size: int) -> str:
    """The beginning and the end of `text`, at most `size` characters and a line that says so."""
    if len(text) <= size:
        return text
    head, tail = size * 2 // 3, size // 3
    return f"{text[:head]}\n[{len(text) - head - tail} characters left out]\n{text[len(text) - tail :]}"


def about(facts: dict[str, Any]) -> str:
    """The sources for a model: how many, how large, of what kind, the first by name."""
    sources = facts["sources"]
    number = f"{len(sources)} source{'s' * (len(sources) != 1)}"
    kind = f"{facts['kind']} ({facts['confidence']:.0%} sure)"
    lines = [f"{number}, {size_of(facts['bytes'])}, {kind}"]
    lines += [f"- {each['name']!r}: {size_of(each['bytes'])}" for each in sources[:NAMED]]
    if len(sources) > NAMED:
        lines.append(f"- and {len(sources) - NAMED} more")
    if not facts["python"]:
        lines.append("Python is not run here, since no sandbox confines it: use the commands.")
    return "\n".join(lines)


def size_of(number: int) -> str:
    """Bytes for people: 950 bytes, 12.3 kB, 4.1 MB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} bytes"
