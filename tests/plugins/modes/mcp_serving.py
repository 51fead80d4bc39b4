"""`codetether mcp serve` as a child process, and the SDK's own client in front of it."""

import re
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import mcp_types as types
import trio
from codetether.api import Kernel
from codetether_mode_mcp.clients import clients
from codetether_mode_mcp.server import make_server
from codetether_mode_mcp.serving import NOT_SERVED, wanted_of
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

CODETETHER = str(Path(sys.executable).with_name("codetether"))
FAILSAFE = 60  # seconds; nothing is measured by it
ERAS = ("legacy", "auto")  # with a handshake, and without (2026)


def environment(home, **more):
    """All that the child gets."""
    kept = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(home)}
    xdg = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "DATA", "CACHE")}
    return {**kept, **xdg, "CODETETHER_SANDBOX": "none", **more}


class Person:
    """Answers what a server asks by way of its client."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, context, params):
        self.asked.append(params)
        answer = self.answers.pop(0)
        if isinstance(answer, types.ElicitResult):
            return answer
        return types.ElicitResult(action="accept", content={"answer": answer})


@asynccontextmanager
async def over_stdio(home, work, *words, era="legacy", person=None, **more):
    """A client of a server of its own."""
    server = StdioServerParameters(
        command=CODETETHER,
        args=["mcp", "serve", *words],
        cwd=str(work),
        env=environment(home, **more),
    )
    with trio.fail_after(FAILSAFE):
        async with Client(stdio_client(server), elicitation_callback=person, mode=era) as client:
            yield client


@asynccontextmanager
async def in_process(work, *words, era="legacy", person=None):
    """A client of a server in this process: much sooner there, and all but the transport is the same."""
    parser = ArgumentParser()
    kernel = Kernel.load(work, off=NOT_SERVED)
    mode = kernel.mode("mcp")
    mode.arguments(parser)
    args = parser.parse_args(["serve", *words])
    with trio.fail_after(FAILSAFE):
        async with kernel, clients(kernel, wanted_of(args, work)) as present:
            server = make_server(present, may_ask=not args.no_ask)
            async with Client(server, elicitation_callback=person, mode=era) as client:
                yield client


class Serving:
    """A server over HTTP; `url` and `token` as it told them."""

    def __init__(self, process, url, token):
        self.process, self.url, self.token = process, url, token

    @asynccontextmanager
    async def http(self, **headers):
        """Plain HTTP to it."""
        given = {"Authorization": f"Bearer {self.token}", **headers}
        async with httpx2.AsyncClient(headers=given, timeout=FAILSAFE, trust_env=False) as http:
            yield http

    @asynccontextmanager
    async def client(self, era="legacy", person=None):
        """A client of it."""
        with trio.fail_after(FAILSAFE):
            async with (
                self.http() as http,
                Client(
                    streamable_http_client(self.url, http_client=http),
                    elicitation_callback=person,
                    mode=era,
                ) as client,
            ):
                yield client


@asynccontextmanager
async def over_http(home, work, *words):
    """A server over HTTP, told to end at the end."""
    process = await trio.lowlevel.open_process(
        [CODETETHER, "mcp", "serve", "--http", *words],
        cwd=work, env=environment(home), stderr=subprocess.PIPE,
    )  # fmt: skip
    said = b""
    try:
        with trio.fail_after(FAILSAFE):
            while said.count(b"\n") < 2:
                more = await process.stderr.receive_some()
                assert more, f"it ended:\n{said.decode()}"
                said += more
        url = re.search(r"serving (\S+)", said.decode())[1]
        yield Serving(process, url, re.search(r"token: (.+)", said.decode())[1])
        process.terminate()
        with trio.fail_after(FAILSAFE):
            assert await process.wait() == 0
            assert b"Traceback" not in await rest(process.stderr)
    finally:
        process.kill()
        await process.stderr.aclose()
        await process.wait()


async def rest(stream):
    """What is left to read."""
    return b"".join([piece async for piece in stream])


def text(result):
    """The words of a result."""
    return "\n".join(part.text for part in result.content if part.type == "text")
