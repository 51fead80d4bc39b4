"""The parts of a product requirements document, as a model gives them and as the file is checked."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field


class Story(Struct, omit_defaults=False):
    """One piece of work."""

    id: Annotated[str, Meta(description="Such as US-001")] = ""
    title: Annotated[str, Meta(description="In a few words")] = ""
    description: Annotated[str, Meta(description="What and why")] = ""
    acceptance_criteria: Annotated[
        list[str], Meta(description="What must be true in the end, checkable")
    ] = field(default_factory=list)
    priority: Annotated[int, Meta(description="1 comes first")] = 1
    depends_on: Annotated[list[str], Meta(description="Ids that must be done before")] = field(
        default_factory=list
    )
    complexity: Annotated[int, Meta(description="1 (small) to 5")] = 3


class Checks(Struct):
    """Shell commands, empty for none."""

    typecheck: Annotated[str, Meta(description="Checks the types")] = ""
    test: Annotated[str, Meta(description="Runs the tests")] = ""
    lint: Annotated[str, Meta(description="Checks the style")] = ""
    build: Annotated[str, Meta(description="Builds")] = ""


class Known(Struct):
    """What of the file is checked; its other keys are kept."""

    project: str = ""
    feature: str = ""
    branch_name: str = ""
    user_stories: list[Story] = field(default_factory=list)
    technical_requirements: list[str] = field(default_factory=list)
    quality_checks: dict[str, str | None] = field(default_factory=dict)
