"""Whether a call may carry something out of here that a stranger asked for.

Whatever a model reads may hold the orders of a stranger, and it may obey them: what a tool brought, instructions of a
repository, a file that was handed over with the prompt, what a program says of its own tools. So a call that could send
data to a place of the stranger's choice is a question, also with access `full` and where a rule allows the tool as such.
No question are a rule that names the address, the command or the other program's tool, a grant, and an address that holds
nothing of the model's own (docs/permissions.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from codetether.permit import CONFINED, sandbox_level
from codetether.words import Effect

if TYPE_CHECKING:
    from codetether.ports import Tool
    from codetether.rules import Facts
    from codetether.session import Session
    from codetether.words import ToolResult

FOLLOWED = (
    20  # addresses: which of its links is followed tells the one who wrote a page something, too
)
PROMPT_ID = "prompt_"  # how the ids of messages begin that a turn began with (codetether.loop)
# Programs that talk to another machine and take what they say from their arguments or their input.
_PROGRAMS = """
curl wget aria2c http https xh httpie nc ncat netcat socat telnet ssh scp sftp rsync ftp lftp tftp rclone croc
magic-wormhole wormhole gh glab hub aws gcloud gsutil az doctl kubectl helm s3cmd mc twine mail mailx mutt sendmail msmtp
dig nslookup host drill ping ping6 traceroute mosquitto_pub redis-cli psql mysql mongosh smbclient openssl whois finger
"""
PROGRAMS = frozenset(_PROGRAMS.split())
# ... and those that do so with one of these words
WITH_WORD = {
    "git": frozenset({"push", "fetch", "pull", "clone", "ls-remote", "send-email", "svn"}),
    "npm": frozenset({"publish"}),
    "pnpm": frozenset({"publish"}),
    "yarn": frozenset({"publish"}),
    "bun": frozenset({"publish"}),
    "cargo": frozenset({"publish"}),
    "uv": frozenset({"publish"}),
    "poetry": frozenset({"publish"}),
    "gem": frozenset({"push"}),
    "docker": frozenset({"push", "login"}),
    "podman": frozenset({"push", "login"}),
}
# programs in whose arguments an address is only text
QUIET = frozenset(
    {"echo", "printf", "grep", "rg", "cat", "ls", "test", "true", "cd", "touch", "mkdir"}
)
GIT_QUIET = frozenset({"commit", "log", "grep", "diff", "show", "add", "status", "tag", "branch"})
# an address, bash's own sockets, or a place on another machine, wherever they stand; looked for in one go, however long
# the command is
PLACE = re.compile(r"://|/dev/(?:tcp|udp)/|[\w.-]@[\w.-]{1,255}:")


def sends(facts: Facts, session: Session) -> str:
    """Why this call is a question, or nothing."""
    if facts.tool.foreign:
        what = "nobody here knows what another program does with it"
    elif facts.tool.effect is Effect.NETWORK:
        carries = bool(facts.subject.url) and not _brought(facts.subject.url, session)
        what = "this address was not given word for word" if carries else ""
    elif facts.tool.effect is Effect.EXECUTE:
        carries = _reaches_out(facts, session) and _talks(facts)
        what = "this command may reach another machine" if carries else ""
    else:
        what = ""
    return f"it may send something out: {what}" if what else ""


def moved(session: Session, url: str, to: str) -> None:
    """Remember that what answers at `url` names `to`. Of an address the model made up that could be an echo."""
    if _brought(url, session):
        session.sent_on.add(_bare(to))


def _line(session: Session) -> Iterator[Session]:
    """The session, and those it was started by."""
    at: Session | None = session
    while at is not None:
        yield at
        at = at.parent


# --- addresses ---
def _brought(url: str, session: Session) -> bool:
    """Whether the address stands in what a person gave, was fetched before, is where such an address leads, or, without
    a query, stands in what a network tool found.

    Then nothing of it was made up, so it carries nothing. Other tools' results do not count: a model can have them
    say what it likes.
    """
    bare = _bare(url)
    fetched: set[str] = set()
    found = False
    for each in _line(session):
        if bare in each.sent_on or any(bare in text for text in _given(each)):
            return True
        for tool, arguments, result in _network(each):
            if result.ok and (address := _address(tool, arguments)):
                fetched.add(_bare(address))
            # else it may be an echo of the call
            found |= "?" not in bare and bare in result.text and not _holds(arguments, bare)
    # What was fetched before has said all it would say.
    return bare in fetched or (found and len(fetched) < FOLLOWED)


def _given(session: Session) -> Iterator[str]:
    """The prompts of a person; those of a sub-agent are a model's."""
    if session.depth == 0:
        for message in session.messages:
            if message.role == "user" and message.id.startswith(PROMPT_ID):
                yield message.text


def _network(session: Session) -> Iterator[tuple[Tool[Any], str, ToolResult]]:
    """The results of network tools, each with the arguments of its call."""
    asked = {call.id: call.arguments for message in session.messages for call in message.calls}
    for message in session.messages:
        for result in message.results:
            tool = session.toolbox.find(result.name)
            if tool is not None and tool.effect is Effect.NETWORK and result.call_id in asked:
                yield tool, asked[result.call_id], result


def _bare(url: str) -> str:
    return url.partition("#")[0].rstrip("/")


def _address(tool: Tool[Any], arguments: str) -> str:
    try:
        given = msgspec.json.decode(arguments)
        return tool.subject(msgspec.convert(given, tool.params, strict=False)).url
    except (msgspec.DecodeError, RecursionError):
        return ""


def _holds(arguments: str, bare: str) -> bool:
    """Whether a text among the arguments holds `bare`, however JSON spells it."""
    try:
        waiting = [arguments, msgspec.json.decode(arguments)]
    except (msgspec.DecodeError, RecursionError):
        return True
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and bare in value:
            return True
    return False


# --- commands ---
def _reaches_out(facts: Facts, session: Session) -> bool:
    """Whether the sandbox would let a command of this tool use the network."""
    return facts.tool.online or sandbox_level(session) not in CONFINED


def _talks(facts: Facts) -> bool:
    """Whether the command names a program that sends, or a place. A guard rail: a script can do it unseen."""
    if PLACE.search(facts.subject.command) and not _all_quiet(facts.parts):
        return True
    for piece in facts.fragments:
        program, *words = piece.split() or [""]
        name = program.rpartition("/")[2]
        if name in PROGRAMS or _does(words) in WITH_WORD.get(name, ()):
            return True
    return False


def _all_quiet(parts: list[list[str]] | None) -> bool:
    return parts is not None and all(
        words[0] in QUIET or (words[0] == "git" and _does(words[1:]) in GIT_QUIET)
        for words in parts
    )


def _does(words: list[str]) -> str:
    """What a program with subcommands is told to do: the first word that is no option and no value of git's."""
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in ("-c", "-C", "--git-dir", "--work-tree")
            continue
        return word
    return ""
