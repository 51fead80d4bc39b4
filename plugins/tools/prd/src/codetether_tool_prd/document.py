"""A product requirements document: read, made, checked, brought up to date. Unknown keys are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from codetether.api import ToolError

from codetether_tool_prd import Checks, Story

RENAMED = {"stories": "user_stories", "branch": "branch_name"}
ORDER = (
    "project",
    "feature",
    "branch_name",
    "version",
    "user_stories",
    "technical_requirements",
    "quality_checks",
    "created_at",
    "updated_at",
)
DEFINING = ("title", "description", "acceptance_criteria", "verification_steps")
QUESTIONS = """\
# Before the requirements are written{about}

Find out, from the code where it says so and from the person where it does not:
1. What must someone be able to do in the end that they cannot do now?
2. What is not part of it?
3. Which parts of the code does it touch, and which rules hold there?
4. Which commands check the types, the tests, the style and the build here?
5. Into which stories does it fall, each small enough for one sitting, and which needs which?
6. How would somebody else see that each story is done?

Then call prd with action save."""


class Known(msgspec.Struct):
    """What of the file is checked; its other keys are kept."""

    project: str = ""
    feature: str = ""
    branch_name: str = ""
    user_stories: list[Story] = msgspec.field(default_factory=list)
    technical_requirements: list[str] = msgspec.field(default_factory=list)
    quality_checks: dict[str, str | None] = msgspec.field(default_factory=dict)


class Document(NamedTuple):
    """The JSON object, and what of it is understood."""

    raw: dict[str, Any]
    known: Known

    def text(self) -> str:
        """As the file holds it."""
        return json.dumps(self.raw, indent=2, ensure_ascii=False) + "\n"


class Findings(NamedTuple):
    """What is wrong, and what could be better."""

    errors: list[str]
    warnings: list[str]


def questions(task: str) -> str:
    """What to find out before writing requirements for `task`."""
    about = f": {' '.join(task.split())}" if task.strip() else ""
    return QUESTIONS.format(about=about)


def parse(text: str | bytes) -> Document:
    """The document in `text`. Raises ToolError INVALID_ARGUMENT naming the place."""
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ToolError(f"The document is not JSON: {error}.", "INVALID_ARGUMENT") from None
    if not isinstance(raw, dict):
        raise ToolError("The document is not a JSON object.", "INVALID_ARGUMENT")
    return _understood(raw)


def from_parts(
    project: str, feature: str, stories: Sequence[Story], checks: Checks | None
) -> Document:
    """A new document."""
    commands = msgspec.to_builtins(checks) if checks else {}
    raw = {
        "project": project,
        "feature": feature,
        "branch_name": _branch(feature),
        "version": "1.0",
        "user_stories": [{**msgspec.to_builtins(story), "passes": False} for story in stories],
        "technical_requirements": [],
        "quality_checks": {name: command for name, command in commands.items() if command},
    }
    return _understood(raw)


def _branch(feature: str) -> str:
    return f"feature/{'-'.join(feature.lower().split())}" if feature.strip() else ""


def updated(before: Document | None, after: Document) -> Document:
    """`after`, with what it does not say as it was. Whether a story passed is not for the writer to say: it stays as
    it was for a story that is the same, and is false for any other.
    """
    old = before.raw if before else {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    said = {key: value for key, value in after.raw.items() if value not in ("", [], {})}
    raw = {**after.raw, **old, **said}
    known = after.known
    if (
        before
        and before.known.feature == known.feature
        and known.branch_name == _branch(known.feature)
    ):
        raw["branch_name"] = before.known.branch_name or known.branch_name
    raw["created_at"] = old.get("created_at") or now
    raw["updated_at"] = now
    stories = {story["id"]: story for story in old.get("user_stories", ()) if story.get("id")}
    raw["user_stories"] = [
        _kept(stories.get(s.get("id"), {}), s) for s in raw.get("user_stories", [])
    ]
    return _understood(raw)


def _kept(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**old, **new}
    same = bool(old) and all(merged.get(key) == old.get(key) for key in DEFINING)
    return {**merged, "passes": same and old.get("passes") is True}


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
    return errors


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


def _understood(raw: Mapping[str, Any]) -> Document:
    """`raw` under its present names and in order. Raises ToolError for a value of the wrong type."""
    named = _renamed(raw, RENAMED)
    stories = named.get("user_stories")
    if isinstance(stories, list):
        named["user_stories"] = [
            _renamed(story, {"dependencies": "depends_on"}) if isinstance(story, dict) else story
            for story in stories
        ]
    ordered = {key: named[key] for key in ORDER if key in named}
    ordered |= {key: value for key, value in named.items() if key not in ordered}
    try:
        return Document(ordered, msgspec.convert(ordered, Known))
    except msgspec.ValidationError as error:
        raise ToolError(f"The document is wrong: {error}.", "INVALID_ARGUMENT") from None


def _renamed(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """`given` with old names of keys replaced, unless the new name is there too."""
    return {
        (names[key] if key in names and names[key] not in given else key): value
        for key, value in given.items()
    }
