"""What a model's reply asks for: Python cells, text commands, an answer. Nothing of the context is ever read this way."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from textwrap import dedent
from typing import NamedTuple

PYTHON = frozenset({"python", "python3", "py", "repl"})
TEXT = frozenset({"", "text", "txt", "rlm", "sh", "bash"})
NAMES = "head|tail|grep|count|slice|chunks|lines|print|llm_query|llm_query_batched|FINAL|FINAL_VAR"
COMMAND = re.compile(rf"\s*(?:(?:let|const|var)\s+)?(?:[A-Za-z_]\w*\s*=\s*)?(?:{NAMES})\s*!?\(")
FINAL = re.compile(r"\s*FINAL\s*!?\(")
OPENING = re.compile(r"\s*FINAL\s*!?\(\s*(\"{3}|'{3}|[\"'`]|)")
FENCE = re.compile(r"\s*(`{3,}|~{3,})\s*([\w+-]*)([^`]*)$")
MOST = 50  # steps of one reply


class Step(NamedTuple):
    """One thing to do: `kind` is python or command; commands may be several lines."""

    kind: str
    text: str


class Read(NamedTuple):
    """The steps of a reply, in order, and its words beside them. `asked`: how many steps it had; only the first are here."""

    steps: tuple[Step, ...]
    prose: str
    asked: int


def read(reply: str) -> Read:
    """Take a reply apart. A fence that is never closed reaches to the end."""
    steps: list[Step] = []
    prose: list[str] = []
    for language, text in _blocks(reply):
        if language is None:
            _from_words(text, steps, prose)
        elif language in PYTHON or (not language and _is_python(dedent(text))):
            steps += [Step("python", dedent(text))] if text.strip() else []
        elif language in TEXT and _is_commands(text):
            steps.append(Step("command", text.strip()))
        elif language in TEXT:
            _from_words(text, steps, prose)
        else:
            prose.append(text)
    return Read(tuple(steps[:MOST]), "\n".join(prose).strip(), len(steps))


def _blocks(reply: str) -> Iterator[tuple[str | None, str]]:
    """The language of each fenced block, None for what is outside of fences, and its text."""
    language: str | None = None
    mark = ""
    lines: list[str] = []
    for line in reply.splitlines():
        found = FENCE.match(line)
        if found and language is None and not _in_final(lines):
            if lines:
                yield None, "\n".join(lines)
            mark, language, lines = found[1], found[2].lower(), []
        elif found and language is not None and _closes(found, mark) and not _in_string(lines):
            yield language, "\n".join(lines)
            language, lines = None, []
        else:
            lines.append(line)
    if lines:
        yield language, "\n".join(lines)


def _closes(found: re.Match[str], mark: str) -> bool:
    """Whether a line of fence marks ends the block that `mark` began."""
    return found[1].startswith(mark) and not found[2] and not found[3].strip()


def _in_string(lines: list[str]) -> bool:
    """Whether a cell's text in triple quotes has begun and not ended: a fence in it belongs to the text."""
    return "unterminated triple-quoted" in _fault(dedent("\n".join(lines)))


def _fault(text: str) -> str:
    """Why `text` is no Python, "" when it is."""
    try:
        with warnings.catch_warnings():  # a pattern such as "\\d" is for the model to hear of
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return str(error) or "unknown"
    return ""


def _in_final(lines: list[str]) -> bool:
    """Whether an answer has begun and not ended: a fence in it belongs to the answer."""
    for at in range(len(lines) - 1, -1, -1):
        if FINAL.match(lines[at]):
            return not lines[-1].rstrip().endswith(")")
    return False


def _is_commands(text: str) -> bool:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return COMMAND.match(first) is not None


def _is_python(text: str) -> bool:
    """Whether a block that says no language is a cell, and not commands or something shown."""
    return not _is_commands(text) and not _fault(text)


def _from_words(text: str, steps: list[Step], prose: list[str]) -> None:
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        if FINAL.match(lines[at]):
            end = _final_end(lines, at)
            steps.append(Step("command", "\n".join(lines[at:end]).strip()))
            at = end
            continue
        if COMMAND.match(lines[at]):
            steps.append(Step("command", lines[at].strip()))
        else:
            prose.append(lines[at])
        at += 1


def _final_end(lines: list[str], at: int) -> int:
    """Behind the line that closes the answer begun at `at`. One in quotes ends with them, any other with the first line's
    parenthesis or else the last parenthesis at an end of line; what is never closed reaches to the end.
    """
    begun = OPENING.match(lines[at])
    quote = begun[1] if begun else ""
    for index in range(at, len(lines)):
        line = lines[index].rstrip().rstrip(";")
        if index == at and begun:
            line = line[begun.end() :]
        if quote and re.search(rf"{re.escape(quote)}\s*\)$", line):
            return index + 1
        if not quote and index == at and line.endswith(")"):
            return index + 1
    closed = [index for index in range(at, len(lines)) if lines[index].rstrip().endswith(")")]
    return closed[-1] + 1 if closed and not quote else len(lines)
