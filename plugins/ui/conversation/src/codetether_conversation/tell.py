"""Commands that only tell something."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from codetether_conversation.words import Screen

if TYPE_CHECKING:
    from codetether_conversation.conversation import Conversation

PASSED = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")


def our_environment() -> dict[str, str]:
    """What our own program needs to find the same settings, data and keys."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in PASSED or name.startswith(("CODETETHER_", "VAULT_"))
    }


async def help_text(conversation: Conversation, _: str) -> None:
    """The commands there are now; the interface shows them, with its keys."""
    await conversation.refresh()
    await conversation.tell(Screen("help"))


async def cost(conversation: Conversation, _: str) -> None:
    """Tokens and cost of the session; unknown prices are said to be unknown."""
    standing = conversation.standing()
    usage = standing.usage
    price = "unknown" if usage.cost is None else f"${usage.cost:.4f}"
    lines = [
        f"sent      {usage.input:,} tokens, {usage.cached:,} of them from the prompt cache",
        f"received  {usage.output:,} tokens, {usage.reasoning:,} of them reasoning",
        f"cost      {price}",
        f"context   {_share(standing.context, standing.window)}",
    ]
    await conversation.show("\n".join(lines), title="/cost")


def _share(used: int | None, window: int | None) -> str:
    if used is None:
        return "unknown"
    if not window:
        return f"{used:,} tokens of an unknown window"
    return f"{used:,} of {window:,} tokens, {used / window:.0%}"


async def tools(conversation: Conversation, _: str) -> None:
    """The tools the model may call here, with what each does to the world."""
    session = conversation.session
    rows = [] if session is None else list(session.toolbox.tools.values())
    lines = [
        f"{tool.name:20}  {tool.effect:8}  {tool.description.strip().partition(chr(10))[0][:80]}"
        for tool in rows
        if tool.advertised
    ]
    await conversation.show("\n".join(lines) or "none", title="/tools")


async def plugins(conversation: Conversation, _: str) -> None:
    """What is installed, and what is switched off or failed."""
    host = conversation.kernel.host
    on = {row.key for row in host.rows}
    lines = [
        f"{row.key:34}  {row.summary if row.key in on else 'switched off'}"
        for row in conversation.kernel.catalog
    ]
    lines += [f"failed: {fault.plugin} ({fault.stage}): {fault.error}" for fault in host.faults]
    await conversation.show("\n".join(lines), title="/plugins")


async def status(conversation: Conversation, _: str) -> None:
    """What is in force."""
    from importlib.metadata import version

    now = conversation.standing()
    session = conversation.session
    git = "no repository" if now.branch is None else f"{now.branch}, {now.dirty or 0} changed"
    lines = [
        f"codetether  {version('codetether-core')}",
        f"directory   {now.directory} ({git})",
        f"session     {now.session or 'none'} {now.title}".rstrip(),
        f"model       {now.model or 'none'}",
        f"agent       {now.agent}{', planning: ' + now.planning if now.planning else ''}",
        f"access      {now.access}, sandbox {now.sandbox or 'none'}",
        f"context     {_share(now.context, now.window)}",
    ]
    if session is not None and session.instructions:
        lines.append(f"follows     {', '.join(str(path) for path in session.instructions)}")
    await conversation.show("\n".join(lines), title="/status")
