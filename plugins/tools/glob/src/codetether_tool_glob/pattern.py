"""Name patterns as regular expressions of ripgrep."""

from __future__ import annotations

import re

from codetether.api import ToolError

LONGEST = 1000
# no `**`, no choice within a choice, no empty one; and ripgrep takes no type for a name that ends with a dot
_SIMPLE = re.compile(
    r"(?!.*\*\*)(?!.*\.(?:$|[,}]))(?:[^\[\]{}?\\:!]|\{[^\[\]{}?\\:,!]+(?:,[^\[\]{}?\\:,!]+)*\})+"
)
_WILD = frozenset("*?[]{}\\")


def split_literal(pattern: str) -> tuple[str, str]:
    """The leading directories without wildcards, and the rest: `src/lib/*.py` is `src/lib` and `*.py`.

    So listing starts as deep as it can, and absolute or upward paths meet the workspace's own check.
    """
    parts = pattern.split("/")
    count = 0
    while count < len(parts) - 1 and not _WILD & set(parts[count]):
        count += 1
    literal = "/".join(parts[:count])
    if pattern.startswith("/") and not literal:
        literal = "/"
    rest = "/".join(parts[count:])
    if ".." in rest.split("/"):
        raise ToolError("`..` cannot come after a wildcard.", "INVALID_ARGUMENT")
    return literal, rest


def listing_options(pattern: str) -> tuple[list[str], bool]:
    """Options with which ripgrep lists what `pattern` covers and as little else as it can; whether nothing else.

    A name with stars and choices only is given as a file type of its own. For ripgrep `?` and `[...]` are bytes.
    """
    folders, _, name = pattern.rpartition("/")
    if any("/" in choice for choice in re.findall(r"\{[^}]*", pattern)):
        return [], False
    options: list[str] = []
    if "**" not in pattern:
        options.append(f"--max-depth={pattern.count('/') + 1}")
    if name in ("*", "**"):
        return options, folders in ("", "**")
    if not _SIMPLE.fullmatch(name):
        return options, False
    return [*options, f"--type-add=wanted:{name}", "--type=wanted"], folders in ("", "**")


def regex(pattern: str) -> str:
    """An expression for exactly the paths that `pattern` covers. Raises ToolError for an unfinished `[` or `{`."""
    if len(pattern) > LONGEST:
        raise ToolError(f"A pattern has at most {LONGEST} characters.", "INVALID_ARGUMENT")
    out: list[str] = []
    depth = at = 0
    while at < len(pattern):
        sign = pattern[at]
        if pattern.startswith("**", at):
            at, piece = _stars(pattern, at)
        elif sign == "[":
            at, piece = _choice(pattern, at)
        elif sign == "\\" and at + 1 < len(pattern):
            at, piece = at + 2, _literal(pattern[at + 1])
        else:
            depth += (sign == "{") - (sign == "}")
            if depth < 0:
                raise ToolError("A } without its {.", "INVALID_ARGUMENT")
            at, piece = at + 1, _sign(sign, inside=depth > 0)
        out.append(piece)
    if depth:
        raise ToolError("A { without its }.", "INVALID_ARGUMENT")
    return f"^(?-i:{''.join(out)})/?$"


def _sign(sign: str, *, inside: bool) -> str:
    if sign == "," and inside:
        return "|"
    return {"*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}.get(sign) or _literal(sign)


def _stars(pattern: str, at: int) -> tuple[int, str]:
    end = at
    while end < len(pattern) and pattern[end] == "*":
        end += 1
    begins = at == 0 or pattern[at - 1] in "/{,"
    if begins and pattern.startswith("/", end):
        return end + 1, "(?:.*/)?"
    return end, ".*" if begins else "[^/]*"


def _choice(pattern: str, at: int) -> tuple[int, str]:
    end = pattern.find("]", at + 3 if pattern[at + 1 : at + 2] in ("!", "^") else at + 2)
    if end < 0:
        raise ToolError(
            "A [ without its ]. Write \\[ for the character itself.", "INVALID_ARGUMENT"
        )
    body = pattern[at + 1 : end]
    negated = body[:1] in ("!", "^")
    body = body[1:] if negated else body
    escaped = "".join(f"\\{sign}" if sign in "[]\\^&~" else sign for sign in body)
    return end + 1, f"[^/{escaped}]" if negated else f"[{escaped}]"


def _literal(sign: str) -> str:
    return re.escape(sign) if sign.isascii() and not sign.isalnum() and sign != "/" else sign
