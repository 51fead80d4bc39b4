"""Which of four kinds of content a text is, from a sample of it, with a confidence and the reason."""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec

Kind = Literal["code", "logs", "conversation", "documents"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SAMPLE = 32_768  # bytes: half from the start, half from the end
LINES = 400
LINE = 400  # bytes of a line that are looked at
BY_NAME = 0.9  # the confidence a telling name gives when the lines do not speak against it
_NAMES: dict[str, Kind] = {
    **dict.fromkeys(
        [
            "py",
            "pyi",
            "js",
            "mjs",
            "cjs",
            "ts",
            "tsx",
            "jsx",
            "go",
            "rs",
            "c",
            "h",
            "cc",
            "cpp",
            "hpp",
            "cs",
            "java",
            "kt",
            "kts",
            "swift",
            "rb",
            "php",
            "pl",
            "lua",
            "scala",
            "clj",
            "ex",
            "exs",
            "erl",
            "hs",
            "ml",
            "sh",
            "bash",
            "zsh",
            "ps1",
            "sql",
            "r",
            "jl",
            "dart",
            "vue",
            "svelte",
            "css",
            "scss",
            "html",
            "xml",
            "json",
            "yaml",
            "yml",
            "toml",
            "ini",
            "cfg",
            "tf",
            "proto",
            "gradle",
            "cmake",
            "mk",
        ],
        "code",
    ),
    **dict.fromkeys(("log", "err", "out", "trace"), "logs"),
    **dict.fromkeys(("md", "rst", "txt", "adoc", "tex", "org"), "documents"),
}
_SOFT = {"out", "err", "txt", "json"}  # names that hold anything
_LOGS = re.compile(
    rb"\s*(?:\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d|\[?\d\d:\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|<\d{1,3}>\d? ?|"
    rb"[IWEF]\d{4} \d\d:|\d{1,3}(?:\.\d{1,3}){3} |\d{9,13}(?:\.\d+)? )"
    rb"|\[?(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b[\]: \t]"
    rb"|\{\"(?:ts|time|timestamp|level|@timestamp|severity)\""
)
_CONVERSATION = re.compile(
    rb"\[?(?:User|Assistant|Human|AI|System|Agent|Customer|Support|Interviewer|Q|A)(?: \([^)\n]{0,40}\))?\]?:"
    rb"|\[Tool |<(?:user|assistant|system|human|\w{1,20})> ?\S|#{1,3} (?:User|Assistant|Human|System)\b"
    rb"|\{\"(?:role|speaker|from|author)\":|\[?\d\d?:\d\d(?::\d\d)?\]? (?:<\w+>|\w+:) |[A-Z]\w{1,20}: \S"
)
_CODE = re.compile(
    rb"\s*(?:(?:pub|export|default|async|static|public|private|protected|final|abstract|unsafe|inline|extern)[ \t]+)*"
    rb"(?:class|def|func|function|fn|impl|struct|enum|trait|interface|import|from|use|using|package|namespace|const|let|var|"
    rb"return|if|for|while|else|elif|try|except|catch|finally|switch|case|raise|throw|yield|await|with|type|mod|#include|"
    rb"#define|SELECT|INSERT|CREATE)\b[^.?!]*[({:;,=<\[]"
    rb"|[^\n]*[;{}][ \t]*$|\s*[)}\]][);,]*$|\s*(?://|/\*|\* |#!|@\w|<[/!?]?\w[^>]*>\s*$)"
    rb"|\s*[\w.\[\]\"'-]{1,60} ?(?:=|:=|\+=|->|=>) ?\S|\s+[\w.]+\([^\n]*\)$"
)
_DOCUMENTS = re.compile(
    rb"#{1,6} |={3,}$|-{3,}$|> |\s{0,3}(?:[-*+]|\d{1,3}[.)]) \S|\*\*|\\(?:section|chapter|begin)\b"
)
_SENTENCE = re.compile(rb"[A-Za-z\xc3-\xf4][^{};=]{30,}[.!?,:\"')]?$|[^{};=]{80,}$")


class Detected(msgspec.Struct, frozen=True):
    """`kind` with a `confidence` of 0 to 1 (0.25: a guess among four) and `why`, one short line for a person."""

    kind: Kind
    confidence: float
    why: str


def detect(source_sample: bytes, name: str) -> Detected:
    """What the sample is. Each of its first 400 lines speaks for one kind; the name of a file speaks too.

    `name`: its name or path, or nothing. A sample without a line that speaks is documents, with confidence 0.25.
    """
    counts = dict.fromkeys(KINDS, 0)
    lines = [line[:LINE].rstrip() for line in source_sample.split(b"\n", LINES)[:LINES]]
    for line in lines:
        if (kind := _speaks_for(line)) is not None:
            counts[kind] += 1
    total = sum(counts.values())
    named = _NAMES.get(name.rpartition(".")[2].lower()) if "." in name else None
    if not total:
        if named is not None:
            return Detected(named, 0.5, f"by its name, {name.rpartition('/')[2][-40:]}")
        return Detected("documents", 0.25, "no line says what it is")
    best = _best(counts)
    share = counts[best] / total
    told = f"{counts[best]} of {total} lines look like {best}"
    if named is None:
        return Detected(best, _confidence(share, total), told)
    if named == best:
        return Detected(
            best, max(BY_NAME, _confidence(share, total)), f"{told}, and so does its name"
        )
    if share > 0.8 and (named == "documents" or name.rpartition(".")[2].lower() in _SOFT):
        return Detected(best, _confidence(share, total), told)
    return Detected(named, round(BY_NAME - 0.5 * share, 2), f"by its name, though {told}")


def _speaks_for(line: bytes) -> Kind | None:
    """One kind for each line: the most telling first."""
    if len(line.strip()) < 1:
        return None
    if _LOGS.match(line):
        return "logs"
    if _CONVERSATION.match(line):
        return "conversation"
    if _CODE.match(line):
        return "code"
    return "documents" if _DOCUMENTS.match(line) or _SENTENCE.match(line) else None


def _best(counts: dict[Kind, int]) -> Kind:
    """The kind with most lines. Turns and entries span lines, so a quarter of all is enough for these."""
    total = sum(counts.values())
    if counts["conversation"] >= max(2, 0.25 * total) and counts["conversation"] >= counts["logs"]:
        return "conversation"
    if counts["logs"] >= max(1, 0.3 * total) and counts["logs"] >= 0.5 * counts["code"]:
        return "logs"
    return max(KINDS, key=lambda kind: (counts[kind], kind == "documents"))


def _confidence(share: float, total: int) -> float:
    """The share of lines, nearer to a guess the fewer lines there are."""
    weight = total / (total + 4)
    return round(0.25 + (max(share, 0.25) - 0.25) * weight, 2)
