"""The provider `gguf`: real libraries, a model of one sentence, and children that crash, hang and are left alone."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from codetether.api import (
    CallDelta,
    CallStart,
    Message,
    ModelInfo,
    Notice,
    Request,
    Retrying,
    Text,
    TextDelta,
    ToolResult,
    ToolSchema,
)
from codetether.testing import make_kernel, processes_with
from codetether_provider_gguf import choose, loaded, serve_ctransformers
from gguf import GGUFWriter

sys.path.append(str(Path(__file__).parents[2] / "peers"))
import tiny_model
from tiny_gpt2 import write_tiny_gpt2
from tiny_model import write_tiny_model

SENTENCE = "A tiny model says hello."
COLOUR = {"type": "string", "enum": ["red", "blue"], "description": "One."}
PICK = ToolSchema(
    "pick",
    "Pick one.",
    {"type": "object", "additionalProperties": False, "required": ["colour"], "properties": {"colour": COLOUR}},
)  # fmt: skip
X86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="ctransformers has wheels for x86-64 only"
)


@asynccontextmanager
async def gguf(tmp_path, **settings):
    given = {f'plugins."providers:gguf".{name}': value for name, value in settings.items()}
    async with make_kernel(tmp_path / "h", plugins=["providers:gguf"], settings=given) as kernel:
        provider = kernel.provider("gguf")
        provider.folder.mkdir(parents=True, exist_ok=True)
        write_tiny_model(provider.folder / "tiny.gguf")
        yield provider


def asking(model="tiny", *messages, **fields):
    return Request(model, messages or (Message("user", (Text("hi"),)),), **fields)


async def said(provider, request):
    with trio.fail_after(30):
        async with provider.stream(request) as events:
            return [event async for event in events]


def text(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def children(home):
    """The pids of our children: those that have this test's home, and run one of the scripts."""
    found = processes_with(str(home))
    return [pid for pid, command in found.items() if re.search(r"serve_\w+\.py", command)]


# --- llama.cpp ---
async def test_text_and_tool_calls_stream(tmp_path):
    async with gguf(tmp_path) as provider:
        status, [info] = await provider.status(), await provider.models()
        plain = await said(provider, asking())
        called = await said(provider, asking(tools=(PICK,), tool_choice="required"))
        cut = await said(provider, asking(max_output=3))
        shaped = await said(provider, asking(schema=PICK.parameters, max_output=300))
    assert json.loads(text(shaped))["colour"] in ("red", "blue")
    assert (status.usable, status.model) == (True, "tiny")
    assert info == ModelInfo("tiny", "gguf", context=8192, tools=True, images=False)
    assert text(plain) == "A tiny model says hello."
    assert (plain[-1].reason, plain[-1].usage.output) == ("stop", 7)
    assert [event.name for event in called if isinstance(event, CallStart)] == ["pick"]
    arguments = "".join(event.arguments for event in called if isinstance(event, CallDelta))
    assert json.loads(arguments)["colour"] in ("red", "blue")
    assert called[-1].reason == "tool_calls"
    assert (text(cut), cut[-1].reason) == ("A tiny model", "length")


async def test_the_window_is_the_smaller_of_the_file_and_the_setting(tmp_path):
    long = asking("tiny", Message("user", (Text("word " * 300),)))
    async with gguf(tmp_path, context=512) as provider:
        info = await provider.model("tiny")
        [finish] = await said(provider, long)
    assert info.context == 512
    assert finish.error.kind == "context"


async def test_a_template_without_tools_is_known_and_told_once(tmp_path, monkeypatch):
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"
    monkeypatch.setattr(tiny_model, "TEMPLATE", template)
    async with gguf(tmp_path) as provider:
        assert (await provider.model("tiny")).tools is False
        opening = provider.kernel.open_session(directory=tmp_path, model="gguf/tiny")
        async with opening as session:
            with session.feed.listen() as feed:
                for _ in range(2):
                    assert text(await said(provider, asking(tools=(PICK,)))) == SENTENCE
                session.feed.close()
                notices = [event.text async for event in feed if isinstance(event, Notice)]
    assert [notice for notice in notices if "cannot call tools" in notice] == [
        "tiny cannot call tools: its chat template knows none"
    ]


