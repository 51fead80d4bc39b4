"""Whole turns against the scripted provider: what reaches the model, the transcript and the listeners."""

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
import trio
import trio.testing
from codetether.api import (
    Answer,
    CodetetherError,
    Effect,
    Extension,
    Message,
    ProviderFault,
    Text,
    Tool,
    ToolError,
    ToolOutput,
    Usage,
    Verdict,
    hookimpl,
)
from codetether.events import (
    Compacted,
    Notice,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
)
from codetether.loop import NOT_BEGUN
from codetether.session_files import latest_session
from codetether.testing import Call, Reply, make_kernel
from codetether.transcript import Transcript
from codetether_provider_scripted import Scripted
from msgspec import Meta


class Params(msgspec.Struct):
    word: Annotated[str, Meta(description="A word")] = "x"
    times: Annotated[int, Meta(description="How often", ge=1)] = 1


class Look(Tool[Params]):
    """Looks; meets its twin when two run side by side."""

    api = 1
    params = Params
    effect = Effect.READ
    aliases = ("peek",)
    text = "Look at something."
    log: list = []
    here: trio.Event
    meet: trio.Event

    async def run(self, params, ctx):
        self.log.append(("start", params.word))
        await ctx.progress(f"looking at {params.word}\n")
        if params.word == "first":
            Look.here.set()
            await Look.meet.wait()
        elif params.word == "second":
            Look.meet.set()
            await Look.here.wait()
        elif params.word == "crash":
            raise RuntimeError("a bug in the tool")
        elif params.word == "exit":
            sys.exit(1)
        elif params.word == "refuse":
            raise ToolError("Not that one. Try another.", "NOT_FOUND")
        elif params.word == "hang":
            await trio.sleep_forever()
        elif params.word == "huge":
            return ToolOutput("head\n" + "x" * 200_000 + "\ntail")
        elif params.word == "nested":
            inner = await ctx.call("look", {"word": "inner"})
            return ToolOutput(f"inside: {inner.text}")
        self.log.append(("end", params.word))
        return ToolOutput(" ".join([params.word] * params.times), meta={"n": params.times})


class Change(Look):
    """Changes something, so it runs alone."""

    api = 1
    effect = Effect.WRITE
    aliases = ()
    text = "Change something."


TOOLS = {"tools:look": Look, "tools:change": Change}


@pytest.fixture(autouse=True)
def fresh_log():
    Look.log.clear()
    Look.here, Look.meet = trio.Event(), trio.Event()


@asynccontextmanager
async def session_of(
    tmp_path,
    replies,
    *,
    extra=(),
    access="full",
    context=None,
    plugins=("sandboxes", "extensions:compact"),
    settings=None,
    **wishes,
):
    async with make_kernel(
        tmp_path,
        replies=replies,
        plugins=list(plugins),
        extra=TOOLS | dict(extra),
        context=context,
        settings=settings,
    ) as kernel:
        async with kernel.open_session(
            directory=tmp_path / "work", access=access, **wishes
        ) as session:
            with session.feed.listen(10_000) as feed:
                session.heard = feed
                yield session


def heard(session, kind=None):
    events = [item.event() if hasattr(item, "texts") else item for item in session.heard._queue]
    return [event for event in events if kind is None or isinstance(event, kind)]


def asked(session):
    return session.kernel.provider("scripted").asked


def results(session):
    return [result for message in session.messages for result in message.results]


def calls(*named):
    return Reply(calls=tuple(Call(name, arguments) for name, arguments in named))


async def test_a_plain_answer(tmp_path):
    async with session_of(tmp_path, ["Hello there."]) as session:
        finished = await session.prompt("hi")
    assert (finished.reason, finished.text, finished.steps) == ("done", "Hello there.", 1)
    kinds = [type(event).__name__ for event in heard(session)]
    assert kinds == [
        "SessionStarted", "TurnStarted", "StepStarted", "TextDelta", "MessageDone", "StepFinished", "TurnFinished",
    ]  # fmt: skip
    _, loaded = Transcript.open(session.kernel.sessions_folder, session.id)
    assert [(m.role, m.text) for m in loaded.messages] == [
        ("user", "hi"),
        ("assistant", "Hello there."),
    ]


