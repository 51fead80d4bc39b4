"""The provider `llm` against the real llm, with a plugin that this file writes: its models, streams, tools and hangs."""

from __future__ import annotations

import json
import os
import sys
from contextlib import asynccontextmanager

import pytest
import trio
from codetether.api import (
    CallDelta,
    CallStart,
    Finish,
    Image,
    Message,
    Request,
    Text,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolResult,
    ToolSchema,
    Usage,
)
from codetether.testing import make_kernel, processes_with

KEY = "sk-canary-of-llm-0123456789"
PLUGIN = '''
import json, os, time
import llm
from llm.parts import StreamEvent


def seen(prompt, conversation):
    return {
        "messages": [[m.role, [p.to_dict() for p in m.parts]] for m in prompt.messages],
        "prompt": prompt.prompt,
        "system": prompt.system,
        "tools": [[t.name, t.description, t.input_schema] for t in prompt.tools],
        "past": [[r.prompt.prompt, r.text_or_raise(), [c.name for c in r.tool_calls_or_raise()]]
                 for r in (conversation.responses if conversation else [])],
        "options": prompt.options.model_dump(exclude_none=True),
        "schema": prompt.schema,
        "environment": sorted(os.environ),
        "cwd": os.getcwd(),
    }


class Words(llm.Model):
    """An older plugin: plain strings, no tools."""
    model_id = "words"
    can_stream = True

    def execute(self, prompt, stream, response, conversation):
        print("noise on standard output")
        yield from ("A", " tiny", " model", " says", " hello", ".")
        response.set_usage(input=7, output=6)


class Mirror(llm.Model):
    """Says what it was asked."""
    model_id = "mirror"
    supports_tools = True
    supports_schema = True
    attachment_types = {"image/png"}

    class Options(llm.Options):
        temperature: float | None = None
        max_tokens: int | None = None
        colour: str | None = None

    def execute(self, prompt, stream, response, conversation):
        yield json.dumps(seen(prompt, conversation))


class Caller(llm.Model):
    model_id = "caller"
    can_stream = True
    supports_tools = True

    def execute(self, prompt, stream, response, conversation):
        yield StreamEvent(type="reasoning", chunk="red or blue?")
        yield StreamEvent(type="text", chunk="Two picks.")
        for number, colour in enumerate(("red", "blue")):
            response.add_tool_call(llm.ToolCall("pick", {"colour": colour}, f"c{number}"))


class Odd(llm.Model):
    can_stream = True

    def __init__(self, model_id):
        self.model_id = model_id

    def execute(self, prompt, stream, response, conversation):
        yield "begun"
        if self.model_id == "hangs":
            while True:
                time.sleep(3600)
        if self.model_id == "dies":
            os.abort()
        if self.model_id == "cut":
            response.response_json = {"choices": [{"finish_reason": "length"}]}
            return
        if self.model_id == "limited":
            error = RuntimeError("slow down")
            error.status_code = 429
            raise error
        if self.model_id == "pid":
            yield f" {os.getpid()}"
            return
        raise RuntimeError("no such thing as " + llm.load_keys()["vendor"])


class Keyed(llm.KeyModel):
    model_id = "keyed"
    needs_key = "nobody"

    def execute(self, prompt, stream, response, conversation, key=None):
        yield "never"


@llm.hookimpl
def register_models(register):
    for model in (Words(), Mirror(), Caller(), Keyed()):
        register(model, aliases=("w",) if model.model_id == "words" else ())
    for name in ("hangs", "dies", "cut", "limited", "pid", "fails"):
        register(Odd(name))
'''
PICK = ToolSchema(
    "pick", "Pick one.", {"type": "object", "properties": {"colour": {"type": "string"}}}
)


@pytest.fixture
def python(tmp_path, home, monkeypatch):
    """A Python whose llm has the plugin."""
    place = tmp_path / "site"
    about = place / "llm_fake-1.dist-info"
    about.mkdir(parents=True)
    (place / "llm_fake.py").write_text(PLUGIN)
    (place / "openai.py").write_text(
        ""
    )  # llm's own plugin loads it, which is half of the time, and nobody asks it
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-fake\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[llm]\nfake = llm_fake\n")
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{place}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    user = home / "llm"
    user.mkdir()
    (user / "keys.json").write_text(json.dumps({"vendor": KEY}))
    monkeypatch.setenv("LLM_USER_PATH", str(user))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-children")
    return script


