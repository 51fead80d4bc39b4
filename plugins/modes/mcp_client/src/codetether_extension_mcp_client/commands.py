"""What a person can type: `/mcp-servers`, and a command for each prompt of each server."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from codetether.api import CodetetherError, Command, Session, one_line

from codetether_extension_mcp_client.desk import Desk
from codetether_extension_mcp_client.naming import tool_names

if TYPE_CHECKING:
    from codetether_extension_mcp_client.listing import Prompt

Run = Callable[[Session, str], Awaitable[str | None]]
STATUS = "mcp-servers"
LONGEST = 60_000  # characters of a prompt


def commands(desks: Iterable[Desk]) -> list[Command]:
    """The commands of all sessions together; each works on the session it is typed in."""
    found = {STATUS: Command(STATUS, "MCP servers of this session: their state and tools", _status)}
    for desk in desks:
        for server, prompts in _prompts(desk).items():
            for name, prompt in prompts.items():
                about = prompt.description or f"a prompt of {server}"
                takes = " ".join(f"[{each.name}]" for each in prompt.arguments)
                found[name] = Command(
                    name, one_line(f"{about} {takes}".rstrip(), 120), _runner(server, name)
                )
    return list(found.values())


def _prompts(desk: Desk) -> dict[str, dict[str, Prompt]]:
    """The prompts of each server by the name a person types."""
    found: dict[str, dict[str, Prompt]] = {}
    for server, link in desk.each.items():
        prompts = {prompt.name: prompt for prompt in (link.listing.prompts if link.listing else ())}
        names = tool_names(desk.slugs[server], prompts)
        found[server] = {called: prompts[name] for name, called in names.items()}
    return found


async def _status(session: Session, _words: str) -> str | None:
    """`/mcp-servers`."""
    try:
        return session.redact("\n".join(Desk.of(session).lines()))
    except CodetetherError as error:
        return error.message


def _runner(server: str, name: str) -> Run:
    async def run(session: Session, words: str) -> str | None:
        """Ask the server for the prompt, and have the model read it with the next message."""
        from codetether_extension_mcp_client.results import texts

        desk = Desk.of(session)
        prompt = _prompts(desk).get(server, {}).get(name)
        if prompt is None:
            return f"{server} has no such prompt here"
        arguments = _arguments(prompt, words)
        connection = await desk.links.connect(desk.each[server])
        got = await connection.prompt(prompt.name, arguments)
        text = "\n\n".join(texts([message.content]) for message in got.messages)[:LONGEST]
        session.tell(text)
        return f"{text}\n\n(the model reads this with your next message)"

    return run


def _arguments(prompt: Prompt, words: str) -> dict[str, str]:
    """`name=value` by name, other words in the order of the arguments; the last takes the rest.

    Raises CodetetherError when one that is needed is missing.
    """
    try:
        given = shlex.split(words)
    except ValueError:
        given = words.split()
    names = [each.name for each in prompt.arguments]
    found: dict[str, str] = {}
    loose: list[str] = []
    for word in given:
        name, equals, value = word.partition("=")
        if equals and name in names:
            found[name] = value
        else:
            loose.append(word)
    open_names = [name for name in names if name not in found]
    for number, name in enumerate(open_names):
        if loose:
            last = number == len(open_names) - 1
            found[name] = " ".join(loose) if last else loose.pop(0)
    missing = [each.name for each in prompt.arguments if each.required and each.name not in found]
    if missing:
        raise CodetetherError(f"{prompt.name} needs {', '.join(missing)}", "write NAME=VALUE")
    return found
