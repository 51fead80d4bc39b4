"""The tool `todo_write`: a to-do list in the session's own folder.

Its effect is READ: it changes a side file of the session, nothing in the workspace or beyond, so a planning agent that
may only read can plan, and nobody is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import msgspec
import trio
from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from codetether_todos import Item, Todos, change, line, load_to_change, replace, store
from msgspec import Meta, Struct

STATUS = Meta(
    description="How far it is",
    extra_json_schema={"enum": ["pending", "in_progress", "done", "blocked"]},
)
PRIORITY = Meta(
    description="How urgent",
    extra_json_schema={"enum": ["low", "medium", "high", "critical"]},
)

TAKES = {
    "todos": frozenset[str](),
    "add": frozenset({"content", "status", "priority"}),
    "update": frozenset({"id", "content", "status", "priority"}),
    "delete": frozenset({"id"}),
    "clear": frozenset[str](),
}


class TodoItem(Struct, frozen=True):
    """One item."""

    # Texts, not enumerations: near misses such as `inprogress` are understood.
    content: Annotated[str, Meta(description="What to do")]
    status: Annotated[str, STATUS] = "pending"
    priority: Annotated[str, PRIORITY] = "medium"
    id: Annotated[str, Meta(description="Id of the item this is; leave out for a new one")] = ""


class Params(Struct):
    """Either the whole list, or one change."""

    todos: Annotated[list[TodoItem] | None, Meta(description="The whole new list")] = None
    action: Annotated[
        Literal["add", "update", "delete", "clear"] | None, Meta(description="One change instead")
    ] = None
    id: Annotated[str, Meta(description="Item to update or delete, such as t1")] = ""
    content: Annotated[str, Meta(description="Text of the item, for add and update")] = ""
    status: Annotated[str | None, STATUS] = None
    priority: Annotated[str | None, PRIORITY] = None


class TodoWrite(Tool[Params]):
    """Changes the list."""

    api = 1
    params = Params
    effect = Effect.READ
    aliases: ClassVar[tuple[str, ...]] = ("todowrite",)

    def title(self, params: Params) -> str:
        """What is done to the list."""
        if params.todos is not None:
            return f"{self.name} {len(params.todos)} items"
        return f"{self.name} {params.action or ''} {params.content or params.id}".rstrip()

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The list as it is now. Raises ToolError: INVALID_ARGUMENT, NOT_FOUND for an unknown id."""
        if (params.todos is None) == (params.action is None):
            raise ToolError("Give either todos (the whole list) or action.", "INVALID_ARGUMENT")
        _refuse_others(params)
        path = ctx.session.files / "todos.json"
        lock: trio.Lock = ctx.session.state.setdefault(self.key, trio.Lock())
        async with lock:
            before, told = await trio.to_thread.run_sync(load_to_change, path)
            try:
                after, said = _changed(before, params, ctx.session.redact)
            except ToolError as error:
                raise ToolError(f"{told} {error.text}".lstrip(), error.code) from None
            await trio.to_thread.run_sync(store, path, after)
        done = sum(todo.status == "done" for todo in after.todos)
        return ToolOutput(
            "\n".join([f"{told} {said}".lstrip(), *map(line, after.todos)]),
            summary=f"{done} of {len(after.todos)} done",
            meta={"count": len(after.todos), "todos": msgspec.to_builtins(after.todos)},
        )


def _refuse_others(params: Params) -> None:
    """Nothing given is passed over: `clear` with an id was meant to be something else."""
    given = {name for name in ("id", "content", "status", "priority") if getattr(params, name)}
    what = params.action or "todos"
    if others := sorted(given - TAKES[what]):
        taken = ", ".join(sorted(TAKES[what])) or "nothing beside it"
        text = f"{what} does not take {', '.join(others)}; it takes {taken}."
        raise ToolError(text, "INVALID_ARGUMENT")


def _changed(before: Todos, params: Params, redact: Callable[[str], str]) -> tuple[Todos, str]:
    """The new list and what to say. The file and `meta` hold no secret either, so it is taken out here."""
    if params.todos is not None:
        items = [
            Item(redact(each.content), each.status, each.priority, each.id) for each in params.todos
        ]
        return replace(before, items), f"{len(items)} todos:"
    assert params.action is not None
    item = Item(redact(params.content), params.status, params.priority, params.id)
    return change(before, params.action, item)
