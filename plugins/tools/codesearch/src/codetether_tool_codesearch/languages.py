"""Which language a file is in, and the parser and query for it. Grammars load when their first file comes."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import tree_sitter as ts

ENDINGS = {
    "py": "python", "pyi": "python", "pyw": "python",
    "js": "javascript", "jsx": "javascript", "mjs": "javascript", "cjs": "javascript",
    "ts": "typescript", "mts": "typescript", "cts": "typescript", "tsx": "tsx",
    "rs": "rust", "go": "go", "java": "java", "rb": "ruby", "rake": "ruby", "gemspec": "ruby",
    "c": "c", "h": "c",
    "cc": "cpp", "cpp": "cpp", "cxx": "cpp", "c++": "cpp", "hh": "cpp", "hpp": "cpp", "hxx": "cpp", "ipp": "cpp",
}  # fmt: skip
NAMES = {"Rakefile": "ruby", "Gemfile": "ruby"}
QUERIES = {"tsx": "typescript"}  # one query for both
# What tells C++ in a header that ends in .h.
_CPP_SIGNS = (
    b"namespace ",
    b"template<",
    b"template <",
    b"class ",
    b"public:",
    b"private:",
    b"std::",
)


class Language(NamedTuple):
    """A grammar, ready to use."""

    name: str
    parser: ts.Parser
    query: ts.Query


def language_of(path: str, source: bytes = b"") -> str:
    """The language of a file by its name, "" for none of ours; `source` tells C++ headers from C."""
    name = path.rpartition("/")[2]
    found = NAMES.get(name) or ENDINGS.get(
        name.rpartition(".")[2].lower() if "." in name else "", ""
    )
    if found == "c" and name.lower().endswith(".h") and any(sign in source for sign in _CPP_SIGNS):
        return "cpp"
    return found


@cache
def load(name: str) -> Language:
    """The grammar of a language `language_of` names."""
    module: Any = importlib.import_module(f"tree_sitter_{QUERIES.get(name, name)}")
    own = getattr(module, f"language_{name}", None) or module.language
    grammar = ts.Language(own())
    text = (
        Path(__file__).with_name("queries").joinpath(f"{QUERIES.get(name, name)}.scm").read_text()
    )
    return Language(name, ts.Parser(grammar), ts.Query(grammar, text))
