"""What a server offers, as it was last told: kept on disk, so that a session can offer tools before it connects."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import clean, one_line, write_atomic

if TYPE_CHECKING:
    import mcp_types as types
    from codetether.api import Kernel
    from codetether_mcp import Connection, Server

FORMAT = 1
AGE = 24 * 3600.0  # seconds until a session that begins asks the server anew
WORDS = 1_500  # characters of a tool's description
TOLD = 800  # characters of what a server says of itself
LONGEST = 128  # characters of a name
MOST = 500  # tools, prompts
LARGEST = 20_000_000  # bytes of a listing on disk


class Remote(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool as the server describes it. Its hints (that it only reads, say) are left out: nothing may depend on them."""

    name: str
    description: str = ""
    schema: dict[str, Any] = {}


class Argument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One argument of a prompt."""

    name: str
    description: str = ""
    required: bool = False


class Prompt(msgspec.Struct, frozen=True, omit_defaults=True):
    """A prompt as the server describes it."""

    name: str
    description: str = ""
    arguments: tuple[Argument, ...] = ()


class Listing(msgspec.Struct, frozen=True, omit_defaults=True):
    """All a server offers. `at`: when it said so, seconds since 1970."""

    format: int = FORMAT
    at: float = 0.0
    title: str = ""
    instructions: str = ""
    resources: bool = False
    tools: tuple[Remote, ...] = ()
    prompts: tuple[Prompt, ...] = ()

    @property
    def fresh(self) -> bool:
        """Young enough not to ask anew before it is needed."""
        return 0 <= time.time() - self.at < AGE

    def same(self, other: Listing) -> bool:
        """Whether it offers the same."""
        return msgspec.structs.replace(self, at=0.0) == msgspec.structs.replace(other, at=0.0)


async def ask(connection: Connection) -> Listing:
    """What the server offers now. Raises CodetetherError."""
    tools = await connection.tools()
    prompts = await connection.prompts()
    return Listing(
        at=time.time(),
        title=one_line(connection.title, 80),
        instructions=_words(connection.instructions, TOLD),
        resources=connection.offers("resources"),
        tools=tuple(_remote(tool) for tool in tools if _named(tool.name))[:MOST],
        prompts=tuple(_prompt(prompt) for prompt in prompts if _named(prompt.name))[:MOST],
    )


def _named(name: str) -> bool:
    return 0 < len(name) <= LONGEST


def _words(text: str | None, most: int) -> str:
    text = clean(text or "").strip()
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _remote(tool: types.Tool) -> Remote:
    return Remote(tool.name, _words(tool.description or tool.title, WORDS), tool.input_schema)


def _prompt(prompt: types.Prompt) -> Prompt:
    return Prompt(
        prompt.name,
        one_line(prompt.description or prompt.title or "", 200),
        tuple(
            Argument(each.name, one_line(each.description or "", 120), bool(each.required))
            for each in prompt.arguments or ()
        ),
    )


class Shelf:
    """The listings on disk, in the user's cache directory, each by the server's entry. Where it runs does not matter:
    what differs is told when it is connected, and a sub-agent in another directory need not start it to begin.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._folder = kernel.dirs.cache / "mcp"

    def _file(self, server: Server) -> Path:
        return self._folder / f"{server.digest()}.json"

    async def load(self, server: Server) -> Listing | None:
        """The listing kept, or None. Never raises: what cannot be read is asked for anew."""
        return await trio.to_thread.run_sync(_load, self._file(server))

    async def keep(self, server: Server, listing: Listing) -> None:
        """Keep `listing`. A full disk costs the next session a moment, nothing else."""
        await trio.to_thread.run_sync(_keep, self._file(server), msgspec.json.encode(listing))


def _load(file: Path) -> Listing | None:
    try:
        if file.stat().st_size > LARGEST:
            return None
        found = msgspec.json.decode(file.read_bytes(), type=Listing)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None
    return found if found.format == FORMAT else None


def _keep(file: Path, data: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        write_atomic(file, data, 0o600)
    except OSError:
        return
