"""The scripted provider: says what the script says, at its pace, and never passes for a model."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest
import trio
from codetether import testing
from codetether.api import (
    CallDelta,
    CallStart,
    Finish,
    Message,
    ProviderFault,
    Request,
    Text,
    TextDelta,
    ThoughtDelta,
    ThoughtEnd,
    ToolCall,
    ToolResult,
    Usage,
)
from codetether_provider_scripted import Scripted, Settings
from codetether_provider_scripted.script import Call, Player, Reply, Rule, Script, When, demo_script


class Kernel:
    def __init__(self, **settings):
        self._settings = settings

    def settings(self, key, cls):
        return cls(**self._settings)


def provider(**settings):
    return Scripted(Kernel(**({"delay": 0.0} | settings)), "providers:scripted")


def asking(model, *messages):
    return Request(model, tuple(messages) or (Message("user", (Text("hi"),)),))


async def said(scripted, request):
    async with scripted.stream(request) as events:
        return [event async for event in events]


def joined(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def test_contract():
    testing.check_plugin("scripted", "codetether.providers")


async def test_everything_a_reply_can_hold_in_order():
    scripted = provider()
    scripted.use(
        [
            Reply(
                "one two",
                "why",
                (Call("bash", {"command": "ls -a"}, "c1"),),
                Usage(input=3, output=2),
            )
        ]
    )
    events = await said(scripted, asking("test"))
    assert events == [
        ThoughtDelta("why"),
        ThoughtEnd(),
        TextDelta("one "),
        TextDelta("two"),
        CallStart(0, "c1", "bash"),
        CallDelta(0, '{"command": '),
        CallDelta(0, '"ls '),
        CallDelta(0, '-a"}'),
        Finish("tool_calls", Usage(input=3, output=2)),
    ]


async def test_replies_in_order_and_then_an_error():
    scripted = provider()
    scripted.use(["first", {"pieces": ["s", "econd"], "finish": "length"}])
    assert joined(await said(scripted, asking("test"))) == "first"
    assert (await said(scripted, asking("test"))) == [
        TextDelta("s"),
        TextDelta("econd"),
        Finish("length"),
    ]
    [finish] = await said(scripted, asking("test"))
    assert finish.error.message == "the script has no more replies"
    assert len(scripted.asked) == 3


async def test_a_function_sees_the_request():
    scripted = provider()
    scripted.use(lambda request: f"{request.model}: {request.messages[-1].text}")
    assert joined(await said(scripted, asking("scripted/test"))) == "scripted/test: hi"


async def test_a_fault_comes_after_what_was_said():
    scripted = provider()
    fault = ProviderFault("incomplete", "the connection ended")
    scripted.use([Reply("half", fault=fault)])
    assert await said(scripted, asking("test")) == [TextDelta("half"), Finish("error", error=fault)]


async def test_exact_events():
    scripted = provider()
    raw = [
        {"type": "call_delta", "index": 4, "arguments": "{"},
        {"type": "finish", "reason": "stop"},
    ]
    scripted.use([{"events": raw}])
    assert await said(scripted, asking("test")) == [CallDelta(4, "{"), Finish("stop")]


async def test_a_stalled_answer_ends_with_its_context():
    scripted = provider()
    scripted.use([Reply("half", stall=True)])
    async with scripted.stream(asking("test")) as events:
        assert await events.receive() == TextDelta("half")
        with trio.move_on_after(0.1) as scope:
            await events.receive()
    assert scope.cancelled_caught


async def test_pieces_come_at_the_pace_that_is_set(autojump_clock):
    started = trio.current_time()
    slow = provider(delay=2.0)
    slow._players["demo"] = Player(replies=[Reply("a b c"), Reply("a b", delay=5.0)])
    await said(slow, asking("demo"))
    assert trio.current_time() - started == pytest.approx(6)
    await said(slow, asking("demo"))
    assert trio.current_time() - started == pytest.approx(16)


# --- where scripts come from ---
@pytest.mark.parametrize("name", ["s.toml", "s.json"])
async def test_a_script_from_a_file(tmp_path, name):
    path = tmp_path / name
    toml = '[[rules]]\nwhen = {user = "bye"}\nreply.text = "goodbye"\n[[replies]]\ntext = "hello"\n'
    as_json = {
        "rules": [{"when": {"user": "bye"}, "reply": {"text": "goodbye"}}],
        "replies": [{"text": "hello"}],
    }
    path.write_text(toml if name.endswith("toml") else json.dumps(as_json))
    scripted = provider()
    bye = Message("user", (Text("bye bye"),))
    assert joined(await said(scripted, asking(f"file:{path}", bye))) == "goodbye"
    assert joined(await said(scripted, asking(f"file:{path}"))) == "hello"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("replies = 1", "is wrong"),
        ("[[replies]]\nwords = 'x'", "words"),
        ("=", "is wrong"),
        (None, "cannot be read"),
    ],
)
async def test_a_wrong_script_is_an_error_that_names_it(tmp_path, text, told):
    path = tmp_path / "s.toml"
    if text is not None:
        path.write_text(text)
    [finish] = await said(provider(), asking(f"file:{path}"))
    assert finish.reason == "error"
    assert finish.error.kind == "invalid"
    assert told in finish.error.message
    assert str(path) in finish.error.message


def answer_for_test(request):
    return {"text": f"{len(request.messages)} message"}


async def test_python_only_when_testing(monkeypatch, tmp_path):
    (tmp_path / "a_script_module.py").write_text("def answer(request):\n    return 'from python'\n")
    monkeypatch.syspath_prepend(tmp_path)
    [refused] = await said(provider(), asking("python:a_script_module:answer"))
    assert "switched off" in refused.error.message
    assert "a_script_module" not in sys.modules
    allowed = provider(testing=True)
    assert joined(await said(allowed, asking("python:a_script_module:answer"))) == "from python"
    [missing] = await said(allowed, asking("python:a_script_module:nothing"))
    assert "no function" in missing.error.message


async def test_an_unknown_script_is_an_error():
    [finish] = await said(provider(), asking("gpt-5"))
    assert finish.error.message == "there is no script 'gpt-5'"


async def test_it_never_passes_for_a_model():
    scripted = provider()
    status = await scripted.status()
    assert (status.usable, status.model) == (True, "demo")
    assert "not a model" in status.why
    assert all("not a model" in info.name for info in await scripted.models())
    assert scripted.keyless
    scripted.use(["x"], context=1000)
    assert [(info.id, info.context) for info in await scripted.models()] == [
        ("demo", None),
        ("test", 1000),
    ]


def test_replies_of_the_test_kit_mean_the_same_here():
    kit = testing.Reply(
        text="a", calls=(testing.Call("b", {"c": 1}),), usage=Usage(input=1), delay=0.5
    )
    ours = msgspec.convert(msgspec.to_builtins(kit), Reply)
    assert ours == Reply(text="a", calls=(Call("b", {"c": 1}),), usage=Usage(input=1), delay=0.5)
    assert set(testing.Reply.__struct_fields__) == set(Reply.__struct_fields__) - {"events"}
    assert Settings().delay == 0.015


# --- rules ---
def turn(*steps):
    """The messages of a turn: each step is one (tool, ok, text) or more."""
    messages = [Message("user", (Text("fix it"),))]
    for number, results in enumerate(steps):
        ids = [f"{number}.{index}" for index in range(len(results))]
        calls = tuple(
            ToolCall(call_id, name, "{}")
            for call_id, (name, _, _) in zip(ids, results, strict=True)
        )
        answers = tuple(
            ToolResult(call_id, name, text, ok)
            for call_id, (name, ok, text) in zip(ids, results, strict=True)
        )
        messages += [Message("assistant", calls), Message("tool", answers)]
    return messages


LOOKED = [("edit", False, "x"), ("bash", True, "all OK here")]


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        (When(), True),
        (When(user="fix"), True),
        (When(user="break"), False),
        (When(result="OK"), True),
        (When(result="no"), False),
        (When(after="bash"), True),
        (When(after="read_file"), False),
        (When(ok=True), False),
        (When(ok=False), True),
        (When(done=("read_file", "bash")), True),
        (When(done=("edit",)), False),
        (When(undone=("edit",)), True),
        (When(undone=("bash",)), False),
        (When(step=2), True),
        (When(step=1), False),
        (When(turn=2), True),
        (When(turn=1), False),
        (When(user="fix", step=1), False),
    ],
)
def test_rules_look_at_the_last_turn(when, fits):
    messages = [*turn([("glob", True, "")]), *turn([("read_file", True, "text")], LOOKED)]
    player = Player.of(Script(rules=(Rule(when, Reply("rule")),), otherwise=Reply("other")))
    assert player.answer(asking("x", *messages)).text == ("rule" if fits else "other")


# --- the demo ---
async def demo(*steps):
    return await said(provider(), asking("demo", *turn(*steps)))


def calls(events):
    names = {event.index: event.name for event in events if isinstance(event, CallStart)}
    texts = dict.fromkeys(names, "")
    for event in events:
        if isinstance(event, CallDelta):
            texts[event.index] += event.arguments
    return [(names[index], json.loads(texts[index])) for index in names]


LIST, READ = ("list_dir", True, "README.md\ncalc/\ntests/"), ("read_file", True, "...")
FAILED = ("bash", True, "FAIL: test_median\n\nFAILED (failures=1)")
PASSED = ("bash", True, "----\nRan 3 tests in 0.000s\n\nOK\n")
DENIED = ("bash", False, "denied: a person said no")
EDITED = ("edit", True, "edited")


async def test_the_demo_says_first_and_last_that_it_is_scripted():
    first = await demo()
    assert "I am a scripted model" in joined(first)
    assert calls(first) == [
        ("list_dir", {"path": "."}),
        ("read_file", {"path": "tests/test_stats.py"}),
    ]
    last = await demo([LIST, READ], [FAILED], [READ], [EDITED], [PASSED])
    assert "I am a scripted model" in joined(last)
    assert last[-1] == Finish("stop")


async def test_the_demo_goes_its_way():
    run = [("bash", {"command": "python3 -m unittest -q"})]
    assert calls(await demo([LIST, READ])) == run
    assert calls(await demo([LIST, READ], [FAILED])) == [("read_file", {"path": "calc/stats.py"})]
    [(name, arguments)] = calls(await demo([LIST, READ], [FAILED], [READ]))
    assert (name, arguments["path"]) == ("edit", "calc/stats.py")
    assert calls(await demo([LIST, READ], [FAILED], [READ], [EDITED])) == run


async def test_the_demo_stays_true_when_things_go_another_way():
    no_bash = await demo([LIST, READ], [DENIED])
    assert "could not run the tests" in joined(no_bash)
    assert calls(no_bash) == [("read_file", {"path": "calc/stats.py"})]
    no_edit = await demo([LIST, READ], [FAILED], [READ], [("edit", False, "denied")])
    assert "nothing is changed" in joined(no_edit)
    assert calls(no_edit) == []
    for result in (DENIED, FAILED):
        unproven = await demo([LIST, READ], [FAILED], [READ], [EDITED], [result])
        assert "could not see the tests pass" in joined(unproven).replace("\n", " ")
    assert "nothing to fix" in joined(await demo([LIST, READ], [PASSED]))


async def test_the_demo_never_calls_a_tool_for_ever():
    tools = ["list_dir", "read_file", "bash", "edit"]
    for name in tools:
        for ok in (True, False):
            steps = [[LIST, READ], [FAILED], [READ], *([[(name, ok, "?")]] * 3)]
            assert len(calls(await demo(*steps, [PASSED], [PASSED], [PASSED]))) == 0


async def test_another_question_gets_an_honest_answer():
    events = await said(provider(), asking("demo", *turn([LIST]), *turn()))
    assert "nothing written for this" in joined(events)
    assert calls(events) == []


def test_the_bug_is_real_and_so_is_the_fix(tmp_path):
    for name, data in provider().demo_files().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def unittest():
        argv = [sys.executable, "-m", "unittest", "-q"]
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)

    assert "FAILED (failures=1)" in unittest().stderr
    [edit] = [
        call for rule in demo_script().rules for call in rule.reply.calls if call.name == "edit"
    ]
    path = tmp_path / edit.arguments["path"]
    source = path.read_text()
    assert source.count(edit.arguments["old_string"]) == 1
    path.write_text(source.replace(edit.arguments["old_string"], edit.arguments["new_string"]))
    done = unittest()
    assert (done.returncode, done.stderr[-4:].strip()) == (0, "OK")
