"""What may come next in the input: commands, what they take, and files behind an `@`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from codetether_conversation.slash import commands, listed

if TYPE_CHECKING:
    from codetether_conversation.conversation import Conversation

LIMIT = 20
MENTION = r"(?:^|(?<=\s))@([^\s@]*)$"  # compiled (and kept, by re) when first needed


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True):
    """One completion: `text` replaces the last `length` characters before the cursor; `about` is for the person."""

    text: str
    length: int
    label: str
    about: str = ""


async def candidates(conversation: Conversation, before: str) -> list[Candidate]:
    """Completions for the text before the cursor, best first."""
    if (mention := re.search(MENTION, before)) is not None:
        return await _files(conversation, mention[1])
    if before.startswith("/") and "\n" not in before:
        word, space, words = before[1:].partition(" ")
        if space:
            return await _arguments(conversation, word, words)
        return await _commands(conversation, word)
    return []


async def _files(conversation: Conversation, pattern: str) -> list[Candidate]:
    names = await conversation.files.like(pattern, LIMIT)
    return [
        Candidate(f'@"{name}" ' if " " in name else f"@{name} ", len(pattern) + 1, name)
        for name in names
    ]


async def _commands(conversation: Conversation, word: str) -> list[Candidate]:
    known = listed(await commands(conversation))
    folded = word.casefold()
    near = [each for each in known if each.name.startswith(folded)]
    near += [each for each in known if folded in each.name and each not in near]
    return [
        Candidate(
            f"/{each.name}{' ' * bool(each.arguments)}",
            len(word) + 1,
            f"/{each.name}",
            each.summary,
        )
        for each in near
    ]


async def _arguments(conversation: Conversation, word: str, words: str) -> list[Candidate]:
    standing = conversation.standing()
    offered: dict[str, tuple[str, ...]] = {
        "agent": standing.agents,
        "access-mode": ("ask", "auto", "full"),
        "sessions": ("all",),
    }
    if word in ("model", "m"):
        from codetether_conversation.pick import model_names

        providers = conversation.kernel.host.names("providers")
        provider, slash, _ = words.partition("/")
        models = (
            await model_names(conversation, provider) if slash and provider in providers else ()
        )
        offered[word] = tuple(models) if slash else tuple(f"{name}/" for name in providers)
    if word == "ralph":
        files = await conversation.files.like(words or "prd.json", LIMIT)
        offered[word] = tuple(name for name in files if name.endswith(".json"))
    fits = [name for name in offered.get(word, ()) if name.startswith(words)]
    fits = fits or [name for name in offered.get(word, ()) if words.casefold() in name.casefold()]
    return [Candidate(name, len(words), name) for name in sorted(fits)]