async def test_looking_runs_side_by_side_and_answers_in_order(tmp_path):
    script = [calls(("look", {"word": "first"}), ("look", {"word": "second"})), "Both seen."]
    async with session_of(tmp_path, script) as session:
        finished = await session.prompt("look")
    assert finished.text == "Both seen."
    assert sorted(Look.log[:2]) == [("start", "first"), ("start", "second")]
    assert sorted(Look.log[2:]) == [("end", "first"), ("end", "second")]
    (tool_message,) = [m for m in asked(session)[1].messages if m.role == "tool"]
    assert [r.text for r in tool_message.results] == ["first", "second"]
    assert [r.call_id for r in tool_message.results] == [c.id for c in session.messages[1].calls]
    assert {e.text for e in heard(session, ToolProgress)} == {
        "looking at first\n",
        "looking at second\n",
    }


async def test_what_changes_runs_alone_and_in_its_turn(tmp_path):
    words = [("look", "a"), ("look", "b"), ("change", "c"), ("look", "d"), ("change", "e")]
    script = [calls(*((name, {"word": word}) for name, word in words)), "ok"]
    async with session_of(tmp_path, script) as session:
        await session.prompt("go")
    assert Look.log[4:] == [(what, word) for word in "cde" for what in ("start", "end")]
    assert [r.text for r in results(session)] == list("abcde")


@pytest.mark.parametrize(
    ("name", "arguments", "ok", "words"),
    [
        ("look", {"word": "w", "times": 2}, True, "w w"),
        ("peek", {"word": "w"}, True, "w"),
        ("look", "", True, "x"),
        ("look", "null", True, "x"),
        ("look", json.dumps(json.dumps({"word": "w"})), True, "w"),
        ("look", {"times": "2"}, True, "x x"),
        (
            "lok",
            {},
            False,
            "There is no tool 'lok'. Did you mean:\n- look(word?: string, times?: integer)\nTools: ",
        ),
        ("look", {"wrd": 1}, False, "unknown parameter wrd; there are: word, times"),
        ("look", {"times": 0}, False, "invalid arguments: Expected `int` >= 1 - at `$.times`"),
        ("look", '{"word": "w"', False, "invalid arguments"),
        ("look", "[1]", False, "expected an object, got list"),
        ("look", '{"times": NaN}', False, "invalid arguments"),
        ("look", '{"times": 1e400}', False, "invalid arguments"),
        ("look", {"word": "crash"}, False, "look failed: RuntimeError: a bug in the tool"),
        ("look", {"word": "exit"}, False, "look failed: SystemExit"),
        ("look", {"word": "refuse"}, False, "Not that one. Try another."),
        ("look", {"word": "nested"}, True, "inside: inner"),
    ],
)
async def test_every_call_gets_its_result(tmp_path, name, arguments, ok, words):
    async with session_of(tmp_path, [calls((name, arguments)), "Done."]) as session:
        finished = await session.prompt("go")
    assert finished.reason == "done"
    (result,) = results(session)
    assert result.ok is ok
    assert words in result.text
    ends = heard(session, ToolFinished)
    assert len(heard(session, ToolStarted)) == len(ends) == (2 if "nested" in str(arguments) else 1)
    assert ends[-1].ok is ok


async def test_wrong_calls_in_a_row_end_the_turn(tmp_path):
    async with session_of(tmp_path, lambda request: calls(("nope", {}))) as session:
        finished = await session.prompt("go")
    assert finished.reason == "error"
    assert "5 times in a row" in finished.error
    assert finished.hint


async def test_large_output_is_bounded_and_kept_in_a_file(tmp_path):
    async with session_of(tmp_path, [calls(("look", {"word": "huge"})), "Done."]) as session:
        await session.prompt("go")
        (result,) = results(session)
        assert len(result.text) < 64 * 1024
        assert result.text.startswith("head\n")
        assert result.text.endswith("\ntail")
        spilled = result.meta["spilled"]
        assert spilled in result.text
        assert session.files in list((session.files / spilled).parents)
        assert Path(spilled).read_text() == "head\n" + "x" * 200_000 + "\ntail"