async def test_the_server_has_no_port_and_its_socket_is_ours_alone(tmp_path, home):
    async with gguf(tmp_path) as provider:
        await said(provider, asking())
        [pid] = children(home)
        links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
        unix = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        paths = {row[7] for row in unix if row[6] in inodes and len(row) > 7}
        tables = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
        ports = {row.split()[9] for row in tables.splitlines() if " 0A " in row}
        assert not inodes & ports
        [path] = paths
        assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert not os.path.exists(os.path.dirname(path))
    assert children(home) == []


async def test_a_child_that_crashed_is_started_again(tmp_path, home):
    async with gguf(tmp_path) as provider:
        await said(provider, asking())
        [pid] = children(home)
        os.kill(pid, signal.SIGSEGV)
        events = await said(provider, asking())
        assert text(events) == SENTENCE
        assert children(home) != [pid]


async def test_a_crash_within_an_answer_is_tried_again(tmp_path, home):
    async with gguf(tmp_path) as provider:
        await said(provider, asking())
        [pid] = children(home)
        os.kill(pid, signal.SIGSTOP)
        with trio.fail_after(30):
            async with provider.stream(asking()) as stream, trio.open_nursery() as nursery:
                nursery.start_soon(_kill_soon, pid)
                events = [event async for event in stream]
    assert [event for event in events if isinstance(event, Retrying)]
    assert text(events) == SENTENCE
    assert events[-1].reason == "stop"


async def _kill_soon(pid):
    await trio.sleep(0.3)
    os.kill(pid, signal.SIGKILL)


async def test_one_that_crashes_again_and_again_is_given_up(tmp_path, home, monkeypatch):
    monkeypatch.setattr(loaded, "PAUSE", 0.0)
    async with gguf(tmp_path) as provider:
        for _ in range(loaded.MOST_CRASHES):
            assert text(await said(provider, asking())) == SENTENCE
            for pid in children(home):
                os.kill(pid, signal.SIGKILL)
        events = await said(provider, asking())
    assert "crashed 4 times" in events[-1].error.message
    assert "signal 9" in events[-1].error.message


async def test_a_file_that_aborts_the_library_does_not_take_us_along(tmp_path, monkeypatch):
    listed = GGUFWriter.add_token_list

    def twice(writer, tokens):
        listed(writer, ["|" if token == "~" else token for token in tokens])

    monkeypatch.setattr(GGUFWriter, "add_token_list", twice)
    async with gguf(tmp_path) as provider:
        [refused] = await said(provider, asking())
        monkeypatch.setattr("codetether_provider_gguf.check", lambda header: None)
        [aborted] = await said(provider, asking())
    assert "there twice" in refused.error.message
    assert refused.error.kind == "invalid"
    assert re.search("cannot be loaded: .*(signal|vocab)", aborted.error.message)


async def test_a_model_that_is_not_used_makes_room(tmp_path, home):
    async with gguf(tmp_path) as provider:
        other = write_tiny_model(tmp_path / "other.gguf")
        await said(provider, asking())
        [first] = children(home)
        assert text(await said(provider, asking(str(other)))) == SENTENCE
        assert len(children(home)) == 1
        assert children(home) != [first]


async def test_one_thread_unless_told_otherwise(tmp_path):
    async with gguf(tmp_path) as provider:
        header = await provider.examine(provider.folder / "tiny.gguf")
        wanted = provider._shelf._wanted(header, "llamacpp", "/x")
    assert (wanted["threads"], wanted["gpu_layers"]) == (1, 0)


