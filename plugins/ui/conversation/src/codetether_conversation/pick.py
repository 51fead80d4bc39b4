"""Pickers: what can be picked, and what picking it does."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError, UsageError, list_sessions

from codetether_conversation.conversation import Start
from codetether_conversation.place import names
from codetether_conversation.slash import commands, listed
from codetether_conversation.words import Around, Choosing, Entry, Screen

if TYPE_CHECKING:
    from codetether.api import ModelInfo, Provider, Summary

    from codetether_conversation.conversation import Conversation

SECONDS = 15.0  # for one provider to list its models
NAMES_SECONDS = 4.0  # for one provider, while a name is typed
SESSIONS = 500
NEWEST, NAMES = 16, 60
COLUMNS = ("context", "$ in/out per M", "can")
ACCESS = {
    "ask": "asks before every change and command",
    "auto": "edits files of the workspace and runs confined commands by itself",
    "full": "asks for nothing but what rules say",
}


# --- models ------------------------------------------------------------------------------------------------------
async def models(conversation: Conversation) -> None:
    """Offer the models of every usable provider, as each answers."""
    current = conversation.session.model_ref if conversation.session else ""
    found: dict[str, list[Entry]] = {}
    notes: list[str] = []
    providers = conversation.kernel.host.load_all("providers")

    async def offer(*, more: bool) -> None:
        entries = [entry for name in sorted(found) for entry in found[name]]
        choosing = Choosing("model", "Model", tuple(entries), current, more, COLUMNS, tuple(notes))
        await conversation.tell(choosing)

    async def ask(provider: Provider) -> None:
        with trio.move_on_after(SECONDS):
            try:
                if not (await provider.status()).usable:
                    return
                infos = await provider.models()
            except CodetetherError as error:
                notes.append(f"{provider.name}: {error.message}; {error.hint}".rstrip("; "))
                return
            found[provider.name] = [_model(provider.name, info) for info in infos]
            conversation.models[provider.name] = [entry.key for entry in found[provider.name]]
            await offer(more=True)

    await offer(more=True)
    async with trio.open_nursery() as nursery:
        for provider in providers:
            nursery.start_soon(ask, provider)
    await offer(more=False)
    if not found:
        raise CodetetherError(
            "no provider can be used", "codetether auth login NAME, or start a local server"
        )


async def model_names(conversation: Conversation, provider: str) -> list[str]:
    """What `provider` offers, as `provider/model`; nothing when it cannot say so in time."""
    known = conversation.models.get(provider)
    if known is None:
        known = []
        with trio.move_on_after(NAMES_SECONDS), contextlib.suppress(CodetetherError):
            infos = await conversation.kernel.provider(provider).models()
            known = conversation.models[provider] = [f"{provider}/{info.id}" for info in infos]
    return known


def _model(provider: str, info: ModelInfo) -> Entry:
    abilities = [
        word
        for word, able in (
            ("tools", info.tools),
            ("images", info.images),
            ("reasoning", info.reasoning),
        )
        if able
    ]
    facts = (_size(info.context), _price(info), " ".join(abilities))
    return Entry(f"{provider}/{info.id}", info.name or info.id, provider, facts)


def _size(tokens: int | None) -> str:
    if tokens is None:
        return "?"
    return f"{tokens / 1e6:g}M" if tokens >= 1_000_000 else f"{tokens // 1000}k"


def _price(info: ModelInfo) -> str:
    if info.input_price is None or info.output_price is None:
        return "?"
    return f"${info.input_price:g}/{info.output_price:g}"


async def use_model(conversation: Conversation, spec: str) -> None:
    """Go on with another model. Raises CodetetherError when it cannot be used; then nothing changes."""
    if conversation.busy:
        raise CodetetherError("the model can be changed when the turn is over", "Esc stops it")
    provider, model = await conversation.kernel.resolve_model(spec)
    name = f"{provider.name}/{model.id}"
    if conversation.session is None:
        conversation.open(Start(model=name))
    else:
        conversation.reopen(model=name)


# --- sessions ----------------------------------------------------------------------------------------------------
async def sessions(conversation: Conversation, *, everywhere: bool = False) -> None:
    """Offer the sessions of this directory, or of all."""
    entries = await _kept(conversation, SESSIONS, everywhere=everywhere)
    current = conversation.session.id if conversation.session else ""
    if not entries:
        raise CodetetherError("there are no sessions here yet", "/sessions all shows all")
    await conversation.tell(Choosing("session", "Sessions", tuple(entries), current))


async def around(conversation: Conversation) -> Around:
    """What an interface shows beside the chat."""
    entries = await trio.to_thread.run_sync(names, conversation.directory, NAMES)
    known = listed(await commands(conversation))
    rows = tuple((f"/{each.name} {each.arguments}".rstrip(), each.summary) for each in known)
    return Around(tuple(entries), tuple(await _kept(conversation, NEWEST)), rows)


async def _kept(conversation: Conversation, limit: int, *, everywhere: bool = False) -> list[Entry]:
    directory = None if everywhere else conversation.directory
    folder = conversation.kernel.sessions_folder

    kept = await trio.to_thread.run_sync(list_sessions, folder, directory, limit)
    return [_session(summary) for summary in kept]


def _session(summary: Summary) -> Entry:
    branch = summary.header.git.branch if summary.header.git else ""
    count = f"{summary.messages} messages"
    facts = (summary.updated[:16].replace("T", " "), count, branch)
    directory = summary.header.directory
    preview = f"{directory}\n{summary.settings.get('model', '')}"
    return Entry(summary.id, summary.title or "untitled", directory, facts, preview)


async def messages(conversation: Conversation) -> None:
    """Offer the messages that can be rewound to, the newest first."""
    session = conversation.session
    said = [] if session is None else [each for each in session.messages if each.role == "user"]
    if not said:
        raise CodetetherError("nothing was said yet", "")
    entries = tuple(
        Entry(message.id, " ".join(message.text.split())[:200], preview=message.text[:4_000])
        for message in reversed(said)
    )
    await conversation.tell(Choosing("message", "Rewind to before", entries))


# --- agents and access -------------------------------------------------------------------------------------------
async def agents(conversation: Conversation) -> None:
    """Offer the agents."""
    known = conversation.kernel.agents(conversation.directory).values()
    current = conversation.session.agent.name if conversation.session else ""
    entries = tuple(Entry(agent.name, agent.name, facts=(agent.description,)) for agent in known)
    await conversation.tell(Choosing("agent", "Agent", entries, current))


def use_agent(conversation: Conversation, name: str) -> None:
    """Go on as another agent. Raises UsageError when there is none of that name."""
    known = conversation.kernel.agents(conversation.directory)
    if name not in known:
        raise UsageError(f"there is no agent {name!r}", f"there are: {', '.join(sorted(known))}")
    if conversation.busy:
        raise CodetetherError("the agent can be changed when the turn is over", "Esc stops it")
    if conversation.session is None:
        conversation.open(Start(agent=name))
    elif conversation.session.agent.name != name:
        conversation.reopen(agent=name)


async def access(conversation: Conversation) -> None:
    """Offer the access modes."""
    current = conversation.session.access if conversation.session else ""
    entries = tuple(Entry(name, name, facts=(about,)) for name, about in ACCESS.items())
    await conversation.tell(Choosing("access", "Access", entries, current))


async def use_access(conversation: Conversation, name: str) -> None:
    """Another access mode from the next call on. Raises UsageError."""
    if name not in ACCESS:
        raise UsageError(f"there is no access mode {name!r}", f"there are: {', '.join(ACCESS)}")
    if conversation.session is None:
        raise CodetetherError("there is no session", "/new opens one")
    conversation.session.use_access(name)
    await conversation.stand()


async def chosen(conversation: Conversation, about: str, key: str) -> None:
    """Do what was picked."""
    match about:
        case "model":
            await use_model(conversation, key)
        case "session":
            resume(conversation, key)
        case "message":
            from codetether_conversation.rewind import rewind

            await rewind(conversation, key, with_files=True)
        case "agent":
            use_agent(conversation, key)
        case "access":
            await use_access(conversation, key)
        case "theme":
            await conversation.tell(Screen("theme", key))


def resume(conversation: Conversation, session: str) -> None:
    """Go on with another session. Raises CodetetherError."""
    if conversation.session is not None and session == conversation.session.id:
        return
    conversation.open(Start(resume=session))
