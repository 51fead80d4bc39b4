"""The document: the JSON object as it is, and what of it is understood."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from codetether.api import CodetetherError

from codetether_prd.story import Story

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


class PrdError(CodetetherError):
    """What should be a document is none."""


class Known(msgspec.Struct):
    """What of the file is checked; its other keys are kept."""

    project: str = ""
    feature: str = ""
    branch_name: str = ""
    user_stories: tuple[Story, ...] = ()
    technical_requirements: tuple[str, ...] = ()
    quality_checks: dict[str, str | None] = msgspec.field(default_factory=dict)


class Document(NamedTuple):
    """The JSON object, and what of it is understood."""

    raw: dict[str, Any]
    known: Known

    def text(self) -> str:
        """As the file holds it."""
        return json.dumps(self.raw, indent=2, ensure_ascii=False) + "\n"


def parse(text: str | bytes) -> Document:
    """The document in `text`. Raises PrdError naming the place."""
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PrdError(f"the document is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise PrdError("the document is not a JSON object")
    return _understood(raw)


def from_parts(
    project: str,
    feature: str,
    stories: Sequence[Mapping[str, Any]],
    checks: Mapping[str, str],
    requirements: Sequence[str] = (),
) -> Document:
    """A new document, of stories none of which passes yet. Raises PrdError."""
    raw = {
        "project": project,
        "feature": feature,
        "branch_name": branch_for(feature),
        "version": "1.0",
        "user_stories": [{**story, "passes": False} for story in stories],
        "technical_requirements": list(requirements),
        "quality_checks": {name: command for name, command in checks.items() if command},
    }
    return _understood(raw)


def branch_for(feature: str) -> str:
    """The branch a feature is made on: `feature/` and its words that git takes, "" when there are none."""
    words = re.findall(r"[^\W_]+", feature.lower())
    return f"feature/{'-'.join(words)}" if words else ""


def passed(document: Document, story: str) -> Document:
    """`document`, the story with the id `story` marked as done."""
    stories = [
        {**each, "passes": True} if each.get("id") == story else each
        for each in document.raw.get("user_stories", [])
    ]
    return _understood({**document.raw, "user_stories": stories, "updated_at": _now()})


def updated(before: Document | None, after: Document) -> Document:
    """`after`, with what it does not say as it was. Whether a story passed is not for the writer to say: it stays as
    it was for a story that is the same, and is false for any other.
    """
    old = before.raw if before else {}
    now = _now()
    said = {key: value for key, value in after.raw.items() if value not in ("", [], {})}
    raw = {**after.raw, **old, **said}
    known = after.known
    if (
        before
        and before.known.feature == known.feature
        and known.branch_name == branch_for(known.feature)
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _understood(raw: Mapping[str, Any]) -> Document:
    """`raw` under its present names and in order. Raises PrdError for a value of the wrong type."""
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
        raise PrdError(f"the document is wrong: {error}") from None


def _renamed(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """`given` with old names of keys replaced, unless the new name is there too."""
    return {
        (names[key] if key in names and names[key] not in given else key): value
        for key, value in given.items()
    }