# --- what goes wrong ---
@pytest.mark.parametrize("fault", [None, ProviderFault("incomplete", "the stream broke off")])
async def test_a_broken_answer_runs_nothing(tmp_path, fault):
    broken = Reply(
        text="I will",
        calls=(Call("change", {"word": "w"}),),
        fault=ProviderFault("network", "reset") if fault is None else fault,
    )
    async with session_of(tmp_path, [broken, "Again."]) as session:
        finished = await session.prompt("go")
        assert finished.reason == "error"
        assert Look.log == []
        assert session.messages[-1].interrupted
        assert session.messages[-1].text == "I will"
        again = await session.prompt("go on")
    assert again.text == "Again."
    sent = asked(session)[-1].messages
    assert all(not m.calls for m in sent)
    assert [m.text for m in sent if m.role == "user"] == ["go", "go on"]


async def test_a_cut_answer_runs_nothing_and_twice_ends_the_turn(tmp_path):
    cut = Reply(
        calls=(Call("change", '{"word": "w", "ti'),), finish="length", usage=Usage(10, 4096)
    )
    async with session_of(tmp_path, [cut, "Smaller then."]) as session:
        finished = await session.prompt("go")
    assert finished.reason == "done"
    assert Look.log == []
    assert "cut at 4096 tokens" in results(session)[0].text
    async with session_of(tmp_path, lambda request: cut) as session:
        finished = await session.prompt("go")
    assert finished.reason == "error"
    assert "2 times in a row" in finished.error
    assert Look.log == []


async def test_a_provider_that_raises_is_a_fault_not_a_crash(tmp_path):
    def broken(request):
        raise KeyError("provider bug")

    async with session_of(tmp_path, broken) as session:
        finished = await session.prompt("go")
    assert finished.reason == "error"
    assert "provider bug" in finished.error


async def test_step_limit_asks_for_a_last_word(tmp_path):
    def script(request):
        return "So far so good." if request.tool_choice == "none" else calls(("look", {}))

    async with session_of(tmp_path, script, max_steps=3) as session:
        finished = await session.prompt("go")
    assert (finished.reason, finished.text, finished.steps) == ("step_limit", "So far so good.", 4)
    assert asked(session)[-1].tools == asked(session)[0].tools  # the prompt cache stays valid


async def test_calls_in_the_last_word_are_answered_and_not_run(tmp_path):
    async with session_of(tmp_path, lambda request: calls(("look", {})), max_steps=1) as session:
        finished = await session.prompt("go")
        assert finished.reason == "step_limit"
        last = session.messages[-1]
    assert [(result.ok, result.text) for result in last.results] == [(False, NOT_BEGUN)]


async def test_budget(tmp_path):
    script = [Reply(calls=(Call("look", {}),), usage=Usage(100, 10, cost=0.4)) for _ in range(5)]
    async with session_of(tmp_path, script, budget_usd=1.0) as session:
        finished = await session.prompt("go")
    assert finished.reason == "budget"
    assert len(asked(session)) == 3
    assert finished.usage.cost == pytest.approx(1.2)


async def test_budget_that_was_used_up_in_the_turn_before(tmp_path):
    script = [Reply("Hello.", usage=Usage(100, 10, cost=1.5))]
    async with session_of(tmp_path, script, budget_usd=1.0) as session:
        assert (await session.prompt("go")).reason == "done"
        again = await session.prompt("and now?")
    assert (again.reason, again.steps, len(asked(session))) == ("budget", 0, 1)


class Unpriced(Scripted):
    """A model nobody knows the price of."""

    async def model(self, model_id):
        known = await super().model(model_id)
        return msgspec.structs.replace(known, input_price=None, output_price=None)


