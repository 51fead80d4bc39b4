"""The conversation behind every interface: turns, what waits, questions, commands, other sessions, going back."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from codetether.api import Answer, Compacted, Extension, Question, Session, TurnFinished, hookimpl
from codetether.testing import call, make_kernel, reply
from codetether_conversation import (
    Act,
    Around,
    Asking,
    Choose,
    Choosing,
    Conversation,
    Leave,
    Left,
    Opened,
    Reply,
    Returned,
    Rewind,
    Screen,
    Settled,
    Shown,
    Speak,
    Standing,
    Start,
    Stop,
    Told,
    candidates,
    closest,
    is_command,
)
from codetether_conversation.written import filled
from hypothesis import given
from hypothesis import strategies as st


class Asks(Extension):
    """Hands questions on as an interface does."""

    api = 1
    conversation: Conversation

    @hookimpl
    async def codetether_ask(self, question: Question, session: Session) -> Answer | None:
        return await self.conversation.ask(question)


class Person:
    """What a person sees and does."""

    def __init__(self, conversation: Conversation, told: trio.MemoryReceiveChannel[Told]) -> None:
        self.conversation = conversation
        self._told = told
        self.seen: list[Told] = []

    async def see(self, kind: type, /, **fields: Any) -> Any:
        """The next thing of this kind that is so."""
        with trio.fail_after(20):
            while True:
                what = await self._told.receive()
                self.seen.append(what)
                if isinstance(what, kind) and all(
                    getattr(what, name) == value for name, value in fields.items()
                ):
                    return what

    async def do(self, act: Act) -> None:
        await self.conversation.act(act)

    async def say(self, text: str) -> None:
        await self.do(Speak(text))


@asynccontextmanager
async def talking(
    home: Path, replies: Any, start: Start | None = None, **how: Any
) -> AsyncIterator[Person]:
    send, receive = trio.open_memory_channel[Told](10_000)
    work = home / "work"
    work.mkdir(exist_ok=True)
    settings = {"sandbox": "none"} | how.pop("settings", {})
    extra = {"extensions:asks": Asks}
    async with make_kernel(home, replies=replies, settings=settings, extra=extra, **how) as kernel:
        conversation = Conversation(kernel, work, send.send, interface="test", start=start)
        Asks.conversation = conversation
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.run)
            person = Person(conversation, receive)
            yield person
            await person.do(Leave())
            await person.see(Left)


async def test_a_message_is_answered_and_the_next_turn_knows_of_it(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("one"), reply("two")]) as person:
        opened = await person.see(Opened)
        assert opened.messages == ()
        await person.say("first")
        assert (await person.see(TurnFinished)).text == "one"
        await person.say("second")
        assert (await person.see(TurnFinished)).text == "two"
        asked = person.conversation.kernel.provider("scripted").asked  # type: ignore[attr-defined]
        assert [message.text for message in asked[1].messages] == ["first", "one", "second"]


async def test_what_is_said_while_a_session_opens_is_for_that_session(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("one"), reply("two"), reply("three")]) as person:
        await person.say("first")
        await person.say("/cost")
        await person.say("second")
        await person.see(Opened)
        await person.see(Standing, waiting=("first", "/cost", "second"))
        await person.see(Shown, title="/cost")
        assert (await person.see(TurnFinished)).text == "one"
        assert (await person.see(TurnFinished)).text == "two"
        await person.say("/new")
        await person.say("third")
        await person.see(Opened)
        assert (await person.see(TurnFinished)).text == "three"
        asked = person.conversation.kernel.provider("scripted").asked  # type: ignore[attr-defined]
        assert [message.text for message in asked[2].messages] == ["third"]


async def test_what_was_said_early_comes_back_when_it_is_taken_back_or_nothing_opens(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path, [reply("one")]) as person:
        await person.say("wait")
        await person.do(Stop())
        assert (await person.see(Returned)).text == "wait"
        if not any(isinstance(each, Opened) for each in person.seen):
            await person.see(Opened)
    async with talking(tmp_path, [reply("one")], Start(model="nobody/nothing")) as person:
        await person.say("hello")
        assert (await person.see(Returned)).text == "hello"


async def test_how_things_stand_is_told(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "trunk", work], check=True)
    (work / "a.txt").write_text("a")
    async with talking(tmp_path, [reply("one")]) as person:
        await person.see(Opened)
        await person.say("first")
        await person.see(Standing, busy=True)
        standing = await person.see(Standing, busy=False, title="first", dirty=1)
        assert standing.branch == "trunk"
        assert standing.model == "scripted/test"
        assert standing.agent == "build"
        assert {"build", "plan"} <= set(standing.agents)


async def test_a_message_waits_for_the_turn_and_comes_back_when_that_is_stopped(
    tmp_path: Path,
) -> None:
    going = reply(call("bash", command="sleep 30"))
    async with talking(tmp_path, [going, reply("done")], settings={"access": "full"}) as person:
        await person.see(Opened)
        await person.say("go")
        await person.see(Standing, busy=True)
        await person.say("and then this")
        await person.see(Standing, waiting=("and then this",))
        await person.do(Stop())
        assert (await person.see(Returned)).text == "and then this"
        assert (await person.see(TurnFinished)).reason == "cancelled"
        await person.see(Standing, busy=False, waiting=())


async def test_what_waits_is_said_when_the_turn_is_over(tmp_path: Path) -> None:
    going = reply(call("bash", command="until test -e go; do sleep 0.02; done"))
    replies = [going, reply("one"), reply("two")]
    async with talking(tmp_path, replies, settings={"access": "full"}) as person:
        await person.see(Opened)
        await person.say("first")
        await person.see(Standing, busy=True)
        await person.say("second")
        (tmp_path / "work" / "go").touch()
        assert (await person.see(TurnFinished)).text == "one"
        assert (await person.see(TurnFinished)).text == "two"


async def test_a_question_is_answered(tmp_path: Path) -> None:
    replies = [reply(call("write_file", path="a.txt", content="hello\n")), reply("written")]
    async with talking(tmp_path, replies, settings={"access": "ask"}) as person:
        await person.see(Opened)
        await person.say("write")
        asking = (await person.see(Asking)).question
        assert asking.kind == "approval"
        assert "+hello" in asking.diff
        await person.do(Reply(asking.id, Answer("once")))
        await person.see(Settled, question=asking.id)
        assert (await person.see(TurnFinished)).text == "written"
        assert (tmp_path / "work" / "a.txt").read_text() == "hello\n"


async def test_a_question_that_is_stopped_needs_no_answer(tmp_path: Path) -> None:
    replies = [reply(call("write_file", path="a.txt", content="hello\n")), reply("no")]
    async with talking(tmp_path, replies, settings={"access": "ask"}) as person:
        await person.see(Opened)
        await person.say("write")
        asking = (await person.see(Asking)).question
        await person.do(Stop())
        await person.see(Settled, question=asking.id)
        assert (await person.see(TurnFinished)).reason == "cancelled"
        assert not (tmp_path / "work" / "a.txt").exists()


async def test_an_unknown_command_is_said_and_not_sent(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("one")]) as person:
        await person.see(Opened)
        await person.say("/modle")
        shown = await person.see(Shown, kind="error")
        assert "/modle" in shown.text
        assert "/model" in shown.hint
        assert person.conversation.kernel.provider("scripted").asked == []  # type: ignore[attr-defined]


async def test_a_path_at_the_beginning_is_a_message(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("one")]) as person:
        await person.see(Opened)
        await person.say("/etc/hosts holds what?")
        assert (await person.see(TurnFinished)).text == "one"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("/help", True),
        ("/ help", False),
        ("/etc/hosts", False),
        ("help", False),
        ("/", False),
        ("", False),
    ],
)
def test_what_is_a_command(text: str, is_one: bool) -> None:
    assert is_command(text) is is_one


async def test_the_agent_is_switched_in_the_same_session(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("one"), reply("two")]) as person:
        first = await person.see(Opened)
        await person.say("first")
        await person.see(TurnFinished)
        await person.see(Standing, busy=False)
        await person.say("/agent plan")
        again = await person.see(Opened)
        assert again.session == first.session
        assert [message.text for message in again.messages] == ["first", "one"]
        await person.see(Standing, agent="plan")
        await person.say("second")
        await person.see(TurnFinished)
        tools = person.conversation.kernel.provider("scripted").asked[1].tools  # type: ignore[attr-defined]
        assert "write_file" not in {tool.name for tool in tools}


async def test_the_access_mode_holds_from_the_next_call_on(tmp_path: Path) -> None:
    replies = [reply(call("write_file", path="a.txt", content="hello\n")), reply("written")]
    async with talking(tmp_path, replies, settings={"access": "ask"}) as person:
        await person.see(Opened)
        await person.say("/access-mode full")
        await person.see(Standing, access="full")
        await person.say("write")
        assert (await person.see(TurnFinished)).text == "written"
        assert not any(isinstance(what, Asking) for what in person.seen)
        await person.say("/access-mode never")
        assert "never" in (await person.see(Shown, kind="error")).text


async def test_sessions_are_offered_and_resumed(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("one"), reply("two")]) as person:
        first = (await person.see(Opened)).session
        await person.say("remember me")
        await person.see(TurnFinished)
        await person.see(Standing, busy=False)
        await person.say("/new")
        second = await person.see(Opened)
        assert second.session != first
        await person.say("/sessions")
        choosing = await person.see(Choosing, about="session")
        assert [entry.label for entry in choosing.entries] == ["remember me"]
        await person.do(Choose("session", choosing.entries[0].key))
        again = await person.see(Opened)
        assert again.session == first
        assert again.messages[0].text == "remember me"


async def test_going_back_gives_files_back_and_keeps_the_session(tmp_path: Path) -> None:
    replies = [
        reply(call("write_file", path="a.txt", content="one\n")),
        reply("first done"),
        reply(call("write_file", path="b.txt", content="two\n")),
        reply("second done"),
        reply(call("write_file", path="b.txt", content="three\n")),
        reply("third done"),
    ]
    work = tmp_path / "work"
    async with talking(tmp_path, replies, settings={"access": "full"}) as person:
        first = (await person.see(Opened)).session
        await person.say("make a")
        await person.see(TurnFinished)
        await person.say("make b")
        await person.see(TurnFinished)
        await person.see(Standing, busy=False)
        await person.say("/rewind")
        choosing = await person.see(Choosing, about="message")
        assert [entry.label for entry in choosing.entries] == ["make b", "make a"]
        await person.do(Rewind(choosing.entries[0].key))
        opened = await person.see(Opened)
        assert opened.session != first
        assert opened.draft == "make b"
        assert [m.text for m in opened.messages if m.role == "user"] == ["make a"]
        assert (work / "a.txt").exists()
        assert not (work / "b.txt").exists()
        await person.say("make b, better")
        await person.see(TurnFinished)
        await person.see(Standing, busy=False)
        assert (work / "b.txt").read_text() == "three\n"
        await person.say("/undo")
        await person.see(Shown, kind="diff")
        assert not (work / "b.txt").exists()
        await person.say("/redo")
        await person.see(Shown, kind="diff")
        assert (work / "b.txt").read_text() == "three\n"
        await person.say(f"/resume {first}")
        assert len((await person.see(Opened)).messages) == 8


async def test_going_back_to_the_first_message_begins_a_session(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("one")]) as person:
        first = (await person.see(Opened)).session
        await person.say("hello")
        await person.see(TurnFinished)
        await person.see(Standing, busy=False)
        session = person.conversation.session
        assert session is not None
        await person.do(Rewind(session.messages[0].id))
        opened = await person.see(Opened)
        assert (opened.session == first, opened.messages, opened.draft) == (False, (), "hello")


async def test_without_a_model_it_says_so_and_stays(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("one")], Start(model="nobody/x")) as person:
        assert "nobody" in (await person.see(Shown, kind="error")).text
        await person.say("hello")
        assert (await person.see(Returned)).text == "hello"
        await person.say("/model scripted/test")
        await person.see(Opened)
        await person.say("hello")
        assert (await person.see(TurnFinished)).text == "one"


async def test_models_are_offered(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("one")]) as person:
        await person.see(Opened)
        await person.say("/model")
        choosing = await person.see(Choosing, about="model", more=False)
        assert choosing.current == "scripted/test"
        assert "scripted" in {entry.group for entry in choosing.entries}


async def test_a_command_of_a_project_that_is_not_trusted_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "work" / ".codetether" / "commands"
    folder.mkdir(parents=True)
    (folder / "review.md").write_text("Look at $1.")
    async with talking(tmp_path, [reply("one")]) as person:
        await person.see(Opened)
        await person.say("/review a.py")
        shown = await person.see(Shown)
        assert "not trusted" in shown.text
        assert "codetether config trust" in shown.hint


async def test_commands_are_files(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "codetether-agent" / "commands"
    folder.mkdir(parents=True)
    (folder / "greet.md").write_text(
        "---\ndescription: Greet\n---\nSay hello to $1, then $ARGUMENTS."
    )
    async with talking(tmp_path, [reply("one")]) as person:
        await person.see(Opened)
        await person.say("/greet Ada and Bob")
        await person.see(TurnFinished)
        asked = person.conversation.kernel.provider("scripted").asked  # type: ignore[attr-defined]
        assert asked[0].messages[-1].text == "Say hello to Ada, then Ada and Bob."


@pytest.mark.parametrize(
    ("body", "words", "text"),
    [
        ("do it", "", "do it"),
        ("do it", "now", "do it\n\nnow"),
        ("$2 before $1", "a b", "b before a"),
        ("$3", "a b", ""),
        ("/quit", "", " /quit"),
    ],
)
def test_words_of_a_command_file(body: str, words: str, text: str) -> None:
    assert filled(body, words) == text


async def test_what_may_come_next(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "src").mkdir(parents=True)
    (work / "src" / "parser.py").touch()
    (work / "ignored.log").touch()
    (work / ".gitignore").write_text("*.log\n")
    async with talking(tmp_path, [reply("one")]) as person:
        await person.see(Opened)
        talk = person.conversation
        assert [c.text for c in await candidates(talk, "/comp")] == ["/compact"]
        assert [c.text for c in await candidates(talk, "/agent pl")] == ["plan"]
        assert [c.text for c in await candidates(talk, "/model scri")] == ["scripted/"]
        assert "scripted/demo" in [c.text for c in await candidates(talk, "/model scripted/de")]
        assert [(c.text, c.length) for c in await candidates(talk, "look at @prs")] == [
            ("@src/parser.py ", 4)
        ]
        assert await candidates(talk, "look at @ignored") == []
        assert await candidates(talk, "mail me@exam") == []


@given(st.text(max_size=12), st.lists(st.text("abc/._AB", min_size=1, max_size=12), max_size=30))
def test_closest_finds_every_name_that_holds_the_letters(pattern: str, names: list[str]) -> None:
    def holds(name: str) -> bool:
        rest = iter(name.casefold())
        return all(letter in rest for letter in pattern.casefold())

    found = closest(pattern, "\n".join(names), limit=100)
    assert sorted(found) == sorted(name for name in names if holds(name))


async def test_things_that_are_only_told(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("one")]) as person:
        await person.see(Opened)
        for line, part in [
            ("/status", "scripted/test"),
            ("/tools", "read_file"),
            ("/plugins", "tools:bash"),
            ("/cost", "unknown"),
        ]:
            await person.say(line)
            assert part in (await person.see(Shown)).text
        await person.say("/help")
        around = await person.see(Around)
        assert ("/rewind", "Go back to before a message, files included") in around.commands
        await person.see(Screen, what="help")
        await person.say("/theme light")
        assert (await person.see(Screen, what="theme")).name == "light"


async def test_a_session_is_exported(tmp_path: Path) -> None:
    async with talking(tmp_path, [reply("the answer")]) as person:
        await person.see(Opened)
        await person.say("hello")
        await person.see(TurnFinished)
        await person.say("/export out.md")
        await person.see(Shown, text="written: out.md")
        assert "the answer" in (tmp_path / "work" / "out.md").read_text()


async def test_compacting_now(tmp_path: Path) -> None:
    replies = [reply("x" * 60_000), reply("two"), reply("a summary")]
    async with talking(tmp_path, replies, context=200_000) as person:
        await person.see(Opened)
        await person.say("hello")
        await person.see(TurnFinished)
        await person.see(Standing, busy=False)
        await person.say("/compact")
        assert "nothing" in (await person.see(Shown, kind="error")).text
        await person.say("more")
        await person.see(TurnFinished)
        await person.see(Standing, busy=False)
        await person.say("/compact")
        compacted = await person.see(Compacted)
        assert compacted.after < compacted.before
        assert (await person.see(Standing, busy=False)).context == compacted.after
