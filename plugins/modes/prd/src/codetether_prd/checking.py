"""What is wrong with a document, and what could be better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from codetether_prd.document import Document
from codetether_prd.story import FileExists, Shell, Step, Story, Url


class Findings(NamedTuple):
    """What is wrong, and what could be better."""

    errors: list[str]
    warnings: list[str]


def check(document: Document) -> Findings:
    """Errors that stand in the way of working by it, and warnings."""
    known = document.known
    errors = [f"{key} is missing" for key in ("project", "feature") if not getattr(known, key)]
    if not known.user_stories:
        errors.append("there are no stories")
    warnings = [] if known.branch_name else ["no branch_name"]
    if not any(known.quality_checks.values()):
        warnings.append("no quality checks: nothing would tell that a story works")
    ids = {story.id for story in known.user_stories}
    seen: set[str] = set()
    for number, story in enumerate(known.user_stories, 1):
        name = story.id or f"story {number}"
        errors += _story_errors(name, story, ids, seen)
        warnings += _story_warnings(name, story)
        seen.add(story.id)
    if cycle := _cycle(known.user_stories):
        errors.append(f"the stories wait for each other: {' → '.join(cycle)}")
    return Findings(errors, warnings)


def _story_errors(name: str, story: Story, ids: set[str], seen: set[str]) -> list[str]:
    errors = []
    if not story.id.strip():
        errors.append(f"{name} has no id")
    elif story.id in seen:
        errors.append(f"the id {name} is there twice")
    if not story.title.strip():
        errors.append(f"{name} has no title")
    for other in story.depends_on:
        if other == story.id:
            errors.append(f"{name} depends on itself")
        elif other not in ids:
            errors.append(f"{name} depends on {other}, which is not there")
    errors += [
        f"{name}: {told}" for step in story.verification_steps if (told := _step_error(step))
    ]
    return errors


def _step_error(step: Step) -> str:
    match step:
        case Shell() if not step.command.strip():
            return "a verification step has no command"
        case FileExists() if not (step.path or step.glob):
            return "a verification step has neither path nor glob"
        case Url() if not step.url.lower().startswith(("http://", "https://")):
            return f"{step.url!r} is no http address"
    return ""


def _story_warnings(name: str, story: Story) -> list[str]:
    warnings = []
    if not story.description.strip():
        warnings.append(f"{name} has no description")
    if not story.acceptance_criteria:
        warnings.append(f"{name} has no acceptance criteria")
    if story.priority < 1:
        warnings.append(f"{name} has priority {story.priority}; 1 is the first")
    if not 1 <= story.complexity <= 5:
        warnings.append(f"{name} has complexity {story.complexity}, not 1 to 5")
    return warnings


def _cycle(stories: Sequence[Story]) -> list[str]:
    """Ids of stories that wait for each other, the first again at the end; empty when there are none."""
    needs = {story.id: [o for o in story.depends_on if o != story.id] for story in stories}
    done: set[str] = set()
    for start, others in needs.items():
        path: list[str] = [start]
        ways = [iter(others)]
        while path:
            following = next(ways[-1], None)
            if following is None:
                done.add(path.pop())
                ways.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            elif following in needs and following not in done:
                path.append(following)
                ways.append(iter(needs[following]))
    return []


def report(document: Document) -> str:
    """The findings in Markdown."""
    errors, warnings = check(document)
    lines = [f"# PRD Validation: {'FAILED' if errors else 'PASSED'}"]
    lines.append(f"{len(document.known.user_stories)} stories")
    lines += [f"- error: {error}" for error in errors]
    lines += [f"- warning: {warning}" for warning in warnings]
    return "\n".join(lines)
