"""The texts models are given, each in a file of its own beside this one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import codetether_crew as crew

if TYPE_CHECKING:
    from codetether_mode_swarm.graph import SubTask

STRATEGY = {
    "auto": "Choose the split that makes the parts most independent.",
    "domain": "Split by expertise: each part is for another specialist.",
    "data": "Split by data: parts of the files, sections or datasets, each treated the same way.",
    "stage": "Split by the steps of the work, each building on the one before, with as many parts at each step as are independent.",
}
RESULT = 8_000  # characters of a result that those who build on it are given


def filled(name: str, /, **given: str) -> str:
    """The text `name` with its `{words}` replaced."""
    return crew.filled(_path(name), **given)


@cache
def _path(name: str) -> Path:
    return Path(__file__).parent / f"{name}.md"


def subtask(
    each: SubTask, task: str, results: Sequence[tuple[str, str]], *, again: str, merged: bool
) -> str:
    """What a sub-agent is told. `results`: name and report of each sub-task it builds on; `again`: why it is tried
    again; `merged`: whether its directory is a worktree of its own.
    """
    files = (
        f"\nFiles that are yours: {', '.join(each.files)}. Leave the others alone.\n"
        if each.files
        else ""
    )
    parts = [f'<result from="{name}">\n{_cut(text)}\n</result>' for name, text in results]
    given = "\nWhat the parts you build on reported:\n" + "\n".join(parts) + "\n" if parts else ""
    text = filled(
        "subtask",
        specialty=each.specialty or "this kind of work", task=task, name=each.name, instruction=each.instruction,
        files=files, results=given,
        commit="Do not commit: that is done for you. " if merged and each.writes else "",
    )  # fmt: skip
    return f"{text}\n\n{again}" if again else text


def _cut(text: str) -> str:
    return (
        text
        if len(text) <= RESULT
        else f"{text[:RESULT]}\n[cut: {len(text) - RESULT} characters more]"
    )


def again(before: crew.Attempt | None, *, interrupted: bool) -> str:
    """What a further attempt is told of the one before."""
    if interrupted:
        return "An earlier attempt was interrupted. What it changed so far is in the directory: look before you go on."
    if before is None:
        return ""
    said = f" It said last: {before.text[:2000]}" if before.text else ""
    return (
        f"An earlier attempt failed: {before.error}.{said}\n"
        "What it changed is in the directory: look before you go on, and do it another way."
    )
