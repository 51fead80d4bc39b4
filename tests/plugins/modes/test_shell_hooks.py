"""Shell hooks over whole turns: real `sh`, a scripted model. Trust and the command line are in tests/flow."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import ClassVar

import msgspec
import pytest
import trio
from codetether.api import Effect, Extension, Finding, Notice, Sandbox, Tool, ToolOutput, hookimpl
from codetether.testing import Call, Reply, call, check_plugin, make_kernel, processes_with, reply
from codetether.trust import trust
from codetether_extension_shell_hooks.protocol import MOST_OUTPUT, MOST_RESULT, MOST_TEXT

HOOKS = 'plugins."extensions:shell_hooks"'
NO = "cat >/dev/null; echo 'not that' >&2; exit 2"


class Params(msgspec.Struct):
    command: str = ""


class Do(Tool[Params]):
    """Does it."""

    api = 1
    params = Params
    effect = Effect.EXECUTE
    aliases = ("perform",)
    text = "Do it."
    done: ClassVar[list] = []

    async def run(self, params, ctx):
        self.done.append(params.command)
        return ToolOutput(f"did {params.command}")


class Ear(Extension):
    """Hears what a person is warned of."""

    api = 1
    heard: ClassVar[list] = []

    @hookimpl
    async def codetether_observe(self, event):
        if isinstance(event, Notice):
            self.heard.append(event.text)


class Box(Sandbox):
    """Confines nothing, and remembers what it was asked to."""

    api = 1
    wrapped: ClassVar[list] = []

    async def probe(self):
        return Finding("ok", self.key, "a double")

    def wrap(self, launch, policy):
        self.wrapped.append(launch.argv[-1])
        return launch


@pytest.fixture(autouse=True)
def fresh():
    Do.done.clear()
    Ear.heard.clear()
    Box.wrapped.clear()


def said(**answer):
    """A command that answers this."""
    return f"cat >/dev/null; printf '%s' '{json.dumps(answer)}'"


def hook(event, command, **more):
    return {"event": event, "command": command, **more}


@asynccontextmanager
async def session_of(tmp_path, hooks, replies, *, settings=None, access="full"):
    """A session with these hooks (by name) and a tool `do`; `notices` on it is what was told."""
    given = ({f"{HOOKS}.hooks": hooks} if hooks else {}) | (settings or {})
    async with (
        make_kernel(
            tmp_path,
            replies=replies,
            plugins=["sandboxes", "extensions:shell_hooks"],
            extra={"tools:do": Do, "extensions:ear": Ear, "sandboxes:box": Box},
            settings={"sandbox": "box"} | given,
        ) as kernel,
        kernel.open_session(directory=tmp_path / "work", access=access) as session,
    ):
        session.notices = Ear.heard
        yield session


def doing(*commands):
    return [*(reply(call("do", command=command)) for command in commands or ("x",)), "done"]


def results(session):
    return [result for message in session.messages for result in message.results]


def sent(session):
    """What the user's side of the conversation says."""
    return [message.text for message in session.messages if message.role == "user"]


async def one(tmp_path, hooks, replies=None, **how):
    """A prompt to its end: how the turn ended, the session's results, texts of the user's side, notices."""
    async with session_of(tmp_path, hooks, replies or doing(), **how) as session:
        finished = await session.prompt("go")
        return finished, results(session), sent(session), list(session.notices)


def test_contract():
    check_plugin("shell_hooks", "codetether.extensions")


# --- before a tool ---
async def test_exit_code_2_denies_and_the_model_reads_why(tmp_path):
    finished, told, _, notices = await one(tmp_path, {"guard": hook("before_tool", NO)})
    assert Do.done == []
    assert "guard: not that" in told[0].text
    assert told[0].meta["denied_by"] == "extensions:shell_hooks"
    assert finished.reason == "denied"
    assert notices == []


async def test_json_denies_with_a_reason(tmp_path):
    deny = said(decision="deny", reason="on\na Sunday\x1b[31m")
    _, told, _, _ = await one(tmp_path, {"guard": hook("before_tool", deny)})
    assert Do.done == []
    assert "guard: on a Sunday" in told[0].text
    assert "\x1b" not in told[0].text


