"""exec and run: what goes to which stream, what the model is given, and how it ends."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from codetether.api import (
    Effect,
    InterruptedByUser,
    ProviderFault,
    Tool,
    ToolOutput,
    Usage,
    UsageError,
)
from codetether.testing import Call, Reply, make_kernel

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


class Nothing(msgspec.Struct):
    command: str = ""


class Touch(Tool[Nothing]):
    """A tool that changes something."""

    api = 1
    params = Nothing
    effect = Effect.EXECUTE
    text = "Touch."
    ran = 0

    async def run(self, params, ctx):
        Touch.ran += 1
        return ToolOutput("touched", summary="touched")


class Hang(Tool[Nothing]):
    """A tool that takes for ever; `shielded`, it cannot be cancelled for a while."""

    api = 1
    params = Nothing
    effect = Effect.READ
    text = "Hang."
    running: trio.Event

    async def run(self, params, ctx):
        Hang.running.set()
        with trio.CancelScope(shield=params.command == "shielded"):
            await trio.sleep(0.3 if params.command else 60)
        await trio.sleep_forever()


@asynccontextmanager
async def mode(replies=(), name="exec", **how):
    extra = {"tools:touch": Touch, "tools:hang": Hang}
    async with make_kernel(
        replies=replies, plugins=["ui", "modes:exec", "modes:run", "sandboxes"], extra=extra, **how
    ) as kernel:
        work = kernel.sessions_folder.parents[2] / "work"
        yield Mode(kernel, name, work)


class Mode:
    def __init__(self, kernel, name, work):
        self.kernel, self.name, self.work = kernel, name, work
        work.mkdir(parents=True, exist_ok=True)

    async def __call__(self, *words):
        mode = self.kernel.mode(self.name)
        parser = argparse.ArgumentParser()
        mode.arguments(parser)
        before = os.getcwd()
        os.chdir(self.work)
        try:
            return await mode.run(parser.parse_args(words))
        finally:
            os.chdir(before)

    @property
    def asked(self):
        return [request.messages[-1].text for request in self.kernel.provider("scripted").asked]


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    Touch.ran, Hang.running = 0, trio.Event()


# --- the streams ---
@pytest.mark.parametrize("name", ["exec", "run"])
async def test_standard_output_is_exactly_the_answer(capfd, name):
    async with mode(["The answer."], name) as run:
        assert await run("what", "is", "it") == 0
        assert run.asked == ["what is it"]
    out, err = capfd.readouterr()
    assert out == "The answer.\n"
    assert f"continue: codetether {name} -s s-" in err


async def test_run_has_no_tools(capfd):
    async with mode(["hi"], "run") as run:
        assert await run("hello") == 0
        assert run.kernel.provider("scripted").asked[0].tools == ()


async def test_json_is_one_object_and_continues(capfd):
    reply = Reply("One.", usage=Usage(10, 2, cost=0.25))
    async with mode([reply, "Two.", "Three."]) as run:
        assert await run("first", "--format", "json") == 0
        first = json.loads(capfd.readouterr().out)
        assert first["text"] == "One."
        assert (first["reason"], first["model"], first["steps"]) == ("done", "scripted/test", 1)
        assert (first["usage"]["input"], first["usage"]["output"], first["cost"]) == (10, 2, 0.25)
        assert "error" not in first
        assert await run("second", "--format", "json", "-s", first["session_id"]) == 0
        second = json.loads(capfd.readouterr().out)
        assert second["session_id"] == first["session_id"]
        assert second["usage"] is None
        assert second["cost"] is None
        assert await run("third", "--format", "json", "-c", "--fork") == 0
        third = json.loads(capfd.readouterr().out)
        assert third["session_id"] != first["session_id"]
        texts = [message.text for message in run.kernel.provider("scripted").asked[-1].messages]
        assert texts == ["first", "One.", "second", "Two.", "third"]


async def test_stream_json_is_events(capfd):
    async with mode(["One."]) as run:
        assert await run("first", "--format", "stream-json") == 0
    types = [json.loads(line)["type"] for line in capfd.readouterr().out.splitlines()]
    assert types[0] == "session_started"
    assert types[-2:] == ["turn_finished", "session_finished"]


async def test_failures_are_told_in_json_too(capfd):
    async with mode() as run:
        with pytest.raises(UsageError):
            await run("x", "--format", "json", "-m", "nope/x")
        assert "nope" in json.loads(capfd.readouterr().out)["error"]
        with pytest.raises(UsageError):
            await run("x", "--format", "stream-json", "-m", "nope/x")
        assert json.loads(capfd.readouterr().out)["level"] == "error"


# --- how it ends ---
async def test_denied_is_3_and_says_what_would_allow_it(capfd):
    replies = [Reply("", calls=(Call("touch"),)), "I could not."]
    async with mode(replies) as run:
        assert await run("touch it") == 3
    out, err = capfd.readouterr()
    assert out == "I could not.\n"
    assert "✗ touch · denied" in err
    assert "--access-mode" in err
    assert '[permissions.tools] touch = "allow"' in err
    assert Touch.ran == 0


async def test_access_mode_full_allows(capfd):
    async with mode([Reply("", calls=(Call("touch"),)), "Done."]) as run:
        assert await run("touch it", "--access-mode", "full") == 0
    assert Touch.ran == 1


async def test_step_limit_and_errors_are_1(capfd):
    looping = [Reply("", calls=(Call("touch"),)), "Last words."]
    async with mode(looping) as run:
        assert await run("x", "--max-steps", "1", "--access-mode", "full", "--format", "json") == 1
    assert json.loads(capfd.readouterr().out)["reason"] == "step_limit"
    async with mode([Reply("par", fault=ProviderFault("auth", "the key is wrong", 401))]) as run:
        assert await run("x") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "the key is wrong" in err


async def test_timeout_keeps_the_session(capfd):
    async with mode([Reply("so far", stall=True)]) as run:
        assert await run("x", "--timeout", "0.5", "--format", "json") == 1
    result = json.loads(capfd.readouterr().out)
    assert result["error"] == "took longer than 0.5 s"


async def test_no_prompt_is_a_usage_error():
    async with mode() as run:
        with pytest.raises(UsageError, match="no prompt"):
            await run()
        with pytest.raises(UsageError, match="--fork"):
            await run("x", "--fork")


@pytest.mark.parametrize(
    "words", [("--max-steps", "0"), ("--budget-usd", "-1"), ("--timeout", "nan"), ("-c", "-s", "x")]
)
async def test_wrong_flags_are_2(words, capsys):
    async with mode() as run:
        with pytest.raises(SystemExit) as raised:
            await run("x", *words)
    assert raised.value.code == 2


# --- signals ---
async def interrupt(numbers, run, *words):
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _():
            await Hang.running.wait()
            for number in numbers:
                os.kill(os.getpid(), number)
                await trio.sleep(0.05)

        return await run(*words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_the_turn_and_keeps_it(capfd, number):
    async with mode([Reply("I begin.", calls=(Call("hang"),)), "Again."]) as run:
        assert await interrupt([number], run, "go") == 130
        assert "stopped" in capfd.readouterr().err
        assert await run("and now?", "-c") == 0
        messages = run.kernel.provider("scripted").asked[-1].messages
    assert [message.text for message in messages if message.role != "tool"] == [
        "go",
        "I begin.",
        "and now?",
    ]
    assert any(result.call_id for message in messages for result in message.results)


async def test_twice_ctrl_c_leaves_without_waiting_for_the_turn(capfd):
    async with mode([Reply("I begin.", calls=(Call("hang", {"command": "shielded"}),))]) as run:
        with pytest.RaisesGroup(InterruptedByUser):
            await interrupt([signal.SIGINT] * 3, run, "go")


def shell(script, home, **env):
    full = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        **env,
    }
    return subprocess.run(
        ["bash", "-c", script],
        env=full,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_reader_that_leaves(home):
    script = "codetether exec -m scripted/demo --format stream-json hi </dev/null | head -1; echo ${PIPESTATUS[0]}"
    done = shell(script, home)
    first, code = done.stdout.splitlines()
    assert json.loads(first)["type"] == "session_started"
    assert code == "1"
    assert "Traceback" not in done.stderr


def test_twice_ctrl_c_ends_the_process(home):
    script = (
        "set -m; codetether exec -m scripted/demo hi </dev/null & "
        "sleep 2; kill -INT $!; sleep 0.2; kill -INT $! 2>/dev/null; wait $!; echo $?"
    )
    done = shell(script, home, CODETETHER_SCRIPTED_DELAY="30")
    assert done.stdout.strip() == "130"
    assert "Traceback" not in done.stderr


# --- what the model is given ---
async def test_mentions_files_pictures_and_directories(capfd, tmp_path):
    outside = tmp_path / "notes.txt"
    outside.write_text("from outside\n")
    async with mode(["ok"]) as run:
        (run.work / "calc").mkdir()
        (run.work / "calc" / "stats.py").write_text("def mean(): ...\n")
        (run.work / "a b.txt").write_text("spaced")
        (run.work / "pic.png").write_bytes(PNG)
        (run.work / "blob.bin").write_bytes(b"\0\1\2")
        (run.work.parent / "secret.txt").write_text("secret")
        prompt = 'see @calc/stats.py, @"a b.txt" @calc (@pic.png) @gone.py @../secret.txt @blob.bin mail me@example.org'
        assert await run(prompt, "-f", str(outside)) == 0
        text = run.asked[0]
        images = [
            part
            for part in run.kernel.provider("scripted").asked[0].messages[-1].parts
            if part.__struct_config__.tag == "image"
        ]
    err = capfd.readouterr().err
    assert text.startswith(prompt)
    assert '<file path="calc/stats.py">\ndef mean(): ...\n</file>' in text
    assert '<file path="a b.txt">\nspaced\n</file>' in text
    assert '<directory path="calc">\nstats.py\n</directory>' in text
    assert f'<file path="{outside}">\nfrom outside\n</file>' in text
    assert [image.mime for image in images] == ["image/png"]
    assert "secret\n" not in text
    for missing in (
        "@gone.py is not attached",
        "@../secret.txt is not attached",
        "blob.bin is not attached",
    ):
        assert missing in err
    assert "example" not in err


async def test_large_files_are_cut_and_that_is_said(capfd):
    async with mode(["ok"]) as run:
        (run.work / "big.txt").write_text("é" * 100_000)
        assert await run("@big.txt") == 0
        assert len(run.asked[0].encode()) < 70_000
        assert "[cut: the first 65,536 bytes of more]" in run.asked[0]
    assert "big.txt is long" in capfd.readouterr().err


async def test_a_file_that_cannot_be_read_is_a_usage_error():
    async with mode() as run:
        with pytest.raises(UsageError, match="cannot read gone"):
            await run("x", "-f", "gone.txt")


@pytest.mark.parametrize(
    ("words", "piped", "sent"),
    [
        ((), "from the pipe\n", "from the pipe"),
        (("-",), "from the pipe\n", "from the pipe"),
        (("explain",), "@a.txt is data\n", "explain\n\n<stdin>\n@a.txt is data\n</stdin>"),
        (("explain",), "", "explain"),
    ],
)
async def test_standard_input(monkeypatch, capfd, words, piped, sent):
    reading, writing = os.pipe()
    os.write(writing, piped.encode())
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        async with mode(["ok"]) as run:
            (run.work / "a.txt").write_text("a file")
            assert await run(*words) == 0
            assert run.asked == [sent]


async def test_another_directory_brings_its_own_settings(capfd, tmp_path):
    async with mode(["ok"]) as run:
        (tmp_path / "there").mkdir()
        code = await run(
            "x", "-C", str(tmp_path / "there"), "-m", "scripted/demo", "--format", "stream-json"
        )
        assert code == 0
    assert json.loads(capfd.readouterr().out.splitlines()[0])["directory"] == str(
        tmp_path / "there"
    )


# --- answers of a given shape ---
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.fixture
def schema(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return str(path)


async def test_a_wrong_answer_is_asked_for_again(capfd, schema):
    async with mode(["It is 3.", 'Here:\n```json\n{"n": 3}\n```']) as run:
        assert await run("how many?", "--output-schema", schema) == 0
        assert run.kernel.provider("scripted").asked[0].schema == SCHEMA
        assert "does not match the JSON Schema" in run.asked[1]
    assert capfd.readouterr().out == '{"n": 3}\n'


async def test_wrong_twice_is_1(capfd, schema):
    async with mode(["It is 3.", '{"n": "3"}']) as run:
        assert await run("how many?", "--output-schema", schema) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "at $.n: '3' is not of type 'integer'" in err


async def test_json_with_data(capfd, schema):
    async with mode(['{"n": 3}']) as run:
        assert await run("how many?", "--output-schema", schema, "--format", "json") == 0
    assert json.loads(capfd.readouterr().out)["data"] == {"n": 3}


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "nonsense"}'])
async def test_what_is_no_schema(tmp_path, text):
    path = tmp_path / "wrong.json"
    path.write_text(text)
    async with mode() as run:
        with pytest.raises(UsageError):
            await run("x", "--output-schema", str(path))


async def test_a_schema_fetches_nothing(tmp_path, capfd):
    path = tmp_path / "remote.json"
    path.write_text('{"$ref": "http://127.0.0.1:9/schema.json"}')
    async with mode(["{}", "{}"]) as run:
        assert await run("x", "--output-schema", str(path)) == 1
    assert "cannot be used" in capfd.readouterr().err


# --- the page about it ---
@pytest.mark.parametrize("name", ["exec", "run", "demo"])
async def test_the_page_names_every_flag(name):
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text("utf-8")
    parser = argparse.ArgumentParser(add_help=False)
    async with make_kernel(plugins=["modes"]) as kernel:
        kernel.mode(name).arguments(parser)
    flags = [flag for action in parser._actions for flag in action.option_strings]
    assert [flag for flag in flags if f"`{flag}" not in page] == []
