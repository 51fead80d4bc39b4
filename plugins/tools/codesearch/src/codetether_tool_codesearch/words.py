"""Identifiers as words: `parseHTTPHeader` and `parse_http_header` are both "parse http header"."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Linear on any text: fixed-width looks around one place.
_SEAMS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")
_WORD = re.compile(r"[^\W_]+")
# What questions about code are made of, and says nothing about which code.
_IDLE = (
    "a about all an and any are as at be been by can code defined definition do does done each every file find for "
    "from function functions get gets has have how i if implementation implemented in into is it its "
    "like look looking logic made me method methods of on one or our part place "
    "program responsible show so some somewhere such that the them then there thing things this those to up "
    "used uses using was way we what when where which who will with you"
)
IDLE = frozenset(_IDLE.split())


def split(text: str) -> str:
    """`text` with its identifiers taken apart, letters as they were."""
    return _SEAMS.sub(" ", text)


def wanted(query: str) -> list[str]:
    """The words of a question, lower case, each once, in order; without idle ones unless there are no others."""
    words = list(dict.fromkeys(word.casefold() for word in _WORD.findall(split(query))))
    return [word for word in words if word not in IDLE] or words


_KINDS = "class|struct|trait|interface|enum|type|function|method|def|fn|func|module|macro|constant|const|namespace"
_AFTER_KIND = re.compile(rf"\b(?:{_KINDS})\s+`?([^\W\d]\w*)", re.IGNORECASE)
_QUOTED = re.compile(r"[`'\"]([^\W\d][\w.:#]*)[`'\"(]")
_IDENTIFIER = re.compile(r"[^\W\d][\w.:#]*")


def names(query: str) -> list[str]:
    """What in a question is written like a name in code: `Foo`, parse_args, HttpClient, Session.prompt, class foo."""
    found = [*_QUOTED.findall(query), *_AFTER_KIND.findall(query)]
    words = _IDENTIFIER.findall(query)
    if len(words) == 1:
        found += words
    found += [word for at, word in enumerate(words) if _looks_like_code(word, first=at == 0)]
    tidy = [name.strip(".:#") for name in found]
    return [name for name in dict.fromkeys(tidy) if name.casefold() not in IDLE]


def _looks_like_code(word: str, *, first: bool) -> bool:
    inner = word.strip(".:#")
    if "_" in inner or any(sign in inner for sign in ".:#"):
        return True
    humps = any(ch.isupper() for ch in inner[1:]) and not inner.isupper()
    return humps or (inner[:1].isupper() and not first and len(inner) > 1 and not inner.isupper())


def last_part(name: str) -> tuple[str, str]:
    """Container and name of a dotted name: `a.B.c`, `B::c` and `B#c` give ("B", "c")."""
    parts = [part for part in re.split(r"[.:#]+", name) if part]
    return (parts[-2] if len(parts) > 1 else "", parts[-1] if parts else "")


def joined(parts: Iterable[str]) -> str:
    """The parts that are there, with a space between."""
    return " ".join(part for part in parts if part)
