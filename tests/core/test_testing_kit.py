"""The test kit itself: its servers do to a client what the script says, and its checks find what is wrong."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from typing import Annotated
from urllib.parse import quote

import httpx
import msgspec
import pytest
import trio
from codetether import faults
from codetether.errors import PluginError
from codetether.events import ProviderFault
from codetether.ports import Provider, Tool, ToolOutput
from codetether.testing import (
    ByteServer,
    Call,
    Fin,
    Pause,
    Reply,
    Reset,
    ScriptedServer,
    Stall,
    call,
    chat_events,
    chat_sse,
    check_plugin,
    contract_imports,
    contract_plugin,
    contract_schema,
    contract_settings,
    contract_tool,
    files_with,
    forms_of,
    full_disk,
    head,
    make_kernel,
    processes_with,
    redirect,
    response,
    split_every,
)
from codetether.testing.replies import words
from codetether.words import Effect, Usage
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta


def client():
    return httpx.AsyncClient(trust_env=False, timeout=20)


# --- ByteServer ---
async def test_bytes_arrive_and_requests_are_recorded():
    async with (
        ByteServer([[response("one")], [response("two", status=429)]]) as server,
        client() as http,
    ):
        first = await http.post(f"{server.url}/a?b=c", json={"x": 1}, headers={"X-Key": "v"})
        second = await http.get(f"{server.url}/d")
    assert (first.text, second.status_code, second.text) == ("one", 429, "two")
    assert [(r.method, r.path) for r in server.requests] == [("POST", "/a?b=c"), ("GET", "/d")]
    assert server.requests[0].json == {"x": 1}
    assert server.requests[0].headers["x-key"] == "v"


async def test_a_chunked_request_body_is_put_together():
    async def parts():
        for part in (b"ab", b"c" * 100_000, b"d"):
            yield part

    async with ByteServer([[response()]]) as server, client() as http:
        await http.post(server.url, content=parts())
    assert server.requests[0].body == b"ab" + b"c" * 100_000 + b"d"


async def test_fin_in_the_middle_of_a_promised_body():
    async with ByteServer(
        [[head(headers={"content-length": "10"}), b"12345", Fin(), b"67890"]]
    ) as server:
        async with client() as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get(server.url)


async def test_reset_breaks_the_connection():
    async with ByteServer([[head(), b"12345", Pause(0.05), Reset()]]) as server:
        async with client() as http:
            with pytest.raises(httpx.ReadError):
                await http.get(server.url)


async def test_stall_lasts_until_the_client_leaves():
    async with ByteServer([[head(), b"x", Stall()]]) as server, client() as http:
        with trio.move_on_after(0.2) as waited:
            await http.get(server.url)
    assert waited.cancelled_caught


async def test_leaving_the_server_ends_a_stall():
    async with client() as http, trio.open_nursery() as nursery:
        async with ByteServer([[head(), b"x", Stall()]]) as server:
            started = trio.Event()

            async def read():
                async with http.stream("GET", server.url) as answer:
                    async for _ in answer.aiter_raw():
                        started.set()

            nursery.start_soon(read)
            await started.wait()


async def test_a_pause_is_of_trio_time(autojump_clock):
    async with ByteServer([[head(), Pause(60), b"late"]]) as server, client() as http:
        http.timeout = httpx.Timeout(None)
        before = trio.current_time()
        answer = await http.get(server.url)
        assert answer.text == "late"
        assert trio.current_time() - before >= 60


async def test_redirects_name_the_other_host():
    async with ByteServer([[redirect("http://127.0.0.1:1/x")]]) as server, client() as http:
        answer = await http.get(server.url)
    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.1:1/x")


async def test_an_unexpected_request_fails_the_test():
    with pytest.raises(AssertionError, match="GET / came after"):
        async with ByteServer([]) as server, client() as http:
            assert (await http.get(server.url)).status_code == 500


async def test_a_script_function_that_raises_fails_the_test():
    def script(request):
        raise KeyError(request.path)

    async def ask():
        async with ByteServer(script) as server, client() as http:
            with pytest.raises(httpx.HTTPError):
                await http.get(f"{server.url}/lost")

    with pytest.raises(AssertionError, match="KeyError"):
        await ask()


async def test_what_is_not_http_fails_the_test():
    async def mumble():
        async with ByteServer([]) as server:
            stream = await trio.open_tcp_stream("127.0.0.1", int(server.url.rpartition(":")[2]))
            async with stream:
                await stream.send_all(b"GET / HT")
                await stream.send_eof()
                assert await stream.receive_some() == b""

    with pytest.raises(AssertionError, match="ended inside a request"):
        await mumble()


async def test_the_tests_own_error_is_not_hidden_by_the_servers():
    async def fail():
        async with ByteServer([]) as server, client() as http:
            await http.get(server.url)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


# --- bytes of the dialect ---
def test_an_answer_in_exact_bytes():
    start = b'data: {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1700000000, "model": "m", '
    assert chat_events(Reply(text="hi there"), model="m") == [
        start
        + b'"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]}\n\n',
        start
        + b'"choices": [{"index": 0, "delta": {"content": "hi "}, "finish_reason": null}]}\n\n',
        start
        + b'"choices": [{"index": 0, "delta": {"content": "there"}, "finish_reason": null}]}\n\n',
        start + b'"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]


def test_all_of_an_answer_can_be_put_together_again():
    raw = chat_sse(
        text="a b",
        thoughts="why not",
        calls=(Call("bash", {"command": "ls"}), Call("glob", '{"pat', id="x")),
        usage=Usage(input=7, output=3, cached=2),
        finish="length",
    )
    chunks = [json.loads(line[6:]) for line in raw.decode().split("\n\n")[:-2]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "a b"
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "why not"
    calls = {}
    for part in (part for delta in deltas for part in delta.get("tool_calls", ())):
        mine = calls.setdefault(
            part["index"], {"id": part.get("id"), "name": part["function"].get("name"), "text": ""}
        )
        mine["text"] += part["function"]["arguments"]
    assert calls == {
        0: {"id": "call_0", "name": "bash", "text": '{"command": "ls"}'},
        1: {"id": "x", "name": "glob", "text": '{"pat'},
    }
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}
    assert raw.endswith(b"data: [DONE]\n\n")
    assert not chat_sse("x", done=False).endswith(b"[DONE]\n\n")


@given(st.text())
def test_words_lose_nothing(text):
    assert "".join(words(text)) == text


def test_bytes_split_anywhere_are_the_same_bytes():
    assert split_every(b"abcde", 2) == [b"ab", b"cd", b"e"]


# --- ScriptedServer ---
async def test_replies_are_said_in_order_streaming_or_not():
    async with ScriptedServer(["one two", call("bash", command="ls")], models=("m",)) as server:
        async with client() as http:
            base = f"{server.url}/v1"
            listed = (await http.get(f"{base}/models")).json()
            streamed = await http.post(
                f"{base}/chat/completions", json={"model": "m", "stream": True}
            )
            whole = (
                await http.post(f"{base}/chat/completions", json={"model": "m", "n": 1})
            ).json()
    assert [row["id"] for row in listed["data"]] == ["m"]
    assert streamed.content == chat_sse("one two", model="m")
    assert streamed.headers["content-type"] == "text/event-stream"
    assert whole["choices"][0]["message"]["tool_calls"][0]["function"] == {
        "name": "bash",
        "arguments": '{"command": "ls"}',
    }
    assert [asked.get("stream") for asked in server.asked] == [True, None]


async def test_a_function_answers_from_the_request():
    async with ScriptedServer(
        lambda asked: f"you said {asked['messages'][-1]['content']}"
    ) as server:
        async with client() as http:
            asked = {"messages": [{"role": "user", "content": "hello"}]}
            answer = (await http.post(f"{server.url}/chat/completions", json=asked)).json()
    assert answer["choices"][0]["message"]["content"] == "you said hello"


async def test_faults_become_a_status_or_an_error_in_the_stream():
    limited = ProviderFault("rate_limit", "slow down", retry_after=2.5)
    async with ScriptedServer(
        [Reply(fault=limited), Reply(text="so far", fault=limited)]
    ) as server:
        async with client() as http:
            url = f"{server.url}/chat/completions"
            refused = await http.post(url, json={"stream": True})
            broken = await http.post(url, json={"stream": True})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2.5")
    assert refused.json()["error"]["message"] == "slow down"
    assert b'"content": "far"' in broken.content
    assert b'finish_reason": "stop' not in broken.content
    assert broken.content.count(b'data: {"error"') == 1
    assert b"[DONE]" not in broken.content


async def test_one_reply_too_few_fails_the_test():
    with pytest.raises(AssertionError, match="after the last reply"):
        async with ScriptedServer([]) as server, client() as http:
            await http.post(f"{server.url}/chat/completions", json={})


# --- contracts ---
class Params(msgspec.Struct):
    path: Annotated[str, Meta(description="A file.")]


class Good(Tool[Params]):
    api = 1
    params = Params
    effect = Effect.READ
    text = "Count the lines of a file."

    async def run(self, params, ctx):
        return ToolOutput("1")


def test_a_good_tool_passes():
    contract_tool(Good)


class BadParams(msgspec.Struct):
    path: str


class BadSettings(msgspec.Struct):
    limit: int
    depth: Annotated[int, Meta(description="How deep.")] = 3


class Bad(Good):
    params = BadParams
    effect = "read"
    text = "x" * 5000
    Settings = BadSettings


def test_everything_wrong_with_a_tool_is_named_at_once():
    with pytest.raises(AssertionError) as caught:
        contract_tool(Bad)
    told = str(caught.value)
    for part in (
        "api = None",
        "effect is not an Effect",
        "description has 5000",
        "parameters.path has no description",
        "setting limit has no default",
        "setting limit has no description",
    ):
        assert part in told
    assert "depth" not in told


def test_an_open_schema_is_found_at_any_depth():
    inner = {"type": "object", "properties": {"a": {"type": "string", "description": "A."}}}
    listed = {"type": "array", "description": "B.", "items": inner}
    schema = {"type": "object", "additionalProperties": False, "properties": {"b": listed}}
    with pytest.raises(
        AssertionError, match=r"parameters\.b\.items does not say additionalProperties"
    ):
        contract_schema(schema)
    inner["additionalProperties"] = False
    contract_schema(schema)
    inner["properties"]["a"] = {"$ref": "#/x", "description": "A."}
    with pytest.raises(AssertionError, match=r"parameters\.b\.items\.a uses \$ref"):
        contract_schema(schema)


def test_settings_without_a_default_are_found():
    with pytest.raises(AssertionError, match="limit has no default"):
        contract_settings(BadSettings)


def test_a_plugin_of_the_wrong_kind_is_found():
    with pytest.raises(AssertionError, match="Good is no Provider"):
        contract_plugin(Good, "providers")
    contract_plugin(type("Mine", (Provider,), {"api": 1}), "providers")


def test_heavy_imports_are_found():
    with pytest.raises(AssertionError, match=r"^http\.client imports email$"):
        contract_imports("http.client", heavy=("email", "tkinter"))
    with pytest.raises(AssertionError, match="cannot be imported"):
        contract_imports("no_such_module")


def test_an_installed_plugin_is_checked_as_a_whole():
    check_plugin("scripted", "codetether.providers")
    with pytest.raises(AssertionError, match="0 entry points"):
        check_plugin("nothing", "codetether.providers")


# --- kill points ---
def test_faults_are_inert_without_both_variables():
    code = "from codetether.faults import fault; fault('x'); print('alive')"
    for env in ({"CODETETHER_FAULT": "x=kill"}, {"CODETETHER_TESTING": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True
        )
        assert done.stdout == b"alive\n"


def test_a_process_dies_at_its_kill_point_the_third_time():
    code = (
        "from codetether.faults import fault\nfor n in range(5): print(n, flush=True); fault('x')"
    )
    env = {**os.environ, "CODETETHER_TESTING": "1", "CODETETHER_FAULT": "y=raise,x=kill@3"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == [b"0", b"1", b"2"]


def test_faults_raise_and_are_disarmed():
    faults.arm("disk=raise")
    try:
        with pytest.raises(OSError, match="fault disk"):
            faults.fault("disk")
        faults.fault("other")
    finally:
        faults.arm("")
    faults.fault("disk")


@pytest.mark.parametrize("text", ["x", "x=", "x=explode", "x=kill@y"])
def test_a_malformed_fault_is_refused(text):
    with pytest.raises(ValueError):
        faults.arm(text)
    faults.arm("")


# --- make_kernel ---
async def test_a_whole_turn_with_a_scripted_model_and_a_tool_of_the_tests(tmp_path):
    async with make_kernel(
        tmp_path,
        replies=[call("good", path="a.txt"), "one line"],
        plugins=[],
        extra={"tools:good": Good},
    ) as kernel:
        async with kernel.open_session(directory=tmp_path / "work") as session:
            finished = await session.prompt("how long is a.txt?")
        asked = kernel.provider("scripted").asked
    assert (finished.reason, finished.text) == ("done", "one line")
    assert [schema.name for schema in asked[0].tools] == ["good"]
    assert [result.text for result in asked[1].messages[-1].results] == ["1"]
    assert list((tmp_path / "data").rglob("*.jsonl"))


async def test_the_home_of_a_kernel_goes_and_the_users_comes_back():
    before = {name: os.environ.get(name) for name in ("HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")}
    async with make_kernel(plugins=[]) as kernel:
        place = kernel.dirs.data
        assert os.environ["HOME"] != before["HOME"]
        kernel.dirs.data.mkdir(parents=True)
    assert not place.exists()
    assert {name: os.environ.get(name) for name in before} == before


async def test_only_the_plugins_chosen_are_on(tmp_path):
    async with make_kernel(
        tmp_path, plugins=["providers:local"], off=["providers:scripted"]
    ) as kernel:
        assert [row.key for row in kernel.host.rows] == ["providers:local"]
    async with make_kernel(tmp_path) as kernel:
        assert {"providers:local", "providers:scripted"} <= {row.key for row in kernel.host.rows}


async def test_without_the_scripted_provider_the_hint_says_what_to_install(tmp_path):
    with pytest.raises(PluginError) as caught:
        async with make_kernel(tmp_path, replies=[], off=["providers:scripted"]):
            pass
    assert "codetether-provider-scripted" in caught.value.hint


async def test_a_model_of_the_tests_may_claim_a_window(tmp_path):
    async with make_kernel(tmp_path, replies=["x"], plugins=[], context=4000) as kernel:
        _, model = await kernel.resolve_model(None)
    assert (model.id, model.context) == ("test", 4000)


# --- checks of faults ---
async def test_processes_are_found_by_their_marker():
    assert processes_with("CODETETHER_TEST_MARK=kit") == {}
    env = {**os.environ, "CODETETHER_TEST_MARK": "kit"}
    argv = [sys.executable, "-c", "input()"]
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE) as child:
        with trio.fail_after(10):
            while child.pid not in processes_with("CODETETHER_TEST_MARK=kit"):
                await trio.sleep(0.01)
        assert "input()" in processes_with("CODETETHER_TEST_MARK=kit")[child.pid]
        child.stdin.close()


@given(st.text(min_size=8, max_size=40), st.binary(max_size=10), st.binary(max_size=10))
def test_a_secret_is_found_in_base64_wherever_it_stands(secret, before, after):
    encoded = base64.b64encode(before + secret.encode() + after)
    assert any(form in encoded for form in forms_of(secret))


def test_files_with_a_secret_in_any_form(tmp_path):
    secret = 'k-"ä/1234567890'
    hiding = {
        "plain": secret,
        "json": json.dumps({"key": secret}),
        "line": json.dumps({"key": secret}, ensure_ascii=False),
        "url": f"https://example.org/?key={quote(secret, safe='')}",
        "header": base64.b64encode(f"user:{secret}".encode()).decode(),
        "clean": "k-1234567890",
    }
    for name, text in hiding.items():
        (tmp_path / "a" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "a" / name).write_text(text)
    found = [path.name for path in files_with(secret, tmp_path)]
    assert found == ["header", "json", "line", "plain", "url"]
    (tmp_path / "log-canary-77.txt").touch()
    assert [path.name for path in files_with("canary-77", tmp_path)] == ["log-canary-77.txt"]


def test_a_full_disk_cuts_the_write_and_refuses_the_next(tmp_path):
    target = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    try:
        with full_disk(1000):
            assert os.write(target, b"x" * 1500) == 1000
            with pytest.raises(OSError, match="File too large"):
                os.write(target, b"x")
        assert os.write(target, b"x" * 500) == 500
    finally:
        os.close(target)
