"""A story of a document, and the steps that show that it is done."""

from __future__ import annotations

import msgspec


class Shell(msgspec.Struct, tag="shell", tag_field="type", frozen=True, omit_defaults=True):
    """A command that must exit 0, in `cwd` below the project; its output must hold each of `expect_output_contains`, and
    each pattern of `expect_files_glob` must find a file afterwards.
    """

    command: str
    name: str = ""
    cwd: str = ""
    expect_output_contains: tuple[str, ...] = ()
    expect_files_glob: tuple[str, ...] = ()


class FileExists(
    msgspec.Struct, tag="file_exists", tag_field="type", frozen=True, omit_defaults=True
):
    """A file at `path`, or one that `glob` finds; both are below the project."""

    name: str = ""
    path: str = ""
    glob: str = ""


class Url(msgspec.Struct, tag="url", tag_field="type", frozen=True, omit_defaults=True):
    """An address that must answer with `expect_status` within `timeout_secs`, each of `expect_body_contains` in the
    body.
    """

    url: str
    name: str = ""
    method: str = "GET"
    expect_status: int = 200
    expect_body_contains: tuple[str, ...] = ()
    timeout_secs: float = 30.0


Step = Shell | FileExists | Url


class Story(msgspec.Struct, frozen=True, omit_defaults=True):
    """One piece of work. `priority`: 1 comes first; `complexity`: 1 to 5; `passes`: it is done, as checks have shown."""

    id: str = ""
    title: str = ""
    description: str = ""
    acceptance_criteria: tuple[str, ...] = ()
    priority: int = 1
    depends_on: tuple[str, ...] = ()
    complexity: int = 3
    passes: bool = False
    verification_steps: tuple[Step, ...] = ()