async def test_budget_and_a_price_nobody_knows(tmp_path):
    """It is not asked even once: what it takes cannot be counted."""
    extra = {"providers:scripted": Unpriced}
    async with session_of(tmp_path, ["Hello."], extra=extra, budget_usd=1.0) as session:
        finished = await session.prompt("go")
    assert (finished.reason, asked(session)) == ("budget", [])
    assert finished.error == "a budget is set, and the price of scripted/test is unknown"


async def test_cancel_keeps_what_was_said_and_answers_every_call(tmp_path):
    script = [
        Reply(
            text="Let me see.",
            calls=(Call("look", {"word": "a"}), Call("look", {"word": "hang"}), Call("change", {})),
        ),
        "I see.",
    ]
    async with session_of(tmp_path, script) as session:
        async with trio.open_nursery() as nursery:
            done = []

            async def go():
                done.append(await session.prompt("go"))

            nursery.start_soon(go)
            while ("end", "a") not in Look.log or ("start", "hang") not in Look.log:
                await trio.sleep(0.001)
            session.cancel()
        assert done[0].reason == "cancelled"
        texts = [r.text for r in results(session)]
        assert texts == [
            "a",
            "Cancelled by the person before it finished.",
            "Cancelled by the person before it finished.",
        ]
        assert (await session.prompt("and now?")).text == "I see."
        _, loaded = Transcript.open(session.kernel.sessions_folder, session.id, write=False)
    assert [m.role for m in loaded.messages] == ["user", "assistant", "tool", "user", "assistant"]


async def test_cancel_while_the_model_speaks(tmp_path):
    async with session_of(tmp_path, [Reply(text="Once upon a", stall=True), "The end."]) as session:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.prompt, "tell")
            while not heard(session, TextDelta):
                await trio.sleep(0.001)
            await trio.testing.wait_all_tasks_blocked()
            session.cancel()
        assert session.messages[-1].interrupted
        assert "Once" in session.messages[-1].text
        assert heard(session, TurnFinished)[-1].reason == "cancelled"
        assert (await session.prompt("go on")).text == "The end."


# --- agents, permissions, hooks ---
async def test_plan_cannot_change_anything(tmp_path):
    async with session_of(
        tmp_path, [calls(("change", {})), "I only plan."], agent="plan"
    ) as session:
        await session.prompt("change it")
    assert [schema.name for schema in asked(session)[0].tools] == ["look"]
    (result,) = results(session)
    assert not result.ok
    assert Look.log == []


async def test_asking_with_nobody_there_is_denied_and_told(tmp_path):
    async with session_of(tmp_path, [calls(("change", {})), "I may not."], access="ask") as session:
        finished = await session.prompt("go")
    assert finished.reason == "denied"
    assert "change" in finished.error
    assert "--access-mode" in finished.hint
    assert results(session)[0].text.startswith("Denied: ")
    assert Look.log == []


class Person(Extension):
    """Answers questions from a list."""

    api = 1
    answers: list = []
    questions: list = []

    @hookimpl
    async def codetether_ask(self, question):
        self.questions.append(question)
        return self.answers.pop(0) if self.answers else None


async def test_a_person_is_asked_and_a_session_grant_is_remembered(tmp_path):
    Person.questions.clear()
    Person.answers[:] = [Answer("session")]
    script = [calls(("change", {}), ("change", {})), "Done."]
    async with session_of(
        tmp_path, script, access="ask", extra={"extensions:person": Person}
    ) as session:
        finished = await session.prompt("go")
    assert finished.reason == "done"
    assert [r.ok for r in results(session)] == [True, True]
    assert len(Person.questions) == 1
    assert {choice.key for choice in Person.questions[0].choices} >= {"once", "session", "deny"}


async def test_a_persons_reason_reaches_the_model(tmp_path):
    Person.answers[:] = [Answer("deny", "use the other file")]
    async with session_of(
        tmp_path,
        [calls(("change", {})), "I see."],
        access="ask",
        extra={"extensions:person": Person},
        interactive=True,
    ) as session:
        finished = await session.prompt("go")
    assert finished.reason == "done"
    assert "use the other file" in results(session)[0].text


