"""The actions that look at the configured servers, use one, or change the user's list of them."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from codetether.api import Output, UsageError, clean, one_line
from codetether_mcp import servers

from codetether_mode_mcp import view
from codetether_mode_mcp.entries import entry_of, put_in, take_out

if TYPE_CHECKING:
    from codetether.api import Kernel
    from codetether_mcp import Configured, Connection, Server

LARGEST = 1_000_000  # characters of arguments


async def run(kernel: Kernel, args: Namespace) -> int:
    """Do the action `args.action`; the exit code. Raises CodetetherError."""
    return await _Words(kernel, args).run()


class _Words:
    def __init__(self, kernel: Kernel, args: Namespace) -> None:
        self._kernel = kernel
        self._args = args
        self._directory = Path.cwd()

    async def run(self) -> int:
        action: Any = getattr(self, f"_{self._args.action}")
        code: int = await action()
        return code

    # --- looking ---
    async def _list(self) -> int:
        configured = await trio.to_thread.run_sync(servers, self._kernel, self._directory)
        rows = view.rows(configured)
        if self._args.json:
            await self._print(json.dumps(rows, indent=2))
        elif rows:
            await self._print(view.table(rows))
        else:
            self._tell("no MCP server is configured; add one: codetether mcp add NAME URL")
        self._tell_troubles(configured)
        return 0

    async def _tools(self) -> int:
        async with self._connected() as connection:
            tools = await connection.tools()
        if self._args.json:
            found = [
                tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools
            ]
            await self._print(json.dumps(found, indent=2))
        elif tools:
            await self._print(view.tools(tools))
        else:
            self._tell("it has no tools")
        return 0

    async def _test(self) -> int:
        started = trio.current_time()
        async with self._connected() as connection:
            seconds = trio.current_time() - started
            counts = {
                "tools": len(await connection.tools()),
                "resources": len(await connection.resources()),
                "prompts": len(await connection.prompts()),
            }
            title, protocol = connection.title, connection.protocol
        had = ", ".join(f"{count} {what}" for what, count in counts.items())
        await self._print(f"{one_line(title)} answers: {had}")
        self._tell(f"protocol {one_line(protocol)}, connected in {seconds:.1f} s")
        return 0

    async def _call(self) -> int:
        arguments = _arguments(await self._given())
        async with self._connected() as connection:
            result = await connection.call(self._args.tool, arguments, self._progress)
        if self._args.json:
            found = result.model_dump(mode="json", by_alias=True, exclude_none=True)
            await self._print(json.dumps(found, indent=2))
        else:
            await self._print(view.content(result))
        return int(bool(result.is_error))

    # --- the user's list ---
    async def _add(self) -> int:
        args = self._args
        entry = entry_of(args.target, env=args.env, headers=args.header, cwd=args.cwd)
        path = await trio.to_thread.run_sync(put_in, self._kernel, args.name, entry, args.force)
        self._tell(f"{args.name} is in {path}; try it: codetether mcp test {args.name}")
        return 0

    async def _remove(self) -> int:
        path = await trio.to_thread.run_sync(take_out, self._kernel, self._args.name)
        self._tell(f"{self._args.name} is no longer in {path}")
        return 0

    # --- logging in ---
    async def _login(self) -> int:
        from codetether_mcp import log_in  # brings the SDK, as `connected` does

        server = await self._server()
        title = await log_in(self._kernel, server, self._directory, _show)
        self._tell(f"logged in to {title}")
        return 0

    async def _logout(self) -> int:
        from codetether_mcp import log_out

        server = await self._server()
        had = await log_out(self._kernel, server)
        self._tell(
            f"logged out of {server.name}" if had else f"{server.name}: nobody was logged in"
        )
        return 0 if had else 1

    # --- what they share ---
    async def _server(self) -> Server:
        configured = await trio.to_thread.run_sync(servers, self._kernel, self._directory)
        server = configured.get(self._args.name)
        if server is None:
            for trouble in configured.troubles:
                if trouble.server in ("", self._args.name):
                    self._tell(trouble.text)
            known = ", ".join(each.name for each in configured.servers) or "none"
            raise UsageError(
                f"no MCP server {clean(self._args.name)!r} can be used", f"there are: {known}"
            )
        return server

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        from codetether_mcp import connected

        server = await self._server()
        async with connected(self._kernel, server, self._directory) as connection:
            yield connection

    async def _given(self) -> str:
        if self._args.arguments != "-":
            return str(self._args.arguments)
        return await trio.to_thread.run_sync(sys.stdin.read, LARGEST, abandon_on_cancel=True)

    async def _print(self, text: str) -> None:
        output = Output(sys.stdout)
        text = self._kernel.redact.text(text)
        await output.write((clean(text) if output.terminal else text) + "\n")

    def _tell_troubles(self, configured: Configured) -> None:
        for trouble in configured.troubles:
            self._tell(trouble.text)
            if trouble.hint:
                self._tell(f"  {trouble.hint}")

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        how_far = f"{progress:g}" if total is None else f"{progress:g}/{total:g}"
        self._tell(f"{how_far} {message or ''}".rstrip())

    def _tell(self, text: str) -> None:
        text = one_line(self._kernel.redact.text(text))
        print(f"mcp: {text}", file=sys.stderr, flush=True)


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"the arguments are not JSON: {error}", """such as '{"path": "a.txt"}'"""
        ) from None
    if not isinstance(arguments, dict):
        raise UsageError("the arguments are not an object", """such as '{"path": "a.txt"}'""")
    return arguments


async def _show(address: str) -> None:
    print(f"open this address in a browser:\n  {one_line(address)}", file=sys.stderr, flush=True)