async def test_two_calls_at_once_share_one_child(tmp_path, home):
    texts = []

    async def ask(provider):
        texts.append(text(await said(provider, asking())))

    async with gguf(tmp_path) as provider:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, provider)
            nursery.start_soon(ask, provider)
        assert len(children(home)) == 1
    assert texts == [SENTENCE] * 2


async def test_a_cancelled_load_leaves_nothing(tmp_path, home):
    async with gguf(tmp_path) as provider:
        async with provider.stream(asking()):
            while not children(home):
                await trio.sleep(0.001)
        assert children(home) == []
        assert text(await said(provider, asking())) == SENTENCE


async def test_a_load_that_takes_too_long_is_given_up(tmp_path, home):
    async with gguf(tmp_path, load_timeout=0.01) as provider:
        [finish] = await said(provider, asking())
        assert (finish.error.kind, "not loaded within" in finish.error.message) == ("timeout", True)
        assert children(home) == []


async def test_a_session_is_told_of_a_long_load_and_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(loaded, "TELL_AFTER", 0.0)
    async with gguf(tmp_path) as provider:
        path = provider.folder / "tiny.gguf"
        opening = provider.kernel.open_session(
            directory=tmp_path, model=f"gguf/{path}", tools=False
        )
        async with opening as session:
            with session.feed.listen() as feed:
                finished = await session.prompt("hi")
                session.feed.close()
                events = [event async for event in feed]
    assert (finished.reason, finished.text) == ("done", SENTENCE)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert "loading tiny.gguf (0.0 GB)" in notices


@pytest.mark.parametrize(
    ("model", "words"),
    [("nothing", "there is no model file 'nothing'"), (__file__, "is no model file")],
)
async def test_what_is_no_model_is_said(tmp_path, model, words):
    async with gguf(tmp_path) as provider:
        [finish] = await said(provider, asking(model))
        assert await provider.model(model) == ModelInfo(model, "gguf")
    assert (finish.reason, finish.error.kind) == ("error", "invalid")
    assert words in finish.error.message


async def test_without_a_library_or_a_file_the_status_says_what_to_do(tmp_path, monkeypatch):
    async with gguf(tmp_path) as provider:
        monkeypatch.setattr("codetether_provider_gguf.installed", lambda backend: False)
        monkeypatch.setattr(choose, "installed", lambda backend: False)
        status = await provider.status()
        [finish] = await said(provider, asking())
        (provider.folder / "tiny.gguf").unlink()
        empty = await provider.status()
    hint = "install it beside codetether: pip (or uv pip) install xllamacpp"
    assert (status.usable, status.hint) == (False, hint)
    assert finish.error.hint == hint
    assert (empty.usable, "models pull" in empty.hint) == (False, True)


def test_when_we_are_killed_the_child_ends(tmp_path, tmp_path_factory, home):
    model = write_tiny_model(tmp_path / "tiny.gguf")
    code = f"""
import os, signal, trio
from codetether.api import Message, Request, Text
from codetether.testing import make_kernel
async def main():
    async with make_kernel(plugins=["providers:gguf"]) as kernel:
        request = Request({str(model)!r}, (Message("user", (Text("hi"),)),))
        async with kernel.provider("gguf").stream(request) as events:
            print(await events.receive(), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
trio.run(main)
"""
    place = tmp_path_factory.mktemp("s")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "XDG_RUNTIME_DIR": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert "TextDelta" in done.stdout
    _until(lambda: children(home) == [])


def _until(condition):
    import time

    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it did not come true")


