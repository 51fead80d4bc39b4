"""An answer of the index as the model reads it."""

from __future__ import annotations

from typing import Any

from codetether.api import ToolOutput

BY_WORDS = (
    "ranked by words only; ranking by meaning needs the package codetether-tool-codesearch[meaning]"
)


def told(query: str, answer: dict[str, Any], left_out: int, *, without_model: bool) -> ToolOutput:
    """The results, then what the index does not cover. `without_model`: say so if the model is not there."""
    found = answer["found"]
    notes = []
    if answer["read"] < answer["files"]:
        notes.append(
            f"index {answer['read']} of {answer['files']} files; it goes on, ask again for the rest"
        )
    if left_out:
        notes.append(f"{left_out} files beyond the limit are not indexed")
    if without_model and not answer["meaning"]:
        notes.append(BY_WORDS)
    text = "\n\n".join(_one(each) for each in found) or _nothing(query, answer)
    text += "".join(f"\n[{note}]" for note in notes)
    count = f"{len(found)} result{'s' * (len(found) != 1)}"
    meta = {
        "count": len(found),
        "paths": list(dict.fromkeys(each["path"] for each in found)),
        "indexed": answer["read"],
        "files": answer["files"],
        "meaning": answer["meaning"],
    }
    return ToolOutput(text, summary=count, meta=meta)


def _one(each: dict[str, Any]) -> str:
    lines = (
        f"{each['first']}-{each['last']}" if each["last"] > each["first"] else f"{each['first']}"
    )
    stale = " (changed since it was indexed)" if each["stale"] else ""
    head = f"{each['path']}:{lines} {each['kind']} {each['name']}{stale}"
    return "\n".join([head, *(f"  {line}" for line in each["lines"])])


def _nothing(query: str, answer: dict[str, Any]) -> str:
    if not answer["searched"]:
        return "No indexed file matches path, include and language."
    return f"Nothing found for {query!r}. Try other words, or grep for exact text."
