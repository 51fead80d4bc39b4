from __future__ import annotations

import json

import pytest
from codetether.api import Finish, Message, ModelInfo, Request, Text, TextDelta
from codetether.testing import ByteServer, Stall
from codetether.testing.contract import check_plugin
from codetether.testing.http import head, response
from codetether_provider_local import Local

ASK = Request("m1", (Message("user", (Text("hi"),)),))


def make(kernel, *servers, secrets=None, **settings):
    """A provider that looks for servers at these addresses only."""
    provider = Local(kernel(secrets, **settings), "providers:local")
    provider.found_at = tuple(f"{server.url}/v1" for server in servers)
    return provider


def serving(pages, answer=b""):
    """A script: JSON pages by path, the answer for chat."""

    def script(request):
        if request.path == "/v1/chat/completions":
            return [head() + answer]
        page = pages.get(request.path)
        return [response(json.dumps(page))] if page is not None else [response("{}", status=404)]

    return script


def listing(*ids, **row):
    return {"object": "list", "data": [{"id": name, "object": "model", **row} for name in ids]}


def test_contract():
    check_plugin("local", "codetether.providers")


async def test_one_address_and_a_named_model_are_asked_for_the_answer_only(kernel, answer):
    async with ByteServer(serving({}, answer("ok"))) as server:
        provider = make(kernel, base_url=server.url)
        assert await provider.model("m1") == ModelInfo("m1", "local")
        async with provider.stream(ASK) as events:
            assert [event async for event in events] == [TextDelta("ok"), Finish("stop")]
        await provider.aclose()
    assert [request.path for request in server.requests] == ["/v1/chat/completions"]
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
async def test_addresses_as_people_write_them(kernel, tail):
    provider = make(kernel, base_url=f" http://127.0.0.1:9{tail} ")
    assert (await provider.endpoint("m")).base_url == "http://127.0.0.1:9/v1"


async def test_nothing_there(kernel):
    async with ByteServer() as server:
        pass
    provider = make(kernel, server)
    status = await provider.status()
    assert (status.usable, status.why) == (False, "no server answers")
    assert "Ollama" in status.hint
    async with provider.stream(ASK) as events:
        [finish] = [event async for event in events]
    assert finish.error.message.startswith("local: no local model server")
    assert (await provider.model("m1")).context is None
    await provider.aclose()


async def test_servers_are_found_together_and_the_slow_left_out(kernel, autojump_clock):
    async with (
        ByteServer([[Stall()]]) as mute,
        ByteServer(serving({"/v1/models": listing("m1", "m2")})) as one,
        ByteServer(serving({"/v1/models": listing("m2", "m3")})) as two,
        ByteServer([[response("<html>hello", content_type="text/html")]]) as web,
    ):
        provider = make(kernel, mute, web, one, two)
        status = await provider.status()
        assert (status.usable, status.model) == (True, "m1")
        assert (await provider.endpoint("m2")).base_url == f"{one.url}/v1"
        assert (await provider.endpoint("m3")).base_url == f"{two.url}/v1"
        assert (await provider.endpoint("unlisted")).base_url == f"{one.url}/v1"
        await provider.aclose()
    assert len(mute.requests) == len(web.requests) == 1
    assert [request.path for request in one.requests] == ["/v1/models"]  # once per process


async def test_llama_cpp_tells_its_window(kernel):
    pages = {
        "/v1/models": listing("m1", owned_by="llamacpp"),
        "/props": {
            "default_generation_settings": {"n_ctx": 8192},
            "modalities": {"vision": False},
            "chat_template": "{% if tools %}",
        },
    }
    async with ByteServer(serving(pages)) as server:
        provider = make(kernel, server)
        [info] = await provider.models()
        await provider.aclose()
    assert (info.context, info.tools, info.images) == (8192, True, False)
    assert provider.traits("m1").images is False


