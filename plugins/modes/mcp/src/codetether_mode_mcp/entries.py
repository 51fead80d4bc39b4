"""The user's own list of servers: one entry put in or taken out, everything else of the file left as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codetether.api import CodetetherError, UsageError, changing
from codetether_mcp.configuration import LARGEST, user_file
from codetether_mcp.entry import Wrong, read_entry

if TYPE_CHECKING:
    from codetether.api import Kernel

SERVERS = "mcpServers"
ADDRESSES = ("http://", "https://")


def entry_of(
    target: Sequence[str], *, env: Sequence[str], headers: Sequence[str], cwd: str | None
) -> dict[str, Any]:
    """The entry for an address, or for a command and its arguments. Raises UsageError."""
    first, *rest = target
    if first.startswith(ADDRESSES):
        if rest or env or cwd:
            raise UsageError("an address has no arguments, variables or directory of its own")
        given: dict[str, Any] = {"type": "http", "url": first}
        return given | ({"headers": dict(_pair(each, ":") for each in headers)} if headers else {})
    if headers:
        raise UsageError("headers are for an address", "give a command its secrets with --env")
    entry: dict[str, Any] = {"command": first, "args": list(rest)}
    if env:
        entry["env"] = dict(_pair(each, "=") for each in env)
    return entry | ({"cwd": cwd} if cwd else {})


def _pair(text: str, between: str) -> tuple[str, str]:
    name, found, value = text.partition(between)
    if not found or not name.strip():
        raise UsageError(
            f"write NAME{between}VALUE", "${NAME} and ${vault:NAME/FIELD} stand for values"
        )
    return name.strip(), value.strip()


def put_in(kernel: Kernel, name: str, entry: dict[str, Any], force: bool) -> Path:
    """Add `entry`; the file. Raises UsageError when it is wrong or the name is taken, CodetetherError for the file."""
    if not name.strip() or name.startswith("-"):
        raise UsageError(f"{name!r} is no name for a server")
    try:
        read_entry(entry, Path.cwd(), project=False)
    except Wrong as wrong:
        raise UsageError(f"{name}: {wrong}") from None

    def put(entries: dict[str, Any]) -> None:
        if name in entries and not force:
            raise UsageError(f"there is an MCP server {name!r} already", "--force replaces it")
        old = entries.get(name)
        kept = (
            {key: value for key, value in old.items() if key not in _OURS}
            if isinstance(old, dict)
            else {}
        )
        entries[name] = entry | kept

    return _change(kernel, put)


_OURS = ("type", "url", "headers", "command", "args", "env", "cwd")


def take_out(kernel: Kernel, name: str) -> Path:
    """Remove the entry; the file. Raises UsageError when there is none, CodetetherError for the file."""

    def take(entries: dict[str, Any]) -> None:
        if name not in entries:
            known = ", ".join(sorted(entries)) or "none"
            raise UsageError(f"your list has no MCP server {name!r}", f"it has: {known}")
        del entries[name]

    return _change(kernel, take)


def _change(kernel: Kernel, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the file's entries while no other of our processes does. Blocks."""
    path = user_file(kernel)
    with changing(path) as replace:
        document = _read(path)
        entries = document.setdefault(SERVERS, {})
        if not isinstance(entries, dict):
            raise CodetetherError(f"{path}: `{SERVERS}` is not an object", "correct it by hand")
        change(entries)
        replace(json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        return {}
    if len(data) > LARGEST:
        raise CodetetherError(f"{path} is larger than {LARGEST} bytes")
    try:
        document = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise CodetetherError(f"{path} is not JSON: {error}", "correct it by hand") from None
    if not isinstance(document, dict):
        raise CodetetherError(f"{path} is not an object", "correct it by hand")
    return document