# --- ctransformers ---
@X86
async def test_ctransformers_streams_text_and_knows_its_limits(tmp_path):
    talk = (
        Message("user", (Text("hi ünß"),)),
        Message("assistant", (Text("yes?"),)),
        Message("tool", (ToolResult("1", "pick", "red"),)),
    )
    long = Message("user", (Text("word " * 300),))
    async with gguf(tmp_path, backend="ctransformers", context=512) as provider:
        info = await provider.model("tiny")
        plain = await said(provider, asking("tiny", *talk, system="Be brief.", tools=(PICK,)))
        cut = await said(provider, asking(max_output=3))
        [overflow] = await said(provider, asking("tiny", long))
    assert (info.tools, info.context) == (False, 512)
    assert len(plain) > 3
    assert (text(plain), plain[-1].reason, plain[-1].usage.output) == (SENTENCE, "stop", 6)
    assert (text(cut), cut[-1].reason) == ("A tiny model", "length")
    assert overflow.error.kind == "context"


@X86
async def test_a_file_from_before_gguf_talks(tmp_path):
    async with gguf(tmp_path) as provider:
        write_tiny_gpt2(provider.folder / "tiny-gpt2.bin")
        info = await provider.model("tiny-gpt2")
        events = await said(provider, asking("tiny-gpt2.bin", temperature=0.1))
        long = Message("user", (Text("word " * 60),))
        [overflow] = await said(provider, asking("tiny-gpt2", long))
    assert (text(events), events[-1].reason) == (SENTENCE, "stop")
    assert (info.tools, info.context) == (False, None)
    assert "the context window 256" in overflow.error.message


@X86
async def test_leaving_ctransformers_early_ends_its_child(tmp_path, home):
    async with gguf(tmp_path, backend="ctransformers") as provider:
        await said(provider, asking())
        [pid] = children(home)
        os.kill(pid, signal.SIGSTOP)
        async with provider.stream(asking()):
            await trio.sleep(0.05)
        with trio.fail_after(10):
            while children(home):
                await trio.sleep(0.02)
        assert text(await said(provider, asking())) == SENTENCE


@X86
async def test_a_crash_of_ctransformers_is_tried_again_and_then_told(tmp_path, home, monkeypatch):
    monkeypatch.setattr(loaded, "PAUSE", 0.0)
    async with gguf(tmp_path, backend="ctransformers") as provider:
        await said(provider, asking())
        for number in range(loaded.MOST_CRASHES):
            [pid] = children(home)
            os.kill(pid, signal.SIGSTOP)
            async with provider.stream(asking()) as stream, trio.open_nursery() as nursery:
                nursery.start_soon(_kill_soon, pid)
                events = [event async for event in stream]
            assert isinstance(events[0], Retrying)
            if number < loaded.MOST_CRASHES - 1:
                assert text(events) == SENTENCE
    assert "crashed 4 times" in events[-1].error.message


def talker(template="", control=None):
    made = object.__new__(serve_ctransformers.Talker)
    made.template, made.control, made.marks = (
        template,
        control or {},
        {"bos_token": "<s>", "eos_token": "</s>"},
    )
    return made


def test_a_file_without_a_template_is_asked_in_the_form_of_its_time():
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    told, stops = talker()._render(talk)
    assert told == "Be brief.\n\n### Instruction:\nhi\n\n### Response:\n"
    assert "### Instruction:" in stops


def test_a_template_is_run_where_it_can_do_nothing():
    told, _ = talker("{{ bos_token }}{{ messages[0].content }}")._render(
        [{"role": "user", "content": "x"}]
    )
    assert told == "<s>x"
    with pytest.raises(ValueError, match="roles must alternate"):
        talker("{{ raise_exception('roles must alternate') }}")._render([])
    with pytest.raises(Exception, match=r"unsafe|undefined"):
        talker("{{ ''.__class__.__mro__[1].__subclasses__() }}")._render([])


def test_a_character_in_pieces_is_held_until_it_is_whole():
    assert serve_ctransformers._whole(bytearray("ü".encode()[:1])) == ("", bytearray(b"\xc3"))
    assert serve_ctransformers._whole(bytearray("aü".encode())) == ("aü", bytearray())
    assert serve_ctransformers._whole(bytearray(b"\xff\xff\xff\xff\xff"))[1] == bytearray()