@pytest.mark.parametrize(
    ("running", "parameters", "context"),
    [
        ([{"model": "m1", "context_length": 4096}], "", 4096),
        ([], 'stop "x"\nnum_ctx 16384', 16384),
        ([], "", 131072),
    ],
)
async def test_ollama_tells_the_window_it_runs_with(kernel, running, parameters, context):
    pages = {
        "/v1/models": listing("m1", owned_by="library"),
        "/api/show": {
            "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 131072},
            "parameters": parameters,
            "capabilities": ["completion", "tools", "thinking"],
        },
        "/api/ps": {"models": running},
    }
    async with ByteServer(serving(pages)) as server:
        provider = make(kernel, server)
        info = await provider.model("m1")
        await provider.aclose()
    assert (info.context, info.tools, info.images, info.reasoning) == (context, True, False, True)
    [shown] = [request for request in server.requests if request.path == "/api/show"]
    assert shown.json == {"model": "m1"}


async def test_lm_studio_and_vllm(kernel):
    rows = [
        {
            "id": "m1",
            "type": "vlm",
            "loaded_context_length": 4096,
            "max_context_length": 32768,
            "capabilities": ["tool_use"],
        }
    ]
    async with (
        ByteServer(
            serving({"/v1/models": listing("m1"), "/api/v0/models": {"data": rows}})
        ) as studio,
        ByteServer(
            serving({"/v1/models": listing("m2", owned_by="vllm", max_model_len=32000)})
        ) as vllm,
    ):
        provider = make(kernel, studio, vllm)
        first, second = await provider.models()
        await provider.aclose()
    assert (first.context, first.images, first.tools) == (4096, True, True)
    assert (second.id, second.context, second.tools) == ("m2", 32000, None)
    assert len(vllm.requests) == 1


@pytest.mark.parametrize("rows", [[{}], [], [{"id": "another"}], {}])
async def test_junk_from_a_server_is_unknown_not_a_crash(kernel, rows):
    pages = {
        "/v1/models": listing("m1"),
        "/props": [1],
        "/api/show": {"model_info": None},
        "/api/v0/models": {"data": rows},
    }
    async with ByteServer(serving(pages)) as server:
        provider = make(kernel, server)
        assert await provider.models() == [ModelInfo("m1", "local")]
        await provider.aclose()


async def test_a_server_that_wants_a_key_gets_the_stored_one(kernel, answer):
    def script(request):
        good = request.headers.get("authorization") == "Bearer local-key-123456"
        return [head() + answer("ok")] if good else [response("{}", status=401)]

    async with ByteServer(script) as server:
        provider = make(
            kernel, base_url=server.url, secrets={"local": {"api_key": "local-key-123456"}}
        )
        async with provider.stream(ASK) as events:
            assert TextDelta("ok") in [event async for event in events]
        await provider.aclose()
    assert len(server.requests) == 2


@pytest.mark.parametrize("secrets", [None, {}])
async def test_without_one_the_refusal_is_final(kernel, secrets):
    async with ByteServer([[response("{}", status=401)]]) as server:
        provider = make(kernel, base_url=server.url, secrets=secrets)
        async with provider.stream(ASK) as events:
            assert [event async for event in events][-1].error.kind == "auth"
        await provider.aclose()


async def test_a_plain_address_loads_no_trust_store(kernel, answer, monkeypatch):
    import ssl

    def refuse(*args, **more):
        raise AssertionError("the trust store was loaded")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", refuse)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", refuse)
    async with ByteServer(serving({}, answer("ok"))) as server:
        provider = make(kernel, base_url=server.url)
        async with provider.stream(ASK) as events:
            assert TextDelta("ok") in [event async for event in events]
        await provider.aclose()


def test_loading_the_plugin_does_not_load_a_client():
    import subprocess
    import sys

    code = "import sys, codetether_provider_local, codetether_provider_openai; print({'httpx', 'httptools'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
