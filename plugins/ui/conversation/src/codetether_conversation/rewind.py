"""Going back to before a message: in a copy of the session, with the files of the turns since given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError, Transcript

from codetether_conversation.conversation import Start

if TYPE_CHECKING:
    from codetether.api import Message, Session

    from codetether_conversation.conversation import Conversation


async def rewind(conversation: Conversation, message: str, *, with_files: bool) -> None:
    """Open a copy that ends before `message`, whose words go back to the input. The session itself stays as it is.

    Raises CodetetherError; when the files cannot be given back, nothing at all is changed after the last that could.
    """
    session = conversation.session
    if session is None:
        raise CodetetherError("there is no session", "/new opens one")
    if conversation.busy:
        raise CodetetherError("a turn is running", "stop it first: Esc")
    at = next((i for i, each in enumerate(session.messages) if each.id == message), None)
    if at is None or session.messages[at].role != "user":
        raise CodetetherError(f"there is no message {message}", "")
    said = session.messages[at]
    undone = await _give_back(session, session.messages[:at]) if with_files else ""
    if at == 0:
        conversation.open(_as(session, draft=said.text, undone=undone))
        return
    copy = await trio.to_thread.run_sync(_copy, conversation, session, session.messages[at - 1].id)
    conversation.open(_as(session, draft=said.text, undone=undone, resume=copy))


def _as(session: Session, *, draft: str, undone: str, resume: str | None = None) -> Start:
    agent, access = session.agent.name, session.access
    return Start(session.model_ref, agent, access, resume, draft=draft, undone=undone)


def _copy(conversation: Conversation, session: Session, upto: str) -> str:
    kernel = conversation.kernel
    transcript, _ = Transcript.fork(
        kernel.sessions_folder, session.id, upto=upto, **kernel.transcript_options
    )
    with transcript:
        return transcript.id


async def _give_back(session: Session, kept: list[Message]) -> str:
    """Undo the turns after `kept`, the newest first; the diffs of that."""
    if session.toolbox.find("undo") is None:
        return ""
    turns = sum(1 for message in kept if message.role == "user")
    listed = await session.toolbox.by_person("undo", {"action": "list"})
    able = [each["turn"] for each in listed.meta.get("turns", ()) if not each["undone"]]
    diffs = []
    for turn in sorted(able, reverse=True):
        if turn > turns:
            done = await session.toolbox.by_person("undo", {"action": "undo", "turn": turn})
            if not done.ok:
                raise CodetetherError(
                    f"the files of turn {turn} cannot be given back: {done.text}",
                    "rewind without files, or mend them first",
                )
            diffs.append(str(done.meta.get("diff", "")))
    return "".join(diffs)
