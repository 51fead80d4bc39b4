"""Opening a session: settle model, agent and access; read or begin the transcript; write the system text once."""

from __future__ import annotations

import os
import platform
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import trio

from codetether import agents, instructions
from codetether.context import estimate
from codetether.errors import CodetetherError, UsageError
from codetether.events import Notice, SessionFinished, SessionStarted
from codetether.git import head
from codetether.loaded import Loaded
from codetether.models import NO_MODEL
from codetether.permit import Permissions
from codetether.records import GitState, SessionHeader
from codetether.session import Session
from codetether.toolbox import Toolbox, offered
from codetether.transcript import Transcript
from codetether.words import Agent, Effect, Message, Text
from codetether.workspace import Workspace

if TYPE_CHECKING:
    from codetether.git import GitState as RepositoryState
    from codetether.kernel import Kernel
    from codetether.ports import Tool
    from codetether.unfinished import Notes

ACCESS = ("ask", "auto", "full")


class Wishes(NamedTuple):
    """What the caller of `Kernel.open_session` asked for."""

    directory: Path
    model: str | None
    agent: str
    access: str
    resume: str | None
    fork: bool
    max_steps: int | None
    budget_usd: float | None
    tools: bool | Sequence[str]
    interactive: bool
    started_by: str
    within: frozenset[Effect] | None
    depth: int


@asynccontextmanager
async def open_session(kernel: Kernel, wishes: Wishes) -> AsyncIterator[Session]:
    """The session, not yet announced (`Session.begin`); closed at the end, whatever happened."""
    session, loaded = await _make(kernel, wishes)
    session.started = _announcement(session, loaded)
    if loaded is not None:
        kernel.notices += [Notice("warning", repair) for repair in loaded.repairs]
        kernel.notices += _moved(session, loaded.header)
    kernel.sessions.append(session)
    kernel.session_by_id[session.id] = session
    try:
        async with session.company():
            yield session
    finally:
        with trio.move_on_after(2, shield=True):
            await session.emit(SessionFinished(session.id, session.usage))
            session.feed.close()
        kernel.sessions.remove(session)
        if kernel.session_by_id.get(session.id) is session:
            del kernel.session_by_id[session.id]
        session.workspace.close()
        if session.transcript.closes_at_once:
            session.transcript.close()
        else:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(session.transcript.close)


async def _make(kernel: Kernel, wishes: Wishes) -> tuple[Session, Loaded | None]:
    workspace = Workspace(wishes.directory)
    directory = workspace.root
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")
    await kernel.settle_sandbox()
    transcript: Transcript | None = None
    loaded: Loaded | None = None
    if wishes.resume is not None:
        transcript, loaded = await trio.to_thread.run_sync(
            _resumed, kernel, wishes.resume, wishes.fork
        )
    try:
        settings = loaded.settings if loaded else {}
        here = head(directory)
        root = here.root if here is not None else None
        agent = agents.choose(
            kernel.agents(directory, root or directory),
            wishes.agent or settings.get("agent") or kernel.config.kernel.default_agent,
        )
        provider, model = await kernel.resolve_model(
            wishes.model or agent.model or _remembered(settings.get("model", ""))
        )
        access = access_mode(wishes.access or kernel.config.kernel.access)
        parent = kernel.session_by_id.get(wishes.started_by)
        depth = wishes.depth
        if parent is not None:
            access = min(access, parent.access, key=ACCESS.index)
            depth = max(depth, parent.depth + 1)
        if depth > Session.DEEPEST:
            raise CodetetherError(f"sub-agents may nest {Session.DEEPEST} deep")
        if transcript is None:
            header = _header(
                directory,
                here,
                agent,
                f"{provider.name}/{model.id}",
                access,
                started_by=wishes.started_by,
            )
            transcript = Transcript.create(
                kernel.sessions_folder, header, **kernel.transcript_options
            )
        else:
            transcript.append_setting(
                model=f"{provider.name}/{model.id}", agent=agent.name, access=access
            )
        _let_read(workspace, transcript.side.name, kernel)
        limits = kernel.config.kernel.session
        session = Session(
            kernel,
            transcript,
            workspace,
            Permissions(kernel.config, directory),
            agent=agent,
            provider=provider,
            model=model,
            access=access,
            messages=loaded.messages if loaded else (),
            sent=loaded.context if loaded else (),
            usage=loaded.usage if loaded else None,
            max_steps=wishes.max_steps or limits.max_steps,
            budget_usd=wishes.budget_usd if wishes.budget_usd is not None else limits.budget_usd,
            auto_compact=limits.auto_compact,
            interactive=wishes.interactive,
            within=wishes.within,
            depth=depth,
            parent=parent,
            planning=settings.get("planning", ""),
        )
        _note_writes(session)
        session.started_by = wishes.started_by
        await _equip(session, wishes.tools, root)
    except BaseException:
        if transcript is not None:
            transcript.close()
        raise
    return session, loaded