async def test_ask_asks_and_nobody_is_there(tmp_path):
    asks = said(decision="ask", reason="look first")
    _, told, _, _ = await one(tmp_path, {"guard": hook("before_tool", asks)})
    assert Do.done == []
    assert "look first" in told[0].text
    assert "nobody is there to ask" in told[0].text


async def test_allow_allows_nothing_that_rules_forbid(tmp_path):
    rules = {"permissions.tools": {"do": "deny"}}
    allow = {"kind": hook("before_tool", said(decision="allow"))}
    await one(tmp_path, allow, settings=rules)
    assert Do.done == []


async def test_silence_goes_on(tmp_path):
    _, told, _, notices = await one(tmp_path, {"quiet": hook("before_tool", "cat >/dev/null")})
    assert (Do.done, told[0].text, notices) == (["x"], "did x", [])


async def test_what_a_hook_hears(tmp_path):
    heard = tmp_path / "heard"
    hooks = {"ear": hook("before_tool", f"cat >'{heard}'; env >'{heard}.env'; pwd >'{heard}.pwd'")}
    await one(tmp_path, hooks)
    told = json.loads(heard.read_text())
    assert (told["version"], told["event"], told["hook"]) == (1, "before_tool", "ear")
    assert (told["tool"], told["arguments"], told["depth"]) == ("do", {"command": "x"}, 0)
    assert told["directory"] == (tmp_path / "heard.pwd").read_text().strip()
    env = dict(line.split("=", 1) for line in (tmp_path / "heard.env").read_text().splitlines())
    assert (env["CODETETHER_HOOK"], env["CODETETHER_TOOL"]) == ("ear", "do")
    assert env["CODETETHER_ROOT"]
    assert env["CODETETHER_SESSION"] == told["session"]


