"""`codetether mcp serve`: from the command line to the end of serving."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import UsageError, clean, is_terminal

from codetether_mode_mcp.clients import IDLE_SECONDS, Wanted, clients

if TYPE_CHECKING:
    from codetether.api import Kernel

    from codetether_mode_mcp.clients import Clients

# Served tools are ours. Those of other servers would be passed on under our name, and a user's list of servers may hold
# this very one, which would start itself for ever.
NOT_SERVED = ("extensions:mcp_client",)
LEAVE_SECONDS = 5.0


async def serve(kernel: Kernel, args: Namespace) -> int:
    """Serve until the client leaves or a signal comes. Raises CodetetherError when it cannot begin."""
    directory = _workspace(args.dir)
    off = sorted({*kernel.config.off, *NOT_SERVED})
    here = type(kernel).load(directory, off=off, rows=kernel.catalog)
    async with here:
        here.mode("mcp")  # loaded in this kernel, it is asked when a person must be
        await _check(here, args, directory)
        async with trio.open_nursery() as nursery:
            stop = trio.Event()
            await nursery.start(_obey_signals, stop, nursery.cancel_scope)
            async with clients(here, wanted_of(args, directory)) as present:
                nursery.start_soon(_leave_when, stop, present)
                await _serve(here, present, args, stop)
            nursery.cancel_scope.cancel()
    return 130 if stop.is_set() and not args.http else 0


def wanted_of(args: Namespace, directory: Path) -> Wanted:
    """How the sessions of clients are opened."""
    return Wanted(
        directory=directory, model=args.model or "", agent=args.agent, access=args.access_mode,
        tools=_patterns(args.tools), asking=args.ask_timeout,
        idle=IDLE_SECONDS if args.http else float("inf"),
    )  # fmt: skip


async def _check(kernel: Kernel, args: Namespace, directory: Path) -> None:
    """Raises CodetetherError for what no session could be opened with."""
    await kernel.settle_sandbox()
    agents = kernel.agents(directory)
    if args.agent and args.agent not in agents:
        known = ", ".join(sorted(agents))
        raise UsageError(f"there is no agent {clean(args.agent)!r}", f"there are: {known}")
    if args.model:
        await kernel.resolve_model(args.model)


def _workspace(given: str | None) -> Path:
    directory = Path(os.path.abspath(given or "."))
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")
    return directory


async def _leave_when(stop: trio.Event, present: Clients) -> None:
    await stop.wait()
    present.leave_all()


async def _serve(kernel: Kernel, present: Clients, args: Namespace, stop: trio.Event) -> None:
    from codetether_mode_mcp.server import (
        make_server,  # brings the SDK, two seconds on a slow machine
    )

    server = make_server(present, may_ask=not args.no_ask)
    if args.http:
        from codetether_mode_mcp.http import serve_http

        await serve_http(kernel, server, present, args, stop)
        return
    from codetether_mode_mcp.stdio import serve_stdio, standard_streams

    if is_terminal(sys.stdin):
        print("codetether: this speaks MCP to another program; Ctrl-C ends it", file=sys.stderr)
    with standard_streams() as streams:
        first = await present.get("")  # what is wrong is told now, not to the client's first call
        _tell_of_tools(first.session.toolbox.tools, args)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when, stop, nursery.cancel_scope)
            await serve_stdio(server, *streams)
            nursery.cancel_scope.cancel()


async def _cancel_when(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


def _patterns(given: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for each in given for name in each.split(",") if name.strip())


def _tell_of_tools(tools: object, args: Namespace) -> None:
    if not tools:
        named = clean(", ".join(args.tools))
        raise UsageError(
            f"no tool is served: {named or 'none may be used here'}", "codetether tools list"
        )


async def _obey_signals(
    stop: trio.Event,
    scope: trio.CancelScope,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The first signal ends serving in order; a second one, or too long an end, ends it at once."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            if stop.is_set():
                scope.cancel()
            else:
                stop.set()
                trio.lowlevel.spawn_system_task(_leave_at_last)


async def _leave_at_last() -> None:
    """A client that reads nothing may hold a write for ever. Transcripts are written line by line."""
    await trio.sleep(LEAVE_SECONDS)
    print("codetether: ended while something would not end", file=sys.stderr, flush=True)
    os._exit(130)
