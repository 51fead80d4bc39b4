"""Patterns in permission rules: `*`, `?` and, for paths, `**`. Everything else is literal.

Matched by stepping through the text once with the set of pattern positions still possible: a pattern cannot be slow.
`fnmatch` has no `**`, lets `*` cross slashes, and reads `[...]`, which is common in commands and file names.
"""

from __future__ import annotations


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern` covers all of `text`; `*` is any run of characters, `?` any one."""
    if "?" not in pattern:
        return _pieces(pattern.split("*"), text)
    return _run([(ch if ch in "*?" else "", ch) for ch in pattern], text, slash_stops=False)


def _pieces(pieces: list[str], text: str) -> bool:
    """Whether `text` holds the pieces in order, the first at its start and the last at its end; commands can be long,
    and `str.find` is a hundred times quicker than a step for each character.
    """
    first, *middle = pieces
    if not middle:
        return text == first
    last = middle.pop()
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def path_matches(pattern: str, path: str) -> bool:
    """Whether a rule's path pattern covers `path` (relative, `/` between names, "." for the root).

    `**` crosses directories, `*` and `?` do not. A pattern without a slash is looked for in every directory, one that
    begins with a slash only at the root. What covers a directory's content (`secrets/**`, `secrets/`) covers it too.
    """
    pattern = pattern.rstrip("/") + "/**" if pattern.endswith("/") and pattern != "/" else pattern
    pattern = pattern.removeprefix("./")
    if "/" not in pattern:
        return any(_path(pattern, name) for name in path.split("/")[-1:]) or pattern == "**"
    pattern = pattern.lstrip("/")
    if pattern.endswith("/**") and _path(pattern[:-3], path):
        return True
    return _path(pattern, path)


def _path(pattern: str, path: str) -> bool:
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            tokens.append(("dirs", ""))
            at += 3
        elif pattern.startswith("**", at):
            tokens.append(("**", ""))
            at += 2
        else:
            tokens.append((pattern[at] if pattern[at] in "*?" else "", pattern[at]))
            at += 1
    return _run(tokens, path, slash_stops=True)


def _run(tokens: list[tuple[str, str]], text: str, *, slash_stops: bool) -> bool:
    """Step through `text`. Kinds: "" literal, `?`, `*` (stops at a slash for paths), `**`, `dirs` (whole directories)."""
    here = _closure({0}, tokens, at_start=True)
    for ch in text:
        following: set[int] = set()
        for position in here:
            if position == len(tokens):
                continue
            kind, literal = tokens[position]
            if kind == "":
                if literal == ch:
                    following.add(position + 1)
            elif kind in ("**", "dirs"):
                following.add(position)
            elif ch != "/" or not slash_stops:
                following.add(position + 1 if kind == "?" else position)
        here = _closure(following, tokens, at_start=ch == "/")
        if not here:
            return False
    return len(tokens) in here


def _closure(positions: set[int], tokens: list[tuple[str, str]], *, at_start: bool) -> set[int]:
    """The positions reachable without a character. `dirs` ends only where a name begins."""
    todo = list(positions)
    found = set(positions)
    while todo:
        position = todo.pop()
        if position == len(tokens):
            continue
        kind = tokens[position][0]
        if (kind in ("*", "**") or (kind == "dirs" and at_start)) and position + 1 not in found:
            found.add(position + 1)
            todo.append(position + 1)
    return found
