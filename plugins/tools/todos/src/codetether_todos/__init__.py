"""The to-do list as data: read, changed, checked, stored. Shared by todo_read, todo_write and interfaces.

The format of `todos.json` beside the transcript:
`{"next": 4, "todos": [{"id": "t1", "content": "...", "status": "pending", "priority": "medium"}]}`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
from codetether.api import ToolError, write_atomic

Status = Literal["pending", "in_progress", "done", "blocked"]
Priority = Literal["low", "medium", "high", "critical"]
MARKS = {"pending": "[ ]", "in_progress": "[~]", "done": "[x]", "blocked": "[!]"}
PRIORITIES = ("low", "medium", "high", "critical")
# What other agents call these, and the spelling of the original's files.
SAME = {
    "inprogress": "in_progress",
    "doing": "in_progress",
    "todo": "pending",
    "completed": "done",
    "complete": "done",
}
NUMBERS = rb'"t([0-9]{1,9})"'  # compiled (and kept, by re) when first needed
MOST = 100
LONGEST = 1000


class Todo(msgspec.Struct, frozen=True):
    """One item of the file."""

    id: str
    content: str
    status: Status = "pending"
    priority: Priority = "medium"


class Todos(msgspec.Struct, frozen=True):
    """The file. `next` numbers the next new item: an id is never given twice."""

    next: int = 1
    todos: tuple[Todo, ...] = ()


class Item(msgspec.Struct, frozen=True):
    """An item as the model gave it, unchecked; None and "" are not given."""

    content: str
    status: str | None
    priority: str | None
    id: str


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


def load_to_change(path: Path) -> tuple[Todos, str]:
    """The list at `path`, an empty one when there is none, and what is to be told about it, mostly nothing.

    A damaged file is kept beside it, and the list begins anew. Raises ToolError when the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Todos(), ""
    except OSError as error:
        raise ToolError(f"The to-do list cannot be read: {error.strerror}.") from None
    highest = max((int(number) for number in re.findall(NUMBERS, data)), default=0)
    try:
        found = parse(data)
    except msgspec.DecodeError:
        kept = _put_aside(path)
        told = f"The list was damaged: it is kept as {kept.name}, and a new one begun."
        return Todos(highest + 1), told
    return Todos(max(found.next, highest + 1), found.todos), ""


def parse(data: bytes) -> Todos:
    """The list in a file of ours or of the original: an array, and `inprogress`. Raises msgspec.DecodeError."""
    raw: Any = msgspec.json.decode(data)
    if isinstance(raw, list):
        raw = {"todos": raw}
    for todo in raw.get("todos", ()) if isinstance(raw, dict) else ():
        if isinstance(todo, dict) and todo.get("status") == "inprogress":
            todo["status"] = "in_progress"
    return msgspec.convert(raw, Todos)


def _put_aside(path: Path) -> Path:
    for number in itertools.count(1):
        kept = path.with_name(f"{path.name}{'' if number == 1 else f'.{number}'}.bak")
        if not kept.exists():
            break
    try:
        path.rename(kept)
    except OSError as error:
        text = f"The to-do list is damaged and cannot be put aside: {error.strerror}."
        raise ToolError(text) from None
    return kept


def store(path: Path, todos: Todos) -> None:
    """Write the list, at once or not at all, for this user alone. Raises ToolError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, msgspec.json.encode(todos), 0o600)
    except OSError as error:
        raise ToolError(f"The to-do list cannot be kept: {error.strerror or error}.") from None


def replace(before: Todos, items: Sequence[Item]) -> Todos:
    """The list made of `items`. An id of the list before is kept, every other is given anew."""
    known = {todo.id for todo in before.todos}
    number = before.next
    todos: list[Todo] = []
    for item in items:
        if item.id in known:
            known.discard(item.id)
            name = item.id
        else:
            name, number = f"t{number}", number + 1
        todos.append(_made(name, item, Todo(name, "")))
    return _checked(Todos(number, tuple(todos)))


def change(before: Todos, action: str, item: Item) -> tuple[Todos, str]:
    """The list after one add, update, delete or clear, and what to say. Raises ToolError."""
    if action == "clear":
        return Todos(before.next), f"Cleared {len(before.todos)} todos"
    if action == "add":
        name = f"t{before.next}"
        made = _made(name, item, Todo(name, ""))
        return _checked(Todos(before.next + 1, (*before.todos, made))), f"Added todo: {name}"
    old = next((todo for todo in before.todos if todo.id == item.id), None)
    if old is None:
        ids = ", ".join(todo.id for todo in before.todos) or "none"
        raise ToolError(f"There is no todo {item.id!r}. Ids: {ids}.", "NOT_FOUND")
    if action == "delete":
        rest = tuple(todo for todo in before.todos if todo is not old)
        return Todos(before.next, rest), f"Deleted todo: {old.id}"
    if not item.content and item.status is None and item.priority is None:
        raise ToolError("Nothing to update: give content, status or priority.", "INVALID_ARGUMENT")
    new = _made(old.id, item, old)
    changed = tuple(new if todo is old else todo for todo in before.todos)
    return Todos(before.next, changed), f"Updated todo: {old.id}"


def line(todo: Todo) -> str:
    """An item as the model reads it; a priority is told unless it is medium."""
    priority = "" if todo.priority == "medium" else f" ({todo.priority})"
    return f"{MARKS[todo.status]} {todo.id} {todo.content}{priority}"


def _made(name: str, item: Item, old: Todo) -> Todo:
    content = " ".join(item.content.split()) or old.content
    if not content:
        raise ToolError("A todo needs content.", "INVALID_ARGUMENT")
    if len(content) > LONGEST:
        raise ToolError(f"A todo has at most {LONGEST} characters.", "INVALID_ARGUMENT")
    status = _one_of("status", item.status or old.status, tuple(MARKS))
    priority = _one_of("priority", item.priority or old.priority, PRIORITIES)
    return Todo(name, content, cast("Status", status), cast("Priority", priority))


def _one_of(what: str, given: str, known: Sequence[str]) -> str:
    value = given.strip().lower().replace("-", "_").replace(" ", "_")
    value = SAME.get(value, value)
    if value not in known:
        raise ToolError(f"{what} {given!r} is not one of {', '.join(known)}.", "INVALID_ARGUMENT")
    return value


def _checked(todos: Todos) -> Todos:
    if len(todos.todos) > MOST:
        raise ToolError(f"A list has at most {MOST} todos.", "INVALID_ARGUMENT")
    return todos