def _resumed(kernel: Kernel, session: str, fork: bool) -> tuple[Transcript, Loaded]:
    opener = Transcript.fork if fork else Transcript.open
    return opener(kernel.sessions_folder, session, **kernel.transcript_options)


def _let_read(workspace: Workspace, side: str, kernel: Kernel) -> None:
    """Have the session's side files read; where those of all sessions are is looked up once."""
    path = kernel.real_sessions_folder / side
    workspace.read_also(path, real=not os.path.islink(path))


def _remembered(model: str) -> str | None:
    """The model a resumed session had; one that had none gets the default."""
    return None if model in ("", NO_MODEL) else model


def _note_writes(session: Session) -> None:
    """Settle what killed runs left half done, and note what this session writes (codetether.unfinished)."""
    folder, workspace = f"{session.kernel.dirs.data}/unfinished", session.workspace

    def tell(text: str) -> None:
        session.kernel.notices.append(Notice("warning", text))

    def noting() -> Notes:
        from codetether.unfinished import Notes

        return Notes(Path(folder), workspace.root, tell)

    workspace.noting = noting
    if os.path.isdir(folder) and os.listdir(folder):
        noting().settle_others()


def access_mode(word: str) -> str:
    """`word`, if it is an access mode. Raises UsageError."""
    if word not in ACCESS:
        raise UsageError(f"there is no access mode {word!r}", f"there are: {', '.join(ACCESS)}")
    return word


def _header(
    directory: Path,
    state: RepositoryState | None,
    agent: Agent,
    model: str,
    access: str,
    *,
    started_by: str,
) -> SessionHeader:
    from codetether import __version__

    git = GitState(str(state.root), state.branch, state.commit) if state is not None else None
    return SessionHeader(
        directory=str(directory),
        agent=agent.name,
        model=model,
        access=access,
        started_by=started_by,
        git=git,
        version=__version__,
    )


async def _equip(session: Session, wanted: bool | Sequence[str], root: Path | None) -> None:
    """Load what the session uses: tools, extensions; then write the system text, which stays the same to the end."""
    with_tools = bool(wanted)
    kernel = session.kernel
    kernel.host.load_all("extensions")
    tools: list[Tool[msgspec.Struct]] = []
    if with_tools:
        tools = kernel.host.load_all("tools")
        for more in await session.calls.collect("codetether_tools", session=session):
            tools += more
    tools = offered(tools, session.agent.tools, session.reach)
    if not isinstance(wanted, bool):
        tools = offered(tools, wanted, session.reach)
        session.selected = tuple(wanted)
    if session.model_ref == NO_MODEL:
        tools = [tool for tool in tools if not tool.needs_model]
    session.toolbox = Toolbox(session, tools)
    session.system = await _system(session, root, with_tools=with_tools)
    told = estimate([Message("user", (Text(session.system),))])
    session.overhead = told + session.toolbox.tokens


async def _system(session: Session, root: Path | None, *, with_tools: bool) -> str:
    agent = session.agent
    blocks = [agent.prompt if with_tools else agents.chat_prompt()]
    if with_tools:
        place = f"Working directory: {session.directory}\nSystem: {platform.system()} {platform.machine()}"
        blocks.append(f"{place}\nDate: {date.today().isoformat()}")  # noqa: DTZ011 - the person's own date
        session.instructions = instructions.find(session.directory, root)
        blocks.append(instructions.text(session.instructions, root or session.directory))
    blocks += await session.calls.collect("codetether_system", session=session)
    return "\n\n".join(block for block in blocks if block)


def _moved(session: Session, header: SessionHeader) -> list[Notice]:
    """What a person should know when a session goes on elsewhere than where it began."""
    if os.path.realpath(header.directory) != str(session.directory):
        text = f"this session began in {header.directory}; it goes on in {session.directory}"
        return [Notice("warning", text, "files it speaks of may not be here")]
    now = head(session.directory)
    if header.git is None or now is None or now.branch == header.git.branch:
        return []
    began, here = header.git.branch or "a detached commit", now.branch or "a detached commit"
    return [Notice("info", f"this session began on {began}; the repository is now on {here}")]


def _announcement(session: Session, loaded: Loaded | None) -> SessionStarted:
    return SessionStarted(
        session.id,
        str(session.directory),
        session.model_ref,
        session.agent.name,
        session.access,
        resumed=loaded is not None,
        title=loaded.title if loaded else "",
        instructions=tuple(str(path) for path in session.instructions),
        sandbox=session.kernel.sandbox_level,
    )