@asynccontextmanager
async def llm(python, tmp_path, **settings):
    settings = {"python": str(python), **settings}
    given = {f'plugins."providers:llm".{name}': value for name, value in settings.items()}
    async with make_kernel(
        tmp_path / "kernel", plugins=["providers:llm"], settings=given
    ) as kernel:
        yield kernel.provider("llm")


def asking(model, *messages, **fields):
    return Request(model, messages or (Message("user", (Text("hi"),)),), **fields)


async def said(provider, request):
    async with provider.stream(request) as events:
        return [event async for event in events]


def text(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_the_models_and_their_abilities(python, tmp_path):
    async with llm(python, tmp_path) as provider:
        models = {model.id: model for model in await provider.models()}
        alias = await provider.model("w")
        unknown = await provider.model("nothing")
    assert {"words", "mirror", "caller"} <= set(models)
    assert "keyed" not in models
    assert not [name for name in models if name.startswith("gpt-")]
    abilities = {name: (models[name].tools, models[name].images) for name in ("words", "mirror")}
    assert abilities == {"words": (False, False), "mirror": (True, True)}
    assert (alias.id, alias.tools) == ("w", False)
    assert (unknown.id, unknown.tools) == ("nothing", None)


async def test_text_streams_piece_by_piece(python, tmp_path):
    async with llm(python, tmp_path) as provider:
        events = await said(provider, asking("words"))
    assert [event.text for event in events[:-1]] == ["A", " tiny", " model", " says", " hello", "."]
    assert events[-1] == Finish("stop", Usage(input=7, output=6))


async def test_tool_calls_are_handed_to_us_and_not_run(python, tmp_path):
    async with llm(python, tmp_path) as provider:
        events = await said(provider, asking("caller", tools=(PICK,)))
    assert ThoughtDelta("red or blue?") in events
    assert text(events) == "Two picks."
    calls = [event for event in events if isinstance(event, CallStart | CallDelta)]
    assert calls == [
        CallStart(0, "c0", "pick"),
        CallDelta(0, '{"colour": "red"}'),
        CallStart(1, "c1", "pick"),
        CallDelta(1, '{"colour": "blue"}'),
    ]
    assert (events[-1].reason, events[-1].usage) == ("tool_calls", None)


async def test_the_whole_conversation_reaches_new_and_old_plugins(python, tmp_path):
    conversation = (
        Message("user", (Text("choose"), Image("image/png", b"\x89PNG"))),
        Message("assistant", (Text("I pick."), ToolCall("call_1", "pick", '{"colour": "red"}'))),
        Message("tool", (ToolResult("call_1", "pick", "it is red"),)),
        Message("assistant", (Text("Red."),)),
        Message("user", (Text("again"),)),
    )
    async with llm(python, tmp_path, options={"colour": "green", "unheard": 1}) as provider:
        asked = asking(
            "mirror",
            *conversation,
            system="Be brief.",
            tools=(PICK,),
            temperature=0.5,
            max_output=9,
        )
        seen = json.loads(text(await said(provider, asked)))
    roles = [role for role, _ in seen["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    parts = [part for _, parts in seen["messages"] for part in parts]
    assert [part["type"] for part in parts] == [
        "text", "text", "attachment", "text", "tool_call", "tool_result", "text", "text",
    ]  # fmt: skip
    assert parts[4]["arguments"] == {"colour": "red"}
    assert (parts[5]["tool_call_id"], parts[5]["output"]) == ("call_1", "it is red")
    assert (seen["prompt"], seen["system"]) == ("again", "Be brief.")
    assert seen["past"] == [["choose", "I pick.", ["pick"]], ["", "Red.", []]]
    assert seen["tools"] == [["pick", "Pick one.", PICK.parameters]]
    assert seen["options"] == {"colour": "green", "temperature": 0.5, "max_tokens": 9}


async def test_what_a_model_cannot_take_is_left_out(python, tmp_path):
    picture = Message("user", (Text("look"), Image("image/png", b"\x89PNG")))
    async with llm(python, tmp_path) as provider:
        plain = await said(
            provider, asking("words", picture, tools=(PICK,), schema={"type": "object"})
        )
        forbidden = await said(provider, asking("mirror", tools=(PICK,), tool_choice="none"))
    assert plain[-1].reason == "stop"
    assert json.loads(text(forbidden))["tools"] == []


async def test_a_child_sees_no_key_of_ours_and_no_workspace(python, tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    async with llm(python, tmp_path, environment=["OLLAMA_HOST"]) as provider:
        seen = json.loads(text(await said(provider, asking("mirror"))))
        data = provider.kernel.dirs.data
    assert "OPENAI_API_KEY" not in seen["environment"]
    assert {"OLLAMA_HOST", "LLM_USER_PATH"} <= set(seen["environment"])
    assert seen["cwd"] == str(data)


FAILURES = {
    "fails": ("other", "no such thing as ***"),
    "limited": ("rate_limit", "slow down"),
    "keyed": ("auth", "nobody"),
    "nothing": ("invalid", "nothing"),
    "dies": ("other", "signal 6"),
}


async def test_failures_are_told_apart_and_hold_no_key(python, tmp_path):
    async with llm(python, tmp_path) as provider:
        told = {model: await said(provider, asking(model)) for model in FAILURES}
        after = await said(provider, asking("words"))
    for model, (kind, words) in FAILURES.items():
        finish = told[model][-1]
        assert (finish.reason, finish.error.kind) == ("error", kind)
        assert words in finish.error.message
    assert KEY not in repr(told)
    assert text(after) == "A tiny model says hello."


async def test_an_answer_cut_by_the_limit_says_so_where_the_plugin_tells(python, tmp_path):
    async with llm(python, tmp_path) as provider:
        events = await said(provider, asking("cut"))
    assert events[-1].reason == "length"


async def test_a_model_that_hangs_is_given_up(python, tmp_path):
    async with llm(python, tmp_path, idle_timeout=2.5) as provider:
        events = await said(provider, asking("hangs"))
    assert (text(events), events[-1].error.kind) == ("begun", "timeout")
    assert not processes_with(str(python.parent / "site"))


async def test_leaving_a_hanging_call_ends_its_process_at_once(python, tmp_path):
    async with llm(python, tmp_path) as provider:
        with trio.fail_after(20):
            async with provider.stream(asking("hangs")) as events:
                assert await events.receive() == TextDelta("begun")
        assert not processes_with(str(python.parent / "site"))
        assert text(await said(provider, asking("words"))) == "A tiny model says hello."
    assert not processes_with(str(python.parent / "site"))


async def test_a_child_is_used_again_and_two_answer_at_once(python, tmp_path):
    async with llm(python, tmp_path, children=2) as provider:
        first, second = (
            text(await said(provider, asking("pid"))),
            text(await said(provider, asking("pid"))),
        )
        assert first == second
        async with provider.stream(asking("hangs")) as events:
            await events.receive()
            other = text(await said(provider, asking("pid")))
    assert other != first


async def test_without_llm_the_status_says_what_to_do(tmp_path):
    async with llm(tmp_path / "nowhere", tmp_path) as provider:
        status = await provider.status()
        [finish] = await said(provider, asking("words"))
    assert not status.usable
    assert "install llm" in status.hint
    assert finish.error.hint == status.hint


async def test_a_python_without_llm_is_told_apart(tmp_path):
    script = tmp_path / "bare"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "$@"\n')
    script.chmod(0o755)
    async with llm(script, tmp_path) as provider:
        [finish] = await said(provider, asking("words"))
    assert "No module named 'llm'" in finish.error.message
    assert "install llm" in finish.error.hint


async def test_the_default_model_is_llms_own(python, tmp_path):
    with open(os.path.join(os.environ["LLM_USER_PATH"], "default_model.txt"), "w") as file:
        file.write("words\n")
    async with llm(python, tmp_path) as provider:
        status = await provider.status()
    assert (status.usable, status.model) == (True, "words")


def test_the_python_of_the_llm_command_is_found(tmp_path, monkeypatch):
    from codetether_provider_llm import python as search

    command = tmp_path / "llm"
    monkeypatch.setattr(search, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for head in (
        f"#!{sys.executable}\n",
        f"#!/bin/sh\n'''exec' '{sys.executable}' \"$0\" \"$@\"\n' '''\n",
    ):
        command.write_text(head)
        command.chmod(0o755)
        assert search.python_with_llm("") == sys.executable
    command.write_text("#!/usr/bin/env bash\n")
    assert search.python_with_llm("") == ""
