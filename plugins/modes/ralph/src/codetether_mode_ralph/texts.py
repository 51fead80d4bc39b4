"""The texts agents are given, each in a file of its own beside this one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import codetether_crew as crew
import msgspec
from codetether_prd import Shell

from codetether_mode_ralph.memory import NOTES

if TYPE_CHECKING:
    from codetether_gates import Gate
    from codetether_prd import Known, Step

    from codetether_mode_ralph.course import Course

# A line of its own, so that the words in a quotation of the instructions do not count.
_BLOCKED = re.compile(r"^[*_`\s]*STORY_BLOCKED[*_`]*:[*_`]*[ \t]*(.*)$", re.MULTILINE)
_NOTES = re.compile(r"^[#*_`\s]*NOTES[*_`]*:?[*_`]*[ \t]*$", re.MULTILINE)
_COMPLETE = re.compile(r"^[*_`\s]*STORY_COMPLETE[*_`]*:.*$", re.MULTILINE)


def filled(name: str, /, **given: str) -> str:
    """The text `name` with its `{words}` replaced."""
    return crew.filled(Path(__file__).parent / f"{name}.md", **given)


def story(one: Course, known: Known, gates: Sequence[Gate], *, progress: str, history: str) -> str:
    """What the agent of a story is told. `progress`: notes of earlier agents; `history`: the last commits."""
    it = one.story
    checks = [f"- `{gate.command}`" for gate in gates]
    text = filled(
        "story", project=known.project, feature=known.feature, id=it.id, title=it.title,
        description=it.description or "(none)",
        criteria=_list("What must be true in the end:", it.acceptance_criteria),
        requirements=_list("Rules for the whole feature:", known.technical_requirements),
        checks=_block("These will be run, and decide:", [*checks, *map(_step, it.verification_steps)]),
        progress=f"\n<notes>\n{progress}\n</notes>\n" if progress else "",
        history=_block("The last commits:", history.splitlines()),
    )  # fmt: skip
    again = _again(one)
    return f"{text}\n\n{again}" if again else text


def _again(one: Course) -> str:
    told = [filled("interrupted")] if one.interrupted else []
    told += [filled("again", feedback=one.mark.feedback)] if one.mark.feedback else []
    return "\n\n".join(told)


def _step(step: Step) -> str:
    if isinstance(step, Shell):
        return f"- `{step.command}`" + (f" in {step.cwd}" if step.cwd else "")
    plain = msgspec.to_builtins(step)
    return "- " + ", ".join(f"{key} {value}" for key, value in plain.items())


def _list(title: str, items: Sequence[str]) -> str:
    return _block(title, [f"- {each}" for each in items])


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n" + "\n".join([title, *lines]) + "\n" if lines else ""


def blocked(answer: str) -> str | None:
    """Why an agent says that the story cannot be done; None when it does not say so."""
    found = _BLOCKED.search(answer)
    return None if found is None else found.group(1).strip() or "it did not say why"


def notes(answer: str) -> str:
    """What an agent wants later ones to know: what stands below NOTES, else its answer; at most so much."""
    parts = _NOTES.split(answer)
    text = parts[-1] if len(parts) > 1 else answer
    text = _BLOCKED.sub("", _COMPLETE.sub("", text)).strip()
    return text if len(text) <= NOTES else f"{text[:NOTES]} [cut]"
