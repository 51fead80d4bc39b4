"""The tool `todo_read`: the list that `todo_write` keeps."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import trio
from codetether.api import Effect, Tool, ToolContext, ToolOutput
from codetether_todos import Priority, Status, Todo, line, load
from msgspec import Meta, Struct


class Params(Struct):
    """What to show."""

    status: Annotated[Status | None, Meta(description="Only these")] = None
    priority: Annotated[Priority | None, Meta(description="Only these")] = None


class TodoRead(Tool[Params]):
    """Shows the list. Touches nothing outside the session."""

    api = 1
    params = Params
    effect = Effect.READ
    aliases: ClassVar[tuple[str, ...]] = ("todoread",)

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The items. Raises ToolError when the file is damaged."""
        every = await trio.to_thread.run_sync(load, ctx.session.files / "todos.json")
        todos = [todo for todo in every.todos if _wanted(todo, params)]
        done = sum(todo.status == "done" for todo in every.todos)
        return ToolOutput(
            "\n".join(map(line, todos)) or "No todos found",
            summary=f"{done} of {len(every.todos)} done",
            meta={"count": len(todos), "todos": msgspec.to_builtins(todos)},
        )


def _wanted(todo: Todo, params: Params) -> bool:
    return params.status in (None, todo.status) and params.priority in (None, todo.priority)
