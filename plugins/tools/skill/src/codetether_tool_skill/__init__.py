"""The tool `skill`: Agent Skills, told of in three steps so that they cost little: names, instructions, files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import trio
from codetether.api import (
    Effect,
    Session,
    Tool,
    ToolContext,
    ToolError,
    ToolOutput,
    hookimpl,
    one_line,
)
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from codetether_tool_skill.folders import Found


MOST_TOLD = 50
LONGEST_TOLD = 160  # characters of one description
ROOM = 6_000  # characters in all


class Params(Struct):
    """What to look at."""

    name: Annotated[str, Meta(description="The skill to load; empty lists all")] = ""
    file: Annotated[str, Meta(description="One file of that skill, as its list names it")] = ""


class Skill(Tool[Params]):
    """Reads the folders of the user, and that of a project only when it is trusted as it is."""

    api = 1
    params = Params
    effect = Effect.READ

    @hookimpl
    async def codetether_system(self, session: Session) -> str | None:
        """Which skills there are, so that the model knows when to load one; as they were when the session was opened."""
        if session.toolbox.find(self.name) is None:
            return None
        from codetether_tool_skill.folders import find, places

        there = places(self.kernel, session.directory)
        return _told(await trio.to_thread.run_sync(find, there)) if there else None

    def title(self, params: Params) -> str:
        """The skill and the file."""
        return " ".join(part for part in (self.name, params.name, params.file) if part)

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The list, a skill, or a file of it. Raises ToolError: NOT_FOUND, DENIED, INVALID_ARGUMENT."""
        from codetether_tool_skill.folders import find, places

        if params.file and not params.name:
            raise ToolError("Say whose file: give name too.", "INVALID_ARGUMENT")
        kernel, directory = self.kernel, ctx.session.directory
        found = await trio.to_thread.run_sync(lambda: find(places(kernel, directory)))
        if not params.name:
            return _list(found)
        folder = found.skills.get(params.name)
        if folder is None:
            if why := found.wrong.get(params.name):
                raise ToolError(f"The skill {params.name} cannot be used: {why}.", "NOT_FOUND")
            names = ", ".join(found.skills) or "none"
            raise ToolError(
                f"There is no skill {params.name[:64]!r}. Skills: {names}.", "NOT_FOUND"
            )
        if params.file:
            text = await folder.read(params.file)
            return ToolOutput(text, summary=params.file)
        files = await trio.to_thread.run_sync(folder.files)
        listed = f"\n\nFiles (folder {folder.path}):\n" + "\n".join(files) if files else ""
        return ToolOutput(
            f"# Skill {params.name}\n\n{folder.body.strip()}{listed}",
            summary=folder.description,
            meta={"skill": params.name, "folder": str(folder.path), "files": files},
        )


def _told(found: Found) -> str | None:
    """The block for the system text; nothing when there are no skills."""
    lines: list[str] = []
    room = ROOM
    for name, skill in list(found.skills.items())[:MOST_TOLD]:
        line = f"- {name}: {one_line(skill.description, LONGEST_TOLD)}"
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    if not lines:
        return None
    rest = len(found.skills) - len(lines)
    more = f"\n- and {rest} more: call skill without a name" if rest else ""
    return (
        "# Skills\n\nLoad one with the tool skill before work it is for.\n"
        + "\n".join(lines)
        + more
    )


def _list(found: Found) -> ToolOutput:
    lines = [f"- {name}: {skill.description}" for name, skill in found.skills.items()]
    lines += [f"- {name} cannot be used: {why}" for name, why in found.wrong.items()]
    count = len(found.skills)
    return ToolOutput(
        "\n".join(lines) or "There are no skills here.",
        summary=f"{count} skill{'' if count == 1 else 's'}",
        meta={"count": count},
    )
