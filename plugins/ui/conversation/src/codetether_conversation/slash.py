"""Slash commands: ours, those of plugins, and those people write as Markdown files; the same in every interface."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import CodetetherError, UsageError

if TYPE_CHECKING:
    from codetether_conversation.conversation import Conversation

Run = Callable[["Conversation", str], Awaitable[None]]


class Slash(msgspec.Struct, frozen=True, omit_defaults=True):
    """One command. `arguments` shows what may follow; `while_busy`: it may run while a turn does;
    `origin`: whose; `mode`: the mode that must be installed for it."""

    name: str
    summary: str
    run: Run
    arguments: str = ""
    aliases: tuple[str, ...] = ()
    while_busy: bool = True
    origin: str = ""
    mode: str = ""


def is_command(text: str) -> bool:
    """Whether a line is a command: a slash, and a first word without another one, so that a path is none."""
    first = text.split(None, 1)[0] if text.strip() else ""
    return text.startswith("/") and len(first) > 1 and "/" not in first[1:] and "\n" not in first


async def run_command(conversation: Conversation, line: str) -> None:
    """Run the command `line`. Raises CodetetherError, also for one that there is not: nothing reaches the model."""
    from codetether_conversation.written import written_here

    word, _, words = line.strip()[1:].partition(" ")
    known = await commands(conversation)
    command = known.get(word.casefold())
    if command is None:
        if await trio.to_thread.run_sync(
            written_here, conversation.kernel, conversation.directory, word
        ):
            raise UsageError(
                f"/{word} is a command of this project, which is not trusted",
                "look at .codetether/ and say: codetether config trust",
            )
        from difflib import get_close_matches

        near = get_close_matches(word, known, 3)
        meant = f"did you mean {' or '.join('/' + name for name in near)}?" if near else ""
        raise UsageError(
            f"there is no command /{word}",
            f"{meant} /help lists them; a message that begins with a slash: put a space before it".strip(),
        )
    if conversation.busy and not command.while_busy:
        raise CodetetherError(f"/{command.name} has to wait for the turn", "Esc stops the turn")
    await command.run(conversation, words.strip())


async def commands(conversation: Conversation) -> dict[str, Slash]:
    """Every command by name and alias. Ours win over plugins', these over files'."""
    from codetether_conversation.built_in import BUILT_IN
    from codetether_conversation.written import written

    found = await written(conversation.kernel, conversation.directory)
    answers = await conversation.kernel.host.calls.collect(
        "codetether_commands", ui=conversation.interface
    )
    for answer in answers:
        found += [_of_plugin(command.name, command.summary, command.run) for command in answer]
    modes = {"", *conversation.kernel.host.names("modes")}
    by_name: dict[str, Slash] = {}
    for command in (*found, *(each for each in BUILT_IN if each.mode in modes)):
        for name in (command.name, *command.aliases):
            by_name[name] = command
    return by_name


def listed(known: dict[str, Slash]) -> list[Slash]:
    """Each command once, by name."""
    return sorted({id(each): each for each in known.values()}.values(), key=lambda each: each.name)


def _of_plugin(name: str, summary: str, run: Callable[..., Awaitable[str | None]]) -> Slash:
    async def act(conversation: Conversation, words: str) -> None:
        if conversation.session is None:
            raise CodetetherError(f"/{name} needs a session", "/new opens one")
        if text := await run(conversation.session, words):
            await conversation.show(text, title=f"/{name}")

    return Slash(name, summary, act, while_busy=False, origin="plugin")
