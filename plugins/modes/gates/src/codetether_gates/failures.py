"""What failed, read from a tool's output: names of tests, and messages without the places that move."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

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
    re.compile(r"^(make: \*\*\* .+)$"),
)
# Why a test failed, which can be said otherwise each time; or what failed, where no test is named.
_RAISED = (re.compile(r"^((?:[A-Z]\w*)?(?:Error|Exception): .+)$"),)
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
    raised: Counter[str] = Counter()
    tests = False
    for line in _lines(output, root):
        if name := _first(_TESTS, line):
            tests = True
            _count(found, name)
        elif _SUMMARY.search(line):
            continue  # it follows from others
        elif said := _first((*_PLACED, *_WORDS), line):
            _count(found, _PLACES.sub("#", said))
        elif said := _first(_RAISED, line):
            _count(raised, _PLACES.sub("#", said))
    return dict(found if tests else found + raised)


def early(output: str) -> bool:
    """Whether the tool says that it stopped before it had looked at everything, or shows nothing that it looked at."""
    if _EARLY.search(_COLOURS.sub("", output)):
        return True
    return not any(_first((*_TESTS, *_PLACED), line) for line in _lines(output, ""))


def _lines(output: str, root: str) -> Iterator[str]:
    for line in output.splitlines():
        plain = _COLOURS.sub("", line[:LONGEST]).rstrip()
        yield plain.replace(f"{root}/", "") if root else plain


def _first(patterns: Sequence[re.Pattern[str]], line: str) -> str:
    """What the first of `patterns` that fits knows the failure by, "" when none does."""
    for pattern in patterns:
        if match := pattern.match(line):
            return match.group(1).strip()
    return ""


def _count(found: Counter[str], name: str) -> None:
    if name in found or len(found) < MOST:
        found[name] += 1
