"""The settings of `lsp`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct


class ServerSettings(Struct, frozen=True):
    """One language server, beside the built-in ones or in place of the one of that name."""

    command: Annotated[list[str], Meta(description="Program and arguments; built in if empty")] = []
    extensions: Annotated[list[str], Meta(description="Files it is for: .py, .pyi")] = []
    language: Annotated[
        str, Meta(description="The protocol's language id, if not by extension")
    ] = ""
    roots: Annotated[list[str], Meta(description="Files that mark the root of a project")] = []
    options: Annotated[dict[str, Any], Meta(description="initializationOptions")] = {}
    settings: Annotated[dict[str, Any], Meta(description="What it gets for its configuration")] = {}
    off: Annotated[bool, Meta(description="Never start it")] = False


class LspSettings(Struct, frozen=True):
    """Settings of `lsp`."""

    servers: Annotated[
        dict[str, ServerSettings],
        Meta(description="Further servers by name, or changes to built-in ones"),
    ] = {}
    on_edit: Annotated[
        Literal["start", "running", "off"],
        Meta(
            description="New problems after an edit: start the server for it, only ask a running one, or never"
        ),
    ] = "start"
    edit_seconds: Annotated[
        float, Meta(ge=0, le=20, description="How long an edit waits for problems")
    ] = 2.0
    first_seconds: Annotated[
        float, Meta(ge=0, le=20, description="The same while a server is starting for it")
    ] = 8.0
    request_seconds: Annotated[float, Meta(gt=0, description="Time limit of one question")] = 20.0
    start_seconds: Annotated[float, Meta(gt=0, description="Time limit of a server's start")] = 30.0
    idle_minutes: Annotated[
        float, Meta(gt=0, description="A server unused for so long is ended")
    ] = 20.0
    most: Annotated[int, Meta(ge=1, description="Servers running at once")] = 8