async def test_secrets_reach_no_hook(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-env-1234567")
    heard = tmp_path / "heard"
    hooks = {"ear": hook("after_tool", f"cat >'{heard}'; env >>'{heard}'")}
    async with session_of(tmp_path, hooks, doing("say canary-key-1234567")) as session:
        session.kernel.redact.add("canary-key-1234567")
        await session.prompt("go")
    assert "did say" in heard.read_text()
    assert "canary" not in heard.read_text()


@pytest.mark.parametrize(
    ("patterns", "ran"), [(["d?"], []), (["perform"], []), (["bash", "edit*"], ["x"]), ([], ["x"])]
)
async def test_patterns_of_tools(tmp_path, patterns, ran):
    """Aliases count: a veto on the one name is a veto on the other."""
    await one(tmp_path, {"guard": hook("before_tool", NO, tools=patterns)})
    assert Do.done == ran


async def test_hooks_run_in_order_and_a_veto_ends_it(tmp_path):
    log = tmp_path / "log"
    hooks = {
        name: hook("before_tool", f"echo {name} >>'{log}'{more}")
        for name, more in (("second", ""), ("first", "; exit 2"), ("third", ""))
    }
    await one(tmp_path, hooks)
    assert log.read_text().split() == ["second", "first"]


async def test_the_strictest_holds(tmp_path):
    asks = hook("before_tool", said(decision="ask", reason="hm"))
    allow = hook("before_tool", said(decision="allow"))
    _, told, _, _ = await one(tmp_path, {"a": asks, "b": allow})
    assert Do.done == []
    assert "a: hm" in told[0].text


# --- arguments ---
async def test_arguments_are_changed_and_the_model_is_told(tmp_path):
    hooks = {"fix": hook("before_tool", said(arguments={"command": "y"}))}
    _, told, _, _ = await one(tmp_path, hooks)
    assert Do.done == ["y"]
    assert "changed the arguments" in told[0].text


async def test_a_hook_is_not_asked_about_what_it_wrote(tmp_path):
    """Otherwise one that puts something in front of a command would do it twice, which the kernel denies."""
    script = tmp_path / "longer.sh"
    script.write_text(
        'sed \'s/.*"command":"\\([^"]*\\)".*/{"arguments":{"command":"nice \\1"}}/\'\n'
    )
    await one(tmp_path, {"nicer": hook("before_tool", f"sh '{script}'")})
    assert Do.done == ["nice x"]


async def test_a_change_into_what_is_denied_is_denied(tmp_path):
    hooks = {"fix": hook("before_tool", said(arguments={"command": "y"}))}
    rules = {"permissions.commands": {"y": "deny"}}
    _, told, _, _ = await one(tmp_path, hooks, settings=rules)
    assert Do.done == []
    assert "rule `* y`" in told[0].text


async def test_an_earlier_hook_hears_what_a_later_one_wrote(tmp_path):
    guard = hook("before_tool", 'grep -q \'"command":"y"\' && exit 2; exit 0')
    hooks = {"guard": guard, "fix": hook("before_tool", said(arguments={"command": "y"}))}
    _, told, _, _ = await one(tmp_path, hooks)
    assert Do.done == []
    assert "guard" in told[0].text


async def test_arguments_the_tool_does_not_take_are_no_call(tmp_path):
    hooks = {"fix": hook("before_tool", said(arguments={"nothing": 1}))}
    await one(tmp_path, hooks)
    assert Do.done == []


# --- what the model reads ---
async def test_context_comes_with_the_result(tmp_path):
    hooks = {
        "before": hook("before_tool", said(context="tests are slow")),
        "after": hook("after_tool", "cat >/dev/null; echo 'not formatted' >&2; exit 2"),
    }
    _, told, _, _ = await one(tmp_path, hooks)
    assert told[0].text == "did x\n\n[hook before: tests are slow]\n\n[hook after: not formatted]"


async def test_a_result_is_replaced(tmp_path):
    hooks = {"after": hook("after_tool", said(result="nothing to see"))}
    _, told, _, _ = await one(tmp_path, hooks)
    assert told[0].text == "nothing to see"


async def test_after_a_denied_call_nothing_runs(tmp_path):
    ran = tmp_path / "ran"
    hooks = {"guard": hook("before_tool", NO), "after": hook("after_tool", f"touch '{ran}'")}
    await one(tmp_path, hooks)
    assert not ran.exists()


async def test_long_context_is_cut(tmp_path):
    long = f"head -c {3 * MOST_TEXT} /dev/zero | tr '\\0' a >&2; exit 2"
    _, told, _, _ = await one(tmp_path, {"after": hook("after_tool", long)})
    assert MOST_TEXT <= len(told[0].text) < MOST_TEXT + 100


async def test_a_long_result_is_cut(tmp_path):
    script = (
        "cat >/dev/null; printf '{\"result\":\"'; head -c 300000 /dev/zero | tr '\\0' a; echo '\"}'"
    )
    _, told, _, _ = await one(tmp_path, {"after": hook("after_tool", script)})
    assert len(told[0].text) == MOST_RESULT


# --- the prompt and the end ---
async def test_a_prompt_is_refused_and_never_sent(tmp_path):
    hooks = {"guard": hook("on_prompt", NO)}
    async with session_of(tmp_path, hooks, ["never"]) as session:
        finished = await session.prompt("the canary prompt")
        assert (finished.reason, finished.steps) == ("denied", 0)
        assert "guard: not that" in finished.error
        assert session.context == []


async def test_a_prompt_gets_context(tmp_path):
    hooks = {
        "place": hook("session_start", said(context="it rains")),
        "note": hook("on_prompt", said(context="be brief")),
    }
    async with session_of(tmp_path, hooks, ["one", "two"]) as session:
        await session.prompt("first")
        await session.prompt("second")
        assert sent(session) == [
            "first",
            "[hook place: it rains]\n\n[hook note: be brief]",
            "second",
            "[hook note: be brief]",
        ]


async def test_stop_makes_the_turn_go_on_until_the_limit(tmp_path):
    log = tmp_path / "log"
    hooks = {
        "gate": hook("on_stop", f"cat >>'{log}'; echo 'tests fail' >&2; exit 2"),
        "prompted": hook("on_prompt", f"echo prompt >>'{log}'"),
    }
    replies = ["done", "done again", "and again", "no more"]
    settings = {f"{HOOKS}.go_on_limit": 2}
    async with session_of(tmp_path, hooks, replies, settings=settings) as session:
        finished = await session.prompt("go")
        assert (finished.reason, finished.text) == ("done", "and again")
        assert sent(session) == ["go", *["[hook gate: tests fail]"] * 2]
        assert "2 times (go_on_limit)" in session.notices[0]
        prompts, *stops = log.read_text().splitlines()
        assert prompts == "prompt"
        assert [json.loads(line)["went_on"] for line in stops] == [0, 1, 2]
        assert json.loads(stops[1])["text"] == "done again"


async def test_stop_is_content(tmp_path):
    hooks = {"gate": hook("on_stop", "cat >/dev/null")}
    finished, _, texts, _ = await one(tmp_path, hooks)
    assert (finished.reason, texts) == ("done", ["go"])


async def test_a_turn_that_failed_does_not_go_on(tmp_path):
    ran = tmp_path / "ran"
    hooks = {"gate": hook("on_stop", f"touch '{ran}'")}
    finished, *_ = await one(tmp_path, hooks, settings={"session.max_steps": 1})
    assert finished.reason == "step_limit"
    assert not ran.exists()


async def test_questions_and_the_end_are_told(tmp_path):
    heard = tmp_path / "heard"
    hooks = {
        "bell": hook("on_ask", f"cat >'{heard}.part'; mv '{heard}.part' '{heard}'"),
        "bye": hook("session_end", f"touch '{heard}.end'"),
    }
    async with session_of(tmp_path, hooks, doing(), access="ask") as session:
        await session.prompt("go")
        with trio.fail_after(60):
            while not heard.exists():
                await trio.sleep(0.01)
    told = json.loads(heard.read_text())
    assert (told["event"], told["kind"]) == ("on_ask", "approval")
    assert "do x" in told["title"]
    assert (tmp_path / "heard.end").exists()


async def test_in_a_sub_agent_the_hooks_of_tools_run_and_those_of_prompts_do_not(tmp_path):
    log = tmp_path / "log"
    hooks = {
        name: hook(name.replace("-", "_"), f"cat >>'{log}'")
        for name in ("session-start", "on-prompt", "before-tool", "after-tool", "on-stop")
    }
    async with session_of(tmp_path, hooks, ["nothing"]) as session:
        kernel = session.kernel
        kernel.provider("scripted").use(doing())
        async with kernel.open_session(
            directory=tmp_path / "work", access="full", started_by=session.id
        ) as below:
            await below.prompt("go")
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [each["event"] for each in told] == ["before_tool", "after_tool"]
    assert [each["depth"] for each in told] == [1, 1]


async def test_calls_side_by_side_are_judged_each_for_itself(tmp_path):
    class Look(Do):
        """Looks."""

        api = 1
        effect = Effect.READ
        aliases = ()

    only = 'grep -q \'"command":"3"\' && { echo not 3 >&2; exit 2; }; exit 0'
    calls = Reply("", calls=tuple(Call("look", {"command": str(n)}) for n in range(12)))
    async with (
        make_kernel(
            tmp_path,
            replies=[calls, "done"],
            plugins=["sandboxes", "extensions:shell_hooks"],
            extra={"tools:look": Look},
            settings={"sandbox": "none", f"{HOOKS}.hooks": {"guard": hook("before_tool", only)}},
        ) as kernel,
        kernel.open_session(directory=tmp_path / "work", access="full") as session,
    ):
        await session.prompt("go")
        told = results(session)
    assert [result.ok for result in told] == [n != 3 for n in range(12)]
    assert sorted(Do.done) == sorted(str(n) for n in range(12) if n != 3)


# --- where it runs ---
async def test_only_a_person_lets_a_hook_out_of_the_sandbox(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "codetether.toml").write_text(
        f"[{HOOKS}.hooks.theirs]\nevent = 'after_tool'\ncommand = 'true theirs'\nsandbox = false\n"
    )
    trust(work, SimpleNamespace(config=tmp_path / "config/codetether-agent"))
    own = {
        "out": hook("before_tool", "true out", sandbox=False),
        "in": hook("before_tool", "true in"),
    }
    hooks = {f"{HOOKS}.hooks.{name}": settings for name, settings in own.items()}
    async with session_of(tmp_path, None, doing(), settings=hooks) as session:
        await session.prompt("go")
    assert Box.wrapped == ["true in", "true theirs"]


# --- what goes wrong ---
BROKEN = {
    "exit code 1": "echo oops >&2; exit 1",
    "cannot be started": "exec /nowhere/at/all",
    "exit code 137": "kill -9 $$",
    "no answer": "echo hello",
    "its output is no answer": "echo '[1]'",
    "takes decision, reason, arguments, context": said(go_on="more"),
    "more than 1,000,000 bytes": f"head -c {2 * MOST_OUTPUT} /dev/zero",
}


@pytest.mark.parametrize("what", BROKEN)
async def test_what_fails_denies_and_is_told(tmp_path, what):
    _, told, _, notices = await one(tmp_path, {"bad": hook("before_tool", BROKEN[what])})
    assert Do.done == []
    assert "bad" in told[0].text
    assert what in notices[0]


async def test_what_fails_can_be_a_warning_only(tmp_path):
    hooks = {"bad": hook("before_tool", "exit 1", on_error="warn")}
    _, told, _, notices = await one(tmp_path, hooks)
    assert (Do.done, told[0].text) == (["x"], "did x")
    assert "exit code 1" in notices[0]


@pytest.mark.parametrize("event", ["session_start", "after_tool", "on_stop"])
async def test_where_nothing_can_be_denied_a_failure_is_a_warning(tmp_path, event):
    finished, _, _, notices = await one(tmp_path, {"bad": hook(event, "exit 3")})
    assert (Do.done, finished.reason) == (["x"], "done")
    assert f"bad ({event}): exit code 3" in notices[0]


async def test_a_prompt_whose_hook_fails_is_not_sent(tmp_path):
    finished, *_ = await one(tmp_path, {"bad": hook("on_prompt", "exit 1")})
    assert (finished.reason, finished.steps) == ("denied", 0)


async def test_a_hook_that_takes_too_long_is_ended_with_its_children(tmp_path, monkeypatch):
    marker = f"slow-hook-{os.getpid()}"
    monkeypatch.setenv("LC_TEST", marker)
    slow = "cat >/dev/null; sleep 300 & setsid sleep 300 & sleep 300"
    hooks = {"slow": hook("before_tool", slow, timeout=0.5)}
    _, _, _, notices = await one(tmp_path, hooks)
    assert Do.done == []
    assert "it took longer" in notices[0]
    assert processes_with(f"LC_TEST={marker}").keys() <= {os.getpid()}


async def test_a_cancelled_turn_ends_the_hook(tmp_path, monkeypatch):
    marker = f"cut-hook-{os.getpid()}"
    monkeypatch.setenv("LC_TEST", marker)
    begun = tmp_path / "begun"
    hooks = {"slow": hook("before_tool", f"touch '{begun}'; sleep 300 & sleep 300")}
    async with session_of(tmp_path, hooks, doing()) as session:

        async def cut():
            while not begun.exists():
                await trio.sleep(0.01)
            session.cancel()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut)
                finished = await session.prompt("go")
        assert finished.reason == "cancelled"
    assert Do.done == []
    assert processes_with(f"LC_TEST={marker}").keys() <= {os.getpid()}


async def test_a_hook_need_not_read(tmp_path):
    """Far more than a pipe holds, and nobody reads it."""
    hooks = {"deaf": hook("before_tool", "exec 0<&-; exit 0")}
    await one(tmp_path, hooks, doing("x" * 500_000))
    assert len(Do.done) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"event": "before_tool"}, "command"),
        ({"event": "sometimes", "command": "true"}, "sometimes"),
        ({"event": "on_stop", "command": "true", "tools": ["x"]}, "tools has no effect on on_stop"),
        ({"event": "after_tool", "command": "true", "on_error": "deny"}, "on_error has no effect"),
        ({"event": "before_tool", "command": "true", "comand": "x"}, "comand"),
    ],
)
async def test_settings_that_cannot_be_read_let_nothing_through(tmp_path, wrong, says):
    finished, *_ = await one(tmp_path, {"bad": wrong}, ["never"])
    assert (finished.reason, finished.steps) == ("denied", 0)
    assert says in finished.error


async def test_the_doctor_lists_them(tmp_path):
    async with session_of(tmp_path, {"guard": hook("before_tool", "true")}, []) as session:
        found = await session.calls.collect("codetether_doctor")
    assert any("guard (before_tool) runs `true`" in f.text for each in found for f in each)
