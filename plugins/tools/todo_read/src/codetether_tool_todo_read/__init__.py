"""The tool `todo_read`: the list that `todo_write` keeps.

The format of `todos.json` beside the transcript, shared with todo_write and with interfaces:
`{"next": 4, "todos": [{"id": "t1", "content": "...", "status": "pending", "priority": "medium"}]}`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import trio
from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

MARKS = {"pending": "[ ]", "in_progress": "[~]", "done": "[x]", "blocked": "[!]"}


class Params(Struct):
    """What to show."""

    status: Annotated[
        Literal["pending", "in_progress", "done", "blocked"] | None, Meta(description="Only these")
    ] = None
    priority: Annotated[
        Literal["low", "medium", "high", "critical"] | None, Meta(description="Only these")
    ] = None


class Todo(Struct, frozen=True):
    """One item of the file."""

    id: str
    content: str
    status: Literal["pending", "in_progress", "done", "blocked"] = "pending"
    priority: Literal["low", "medium", "high", "critical"] = "medium"


class Todos(Struct, frozen=True):
    """The file."""

    next: int = 1
    todos: tuple[Todo, ...] = ()


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


def load(path: Path) -> Todos:
    """The list at `path`; an empty one when there is none. Raises ToolError when it cannot be read."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return Todos()
    except OSError as error:
        raise ToolError(f"The to-do list cannot be read: {error.strerror}.") from None
    except msgspec.DecodeError:
        raise ToolError(
            "The to-do list is damaged; the next todo_write keeps the file and begins a new list."
        ) from None


def parse(data: bytes) -> Todos:
    """The list in a file of ours or of the original: an array, and `inprogress`. Raises msgspec.DecodeError."""
    raw: Any = msgspec.json.decode(data)
    if isinstance(raw, list):
        raw = {"todos": raw}
    for todo in raw.get("todos", ()) if isinstance(raw, dict) else ():
        if isinstance(todo, dict) and todo.get("status") == "inprogress":
            todo["status"] = "in_progress"
    return msgspec.convert(raw, Todos)


def line(todo: Any) -> str:
    """An item as the model reads it; a priority is told unless it is medium."""
    priority = "" if todo.priority == "medium" else f" ({todo.priority})"
    return f"{MARKS[todo.status]} {todo.id} {todo.content}{priority}"
