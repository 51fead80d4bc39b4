"""The commands there always are."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError, UsageError, latest_session, run_process

from codetether_conversation import pick, tell
from codetether_conversation.conversation import Start
from codetether_conversation.modes import ourselves
from codetether_conversation.slash import Run, Slash
from codetether_conversation.words import Screen

if TYPE_CHECKING:
    from codetether.api import Session

    from codetether_conversation.conversation import Conversation

COMMAND_SECONDS = 60.0
STREAM = ("--format", "stream-json")


def _session(conversation: Conversation) -> Session:
    if conversation.session is None:
        raise CodetetherError("there is no session", "/model chooses a model, /new opens a session")
    return conversation.session


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the quotes do not match: {error}") from None


# --- sessions ----------------------------------------------------------------------------------------------------
async def _new(conversation: Conversation, _: str) -> None:
    session = conversation.session
    if session is None:
        conversation.open(Start())
    else:
        conversation.open(Start(session.model_ref, session.agent.name, session.access))


async def _sessions(conversation: Conversation, words: str) -> None:
    await pick.sessions(conversation, everywhere=words == "all")


async def _resume(conversation: Conversation, words: str) -> None:
    folder, directory = conversation.kernel.sessions_folder, conversation.directory
    if words:
        pick.resume(conversation, words)
        return
    latest = await trio.to_thread.run_sync(latest_session, folder, directory)
    current = conversation.session.id if conversation.session else ""
    if latest is None or latest == current:
        await pick.sessions(conversation)
    else:
        pick.resume(conversation, latest)


async def _fork(conversation: Conversation, _: str) -> None:
    session = _session(conversation)
    if not session.messages:
        raise CodetetherError("nothing was said yet", "")
    conversation.open(Start(resume=session.id, fork=True))


async def _rewind(conversation: Conversation, _: str) -> None:
    await pick.messages(conversation)


async def _export(conversation: Conversation, words: str) -> None:
    session = _session(conversation)
    given = _words(words)
    if len(given) > 1:
        raise UsageError("one file at most", "/export FILE.md, FILE.html or FILE.json")
    name = given[0] if given else f"{session.id}.md"
    kind = {".html": "html", ".json": "json"}.get(Path(name).suffix.lower(), "md")
    await session.sync()
    await _ask_ourselves(
        conversation, ["sessions", "export", session.id, "--format", kind, "-o", name]
    )
    await conversation.show(f"written: {name}", title="/export")


async def _undo_or_redo(conversation: Conversation, action: str) -> None:
    done = await _session(conversation).toolbox.by_person("undo", {"action": action})
    if not done.ok:
        raise CodetetherError(done.text, "")
    await conversation.show(done.meta.get("diff", ""), title=done.text, kind="diff")
    await conversation.refresh()


async def _undo(conversation: Conversation, _: str) -> None:
    await _undo_or_redo(conversation, "undo")


async def _redo(conversation: Conversation, _: str) -> None:
    await _undo_or_redo(conversation, "redo")


async def _compact(conversation: Conversation, _: str) -> None:
    session = _session(conversation)
    if not session.messages:
        raise CodetetherError("nothing was said yet", "")
    conversation.busy = True
    await conversation.stand()
    try:
        await session.compact()
    except CodetetherError:
        raise CodetetherError("nothing of it can be left out now", "") from None
    finally:
        conversation.busy = False
        await conversation.stand()


# --- what works --------------------------------------------------------------------------------------------------
async def _model(conversation: Conversation, words: str) -> None:
    if words:
        await pick.use_model(conversation, words)
    else:
        await pick.models(conversation)


async def _agent(conversation: Conversation, words: str) -> None:
    if words:
        pick.use_agent(conversation, words)
    else:
        await pick.agents(conversation)


async def _access(conversation: Conversation, words: str) -> None:
    if words:
        await pick.use_access(conversation, words)
    else:
        await pick.access(conversation)


async def _init(conversation: Conversation, words: str) -> None:
    text = Path(__file__).with_name("init.md").read_text("utf-8").strip()
    await conversation.speak(f"{text}\n\n{words}".strip())


async def _swarm(conversation: Conversation, words: str) -> None:
    if not words:
        await conversation.tell(Screen("view", "swarm"))
        return
    model = ["--model", _session(conversation).model_ref]
    conversation.begin_mode("swarm", [*STREAM, *model, "--", words])


async def _ralph(conversation: Conversation, words: str) -> None:
    prd = _words(words) or ["prd.json"]
    if len(prd) > 1:
        raise UsageError("one file at most", "/ralph [prd.json]")
    if not (conversation.directory / prd[0]).is_file():
        hint = "codetether ralph create-prd makes one"
        raise CodetetherError(f"there is no {prd[0]} here", hint)
    model = ["--model", _session(conversation).model_ref]
    conversation.begin_mode("ralph", ["run", *STREAM, *model, "--prd", prd[0]])


# --- what is so --------------------------------------------------------------------------------------------------
async def _mcp(conversation: Conversation, _: str) -> None:
    text = await _ask_ourselves(conversation, ["mcp", "list"])
    text = text or "no MCP server is configured; codetether mcp add NAME URL adds one"
    await conversation.show(text, title="/mcp")


async def _ask_ourselves(conversation: Conversation, words: list[str]) -> str:
    """What `codetether WORDS` prints. Raises CodetetherError with what it says when it fails."""
    from codetether.api import clean_env

    done = await run_process(
        [*ourselves(), *words],
        cwd=conversation.directory,
        env=clean_env(tell.our_environment()),
        timeout=COMMAND_SECONDS,
    )
    if not done.ok:
        said = (done.errors or done.output).strip() or f"exit code {done.code}"
        message, _, hint = said.removeprefix("codetether: ").partition("\n")
        raise CodetetherError(message, hint.strip())
    return done.output


# --- the screen --------------------------------------------------------------------------------------------------
def _screen(what: str, name: str = "") -> Run:
    async def wish(conversation: Conversation, words: str) -> None:
        await conversation.tell(Screen(what, words or name))  # type: ignore[arg-type]

    return wish


async def _refresh(conversation: Conversation, _: str) -> None:
    await conversation.refresh()


async def _quit(conversation: Conversation, _: str) -> None:
    conversation.leave()


BUILT_IN: tuple[Slash, ...] = (
    Slash("help", "Show the commands and keys", tell.help_text, aliases=("h", "?")),
    Slash("new", "Begin a new session", _new, aliases=("clear",)),
    Slash("sessions", "Choose a session to go on with", _sessions, "[all]", ("s",)),
    Slash("resume", "Go on with the last session, or the one named", _resume, "[ID]"),
    Slash("fork", "Go on in a copy of this session", _fork, while_busy=False),
    Slash("rewind", "Go back to before a message, files included", _rewind, while_busy=False),
    Slash("export", "Write the session to a file", _export, "[FILE.md|.html|.json]"),
    Slash("undo", "Take back what the last turn changed in files", _undo, while_busy=False),
    Slash("redo", "Do again what was undone", _redo, while_busy=False),
    Slash("compact", "Shorten what the model is sent of the session", _compact, while_busy=False),
    Slash("model", "Choose the model", _model, "[PROVIDER/MODEL]", ("m",)),
    Slash("agent", "Choose the agent: build, plan, explore, yours", _agent, "[NAME]"),
    Slash("access-mode", "Choose what is asked before it is done", _access, "[ask|auto|full]"),
    Slash("init", "Have AGENTS.md written for this repository", _init, "[WORDS]"),
    Slash("swarm", "Have a task done by many agents", _swarm, "[TASK]", mode="swarm"),
    Slash("ralph", "Work through a requirements document", _ralph, "[prd.json]", ("r",), mode="ralph"),
    Slash("cost", "Show tokens and cost", tell.cost),
    Slash("tools", "Show the tools of this session", tell.tools),
    Slash("plugins", "Show the plugins", tell.plugins),
    Slash("mcp", "Show the MCP servers", _mcp, mode="mcp"),
    Slash("status", "Show what is in force", tell.status),
    Slash("theme", "Choose the colours", _screen("theme"), "[NAME]"),
    Slash("webview", "Show sidebar, chat and inspector", _screen("layout", "webview"), aliases=("w",)),
    Slash("classic", "Show the chat alone", _screen("layout", "classic")),
    Slash("inspector", "Show or hide the inspector", _screen("inspector")),
    Slash("view", "Go from the chat to the swarm and back", _screen("view")),
    Slash("refresh", "Look at files and repository again", _refresh),
    Slash("quit", "Leave", _quit, aliases=("exit", "q")),
)  # fmt: skip