class Policy(Extension):
    """Watches, vetoes and rewrites."""

    api = 1
    seen: list = []

    @hookimpl
    async def codetether_permit(self, call, tool):
        return Verdict.DENY if call.name == "change" else None

    @hookimpl
    async def codetether_result(self, result):
        return msgspec.structs.replace(result, text=result.text.replace("x x", "y y"))

    @hookimpl
    async def codetether_observe(self, event):
        self.seen.append(type(event).__name__)

    @hookimpl
    async def codetether_context(self, messages):
        return [*messages, Message("user", (Text("remember the tests"),))]

    @hookimpl
    def codetether_system(self):
        return "House rule: be kind."

    @hookimpl
    def codetether_around_tool(self, call):
        @asynccontextmanager
        async def held():
            self.seen.append(f"before {call.name}")
            yield
            self.seen.append(f"after {call.name}")

        return held()


async def test_hooks_watch_veto_and_rewrite(tmp_path):
    Policy.seen.clear()
    async with session_of(
        tmp_path,
        [calls(("look", {"times": 2}), ("change", {})), "ok"],
        extra={"extensions:policy": Policy},
        interactive=True,
    ) as session:
        await session.prompt("go")
    look, change = results(session)
    assert look.text == "y y"
    assert (
        change.text
        == "Denied: plugin extensions:policy said deny. Do not try another way around it."
    )
    assert "before look" in Policy.seen
    assert "after look" in Policy.seen
    assert "before change" not in Policy.seen
    assert "ToolFinished" in Policy.seen
    assert "TextDelta" not in Policy.seen
    request = asked(session)[-1]
    assert request.system.endswith("House rule: be kind.")
    assert request.messages[-1].text == "remember the tests"
    assert all(m.text != "remember the tests" for m in session.messages)


async def test_secrets_never_reach_the_model_or_the_disk(tmp_path):
    script = [calls(("look", {"word": "hunter2-canary-key"})), "Done."]
    async with session_of(tmp_path, script) as session:
        session.kernel.redact.add("hunter2-canary-key")
        await session.prompt("go")
        sent = asked(session)[-1].messages
        assert all("hunter2-canary-key" not in r.text for m in sent for r in m.results)
        folder = session.kernel.sessions_folder
    assert all(
        b"hunter2-canary-key" not in p.read_bytes() for p in folder.rglob("*") if p.is_file()
    )


# --- context ---
async def test_old_output_goes_first_then_a_summary_and_the_person_is_kept_word_for_word(tmp_path):
    big = {"word": "w" * 3000, "times": 4}

    def script(request):
        if not request.tools:
            return Reply(text="SUMMARY: looked a lot.", usage=Usage(10, 5))
        size = sum(len(r.text) for m in request.messages for r in m.results)
        assert size < 8_000 * 4
        done = request.messages[-1].text == "stop now"
        return "Done." if done else calls(("look", big))

    async with session_of(tmp_path, script, context=8_000, max_steps=12) as session:
        await session.prompt("Look at everything, and call me Ishmael.")
        finished = await session.prompt("stop now")
        assert finished.reason == "done", finished.error
        assert heard(session, Compacted)
        sent = asked(session)[-1].messages
        assert sent[0].text.startswith("Look at everything, and call me Ishmael.\n")
        assert len([m for m in session.messages if m.role == "tool"]) >= 12  # nothing is forgotten
        kept, identity = session.context, session.id
        folder = session.kernel.sessions_folder
    _, loaded = Transcript.open(folder, identity)
    assert [m.text for m in loaded.context] == [m.text for m in kept]
    assert len(loaded.messages) > len(loaded.context) - 1


async def test_what_cannot_be_shortened_ends_with_advice_not_a_loop(tmp_path):
    async with session_of(tmp_path, lambda request: "never", context=2_000) as session:
        finished = await session.prompt("word " * 20_000)
    assert finished.reason == "error"
    assert "cannot be shortened" in finished.error
    assert finished.hint
    assert len(asked(session)) <= 2


