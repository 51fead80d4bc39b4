"""What failed, read from a tool's output: names of tests, and messages without the places that move."""

from __future__ import annotations

import re
from collections import Counter

LONGEST = 2_000  # characters of a line worth looking at
MOST = 5_000  # failures told apart
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Each names a failed test or a message; the first group is what it is known by.
_TESTS = (
    re.compile(r"^(?:FAILED|ERROR) +(\S+::\S.*?)(?: - .*)?$"),  # pytest, a test
    re.compile(r"^ERROR +(?:collecting )?(\S+\.py)(?: - .*)?$"),  # pytest, a file
    re.compile(r"^(?:FAIL|ERROR): +(\S+ \(.+\))"),  # unittest
    re.compile(r"^test +(\S+) +\.\.\. +FAILED\b"),  # cargo
    re.compile(r"^---- +(\S.*) stdout ----$"),  # cargo, quiet too
    re.compile(r"^\s*--- FAIL: +(\S+)"),  # go
    re.compile(r"^FAIL\s+(\S+)"),  # go packages, jest and vitest files
    re.compile(
        r"^\s*[✕✗×✖✘] +(.+?)(?: \(?\d+(?:\.\d+)? ?m?s\)?)?$"
    ),  # jest, vitest, mocha, ava, node
    re.compile(r"^not ok +\d+ +-? *(.+?)(?: +#.*)?$"),  # TAP
    re.compile(r"^\s*● +(?!Console$|.*Warning:?$)(.+)$"),  # jest, several files
    re.compile(r"^\s*\d+\) +(.+?):?$"),  # mocha, phpunit
    re.compile(r"^\[ERROR\] +([\w.$]+\.\w+)(?::\d+|(?:->\S+)? »)"),  # surefire
    re.compile(r"^(\S+ > .+) FAILED$"),  # gradle
)
# A message with its place: the tool has looked.
_PLACED = (
    re.compile(
        r"^\s*(\S[^:]*\.\w+[:(]\d+.*?\b(?:error|Error|warning)\b.*)$"
    ),  # mypy, tsc, gcc, javac, pyright
    re.compile(r"^(\S[^:]*\.\w+:\d+:\d+: .+)$"),  # ruff, flake8, go vet
    re.compile(r"^\s+\d+:\d+\s+((?:error|warning)\s.+)$"),  # eslint
    re.compile(r"^\s*--> (\S.*):\d+:\d+$"),  # ruff, rustc: the line before says what
)
# One without: it may not even have begun.
_WORDS = (
    re.compile(r"^(error(?:\[\w+\])?: .+)$"),  # rustc
    re.compile(r"^([A-Z]{1,4}\d{2,4} (?:\[\*\] )?\S.+)$"),  # ruff
    re.compile(r"^((?:[A-Z]\w*)?(?:Error|Exception): .+)$"),
    re.compile(r"^(make: \*\*\* .+)$"),
)
_SUMMARY = re.compile(
    r"error: (?:could not compile|aborting due to|test failed|\d+ targets? failed)|^make: \*\*\* \["
)
_EARLY = re.compile(
    r"^!+ (?:Interrupted|stopping after)\b|"  # pytest
    r"^error: could not compile|"  # cargo
    r"^FAIL\s.*\[(?:build|setup) failed\]$|"  # go
    r"\(errors prevented further checking\)$|"  # mypy
    r"^\[ERROR\] COMPILATION ERROR|^> Compilation failed|"  # maven, gradle
    r"^Bail out!",  # TAP
    re.MULTILINE,
)
_PLACES = re.compile(r"(?<=[:(,])\d+(?=[:),\s]|$)|\b0x[0-9a-f]{4,}\b|\b\d+(?:\.\d+)? ?m?s\b")


def identities(output: str, root: str = "") -> dict[str, int]:
    """What failed according to `output`, and how often. `root` (where it ran) is taken out of paths, line numbers and
    times out of messages, so that a failure is known again in another place and after an edit above it.
    """
    found: Counter[str] = Counter()
    for line in output.splitlines():
        name = _identity(_COLOURS.sub("", line[:LONGEST]).rstrip(), root)
        if name and (name in found or len(found) < MOST):
            found[name] += 1
    return dict(found)


def early(output: str) -> bool:
    """Whether the tool says that it stopped before it had looked at everything, or shows nothing that it looked at."""
    plain = _COLOURS.sub("", output)
    if _EARLY.search(plain):
        return True
    lines = [line[:LONGEST].rstrip() for line in plain.splitlines()]
    return not any(each.match(line) for line in lines for each in (*_TESTS, *_PLACED))


def _identity(line: str, root: str) -> str:
    if root:
        line = line.replace(f"{root}/", "")
    for pattern in _TESTS:
        if match := pattern.match(line):
            return match.group(1).strip()
    if _SUMMARY.search(line):
        return ""  # it follows from others
    for pattern in (*_PLACED, *_WORDS):
        if match := pattern.match(line):
            return _PLACES.sub("#", match.group(1).strip())
    return ""