async def test_a_vendor_that_says_too_long_is_asked_once_more_after_shortening(tmp_path):
    def script(request):
        size = sum(len(r.text) for m in request.messages for r in m.results)
        if not request.tools:
            return "SUMMARY"
        if size > 20_000:
            return Reply(fault=ProviderFault("context", "too long", 400))
        return "Fits now." if size else calls(("look", {"word": "w" * 3000, "times": 10}))

    async with session_of(tmp_path, script) as session:
        finished = await session.prompt("go")
    assert finished.reason == "done", finished.error
    assert heard(session, Compacted)


# --- sessions ---
async def test_resume_fork_and_a_changed_agent(tmp_path):
    async with session_of(tmp_path, ["One."]) as session:
        await session.prompt("first")
        first = session.id
    async with session_of(tmp_path, ["Two."], resume=first[:-2], agent="plan") as session:
        assert session.id == first
        assert session.started.resumed
        await session.prompt("second")
        assert [m.text for m in asked(session)[0].messages] == ["first", "One.", "second"]
    async with session_of(tmp_path, ["Three."], resume=first, fork=True) as session:
        assert session.id != first
        assert session.agent.name == "plan"
        await session.prompt("third")
        assert len(session.messages) == 6
    _, loaded = Transcript.open(session.kernel.sessions_folder, first)
    assert len(loaded.messages) == 4


async def test_a_session_in_use_is_refused_with_a_way_out(tmp_path):
    async with session_of(tmp_path, ["One."]) as session:
        await session.prompt("first")
        with pytest.raises(CodetetherError) as caught:
            async with session.kernel.open_session(directory=tmp_path / "work", resume=session.id):
                pass
        assert "fork" in caught.value.hint


async def test_requests_are_the_same_to_the_byte_but_for_what_was_added(tmp_path):
    script = [calls(("look", {})), calls(("look", {"word": "b"})), "ok"]
    async with session_of(tmp_path, script) as session:
        await session.prompt("go")
    one, two, three = asked(session)
    assert one.system == two.system == three.system
    assert msgspec.json.encode(one.tools) == msgspec.json.encode(three.tools)
    assert two.messages[: len(one.messages)] == one.messages
    assert three.messages[: len(two.messages)] == two.messages
    assert [schema.name for schema in one.tools] == sorted(schema.name for schema in one.tools)


async def test_a_denied_path_cannot_be_read_by_searching(tmp_path):
    (tmp_path / "work" / "secrets").mkdir(parents=True)
    (tmp_path / "work" / "secrets" / "key.txt").write_text("the canary sings\n")
    (tmp_path / "work" / "open.txt").write_text("no canary here\n")
    script = [
        calls(("grep", {"pattern": "canary"}), ("read_file", {"path": "secrets/key.txt"})),
        "ok",
    ]
    async with session_of(
        tmp_path,
        script,
        plugins=("sandboxes", "tools:grep", "tools:read_file"),
        settings={"permissions.paths": {"secrets/**": "deny"}},
        interactive=True,
    ) as session:
        await session.prompt("go")
    assert "no canary here" in results(session)[0].text
    assert all("sings" not in result.text for result in results(session))


def commit(folder, branch):
    for words in (["init", "-q", "-b", branch], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


async def test_a_session_that_goes_on_elsewhere_says_so(tmp_path):
    (tmp_path / "work").mkdir()
    commit(tmp_path / "work", "main")
    async with session_of(tmp_path, ["One."]) as session:
        await session.prompt("first")
        first, folder = session.id, session.kernel.sessions_folder
    subprocess.run(["git", "checkout", "-q", "-b", "feature"], cwd=tmp_path / "work", check=True)
    async with session_of(tmp_path, ["Two."], resume=first) as session:
        await session.prompt("second")
        assert "began on main; the repository is now on feature" in heard(session, Notice)[0].text
    async with session_of(tmp_path, ["Three."]) as session:
        await session.prompt("on feature")
        second = session.id
    work = tmp_path / "work"
    assert latest_session(folder, work, "feature") == second
    assert latest_session(folder, work, "main") == first
    assert latest_session(folder, work, "other") == latest_session(folder, work) == second
