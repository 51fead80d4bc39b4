"""The bedrock provider against a loopback server: keys and signatures, names, what is listed, what failures say."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from bedrock_judge import answer, exception, vendor_check
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from codetether.api import CodetetherError, Message, Request, Retrying, Text, TextDelta, Usage
from codetether.testing import ByteServer
from codetether.testing.contract import check_plugin
from codetether.testing.http import head, response
from codetether_provider_bedrock import Bedrock
from codetether_provider_bedrock.aws import Credentials
from codetether_provider_bedrock.naming import aliases, first_name, wire_id

KEY = "bedrock-api-key-canary-0123456789"
ACCESS = {
    "access_key_id": "AKIACANARY0123456789",
    "secret_access_key": "canary/secret+0123456789abcdefghijklmnop",
    "session_token": "canary-session-token-0123456789==",
}
SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
STREAM = "application/vnd.amazon.eventstream"
OK = head(content_type=STREAM) + b"".join(
    answer(
        ("text", "hel", "lo"),
        usage={
            "inputTokens": 1_000_000,
            "outputTokens": 0,
            "totalTokens": 0,
            "cacheWriteInputTokens": 1_000_000,
        },
    )
)
ASK = (Message("user", (Text("hi"),)),)


def make(kernel, server=None, **secret):
    document = secret if "access_key_id" in secret else {"api_key": KEY, **secret}
    if server is not None:
        document["base_url"] = f"{server.url}/"
    return Bedrock(kernel({"bedrock": document}), "providers:bedrock")


async def ask(provider, model="claude-sonnet-4.5"):
    async with provider.stream(Request(model, ASK, system="Be brief")) as events:
        said = [event async for event in events]
    await provider.aclose()
    return said


def test_contract():
    check_plugin("bedrock", "codetether.providers")


def test_botocore_is_not_loaded_with_the_plugin():
    code = "import sys, codetether_provider_bedrock; print([m for m in sys.modules if 'botocore' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


async def test_an_api_key(kernel):
    async with ByteServer([[OK]]) as server:
        said = await ask(make(kernel, server, region="eu-central-1"))
    [sent] = server.requests
    assert sent.path == f"/model/eu.{SONNET.replace(':', '%3A')}/converse-stream"
    vendor_check(sent.path, sent.json)
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.json["system"][1] == {"cachePoint": {"type": "default"}}
    assert "".join(e.text for e in said if isinstance(e, TextDelta)) == "hello"
    assert said[-1].reason == "stop"
    assert said[-1].usage == Usage(input=2_000_000, cache_write=1_000_000, cost=3.0 + 3.75)


@pytest.mark.parametrize("token", [True, False])
async def test_an_access_key_signs_as_botocore_does(kernel, token):
    secret = {k: v for k, v in ACCESS.items() if token or k != "session_token"}
    async with ByteServer([[OK]]) as server:
        provider = make(kernel, server, region="us-west-2", headers={"x-team": "a"}, **secret)
        await ask(provider)
    [sent] = server.requests
    assert sent.headers["x-team"] == "a"
    assert sent.headers.get("x-amz-security-token") == (ACCESS["session_token"] if token else None)
    signed = re.search(r"SignedHeaders=([^,]+)", sent.headers["authorization"])[1]
    request = AWSRequest("POST", server.url + sent.path, data=sent.body)
    request.context["timestamp"] = sent.headers["x-amz-date"]
    for name in signed.split(";"):
        request.headers[name] = sent.headers[name]
    credentials = Credentials(*(secret.get(name) for name in ACCESS))
    auth = SigV4Auth(credentials, "bedrock", "us-west-2")
    canonical = auth.canonical_request(request)
    proof = auth.signature(auth.string_to_sign(request, canonical), request)
    assert sent.headers["authorization"].endswith(f"Signature={proof}")
    assert "/us-west-2/bedrock/aws4_request" in sent.headers["authorization"]
    assert "%253A" in canonical  # what is sent as %3A is signed encoded twice
    assert "canary" not in provider.kernel.redact.text(" ".join(secret.values()))
    assert "canary" not in repr(provider._credentials)


async def test_each_try_is_signed_anew_and_waits_as_told(kernel, autojump_clock):
    busy = response(
        '{"message": "slow down"}',
        status=429,
        headers={"x-amzn-errortype": "ThrottlingException", "retry-after": "30"},
    )
    async with ByteServer([[busy], [OK]]) as server:
        said = await ask(make(kernel, server, **ACCESS))
    assert [event.wait >= 30 for event in said if isinstance(event, Retrying)] == [True]
    assert all(sent.headers["authorization"].startswith("AWS4") for sent in server.requests)
    assert said[-1].reason == "stop"


async def test_expired_keys_are_read_again(kernel):
    expired = response(
        '{"message": "The security token included in the request is expired"}',
        status=403,
        headers={"x-amzn-errortype": "ExpiredTokenException"},
    )
    async with ByteServer([[expired], [OK]]) as server:
        provider = make(kernel, server, **ACCESS)
        renewed = {**ACCESS, "access_key_id": "AKIARENEWED", "base_url": server.url}
        provider.kernel.secrets().queue.append(renewed)
        said = await ask(provider)
    assert "Credential=AKIARENEWED/" in server.requests[1].headers["authorization"]
    assert said[-1].reason == "stop"


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ({"region": "us-east-1"}, "neither api_key nor"),
        ({"access_key_id": "AKIA"}, "neither api_key nor"),
        ({"access_key_id": "AKIA\n", "secret_access_key": "ü"}, "unprintable"),
        ({"api_key": "k", "region": "evil.example/#"}, "not an AWS region"),
        ({"api_key": "k", "base_url": "ftp://x"}, "not an http address"),
    ],
)
async def test_secrets_that_cannot_be_used(kernel, secret, why):
    status = await Bedrock(kernel({"bedrock": secret}), "providers:bedrock").status()
    assert not status.usable
    assert why in status.why


@pytest.mark.parametrize(
    ("region", "host"),
    [
        (None, "https://bedrock-runtime.us-east-1.amazonaws.com"),
        ("eu-west-3", "https://bedrock-runtime.eu-west-3.amazonaws.com"),
        ("us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
    ],
)
async def test_the_region_names_the_host(kernel, region, host):
    provider = make(kernel, **({"region": region} if region else {}))
    assert (await provider.endpoint("")).base_url == host


# --- names ---
@pytest.mark.parametrize(
    ("name", "region", "wire"),
    [
        ("claude-sonnet-4.5", "us-east-1", f"us.{SONNET}"),
        ("Claude-4-5-Sonnet", "eu-west-1", f"eu.{SONNET}"),
        ("claude-sonnet-4.5", "ap-south-1", f"apac.{SONNET}"),
        ("claude-sonnet-4.5", "us-gov-west-1", f"us-gov.{SONNET}"),
        ("claude-sonnet-4.5", "sa-east-1", f"global.{SONNET}"),
        ("claude-opus-4.6", "us-east-1", "us.anthropic.claude-opus-4-6-v1"),
        ("nova-pro", "eu-west-1", "amazon.nova-pro-v1:0"),
        ("kimi-k2.5", "us-east-1", "moonshotai.kimi-k2.5"),
        (SONNET, "eu-west-1", SONNET),
        ("jp.anthropic.x-v1:0", "us-east-1", "jp.anthropic.x-v1:0"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/x", "eu-west-1", "arn:aws:bedrock:us-east-1:1:inference-profile/x"),
    ],
)  # fmt: skip
def test_names(name, region, wire):
    assert wire_id(name, region) == wire


def test_a_listed_profile_goes_before_a_guess():
    assert wire_id("claude-sonnet-4.5", "ap-northeast-1", {f"jp.{SONNET}"}) == f"jp.{SONNET}"
    assert wire_id("claude-sonnet-4.5", "eu-west-1", {f"global.{SONNET}"}) == f"global.{SONNET}"


def test_aliases_are_dated_and_mean_one_model_each():
    table = aliases()
    assert table.date
    assert table.source
    names = [name.replace(".", "-") for names in table.ids.values() for name in names]
    assert len(names) == len(set(names))
    for wire in table.ids:
        vendor_check(f"/model/{wire_id(table.ids[wire][0], 'us-east-1').replace(':', '%3A')}/converse-stream", {"messages": []})  # fmt: skip
        assert first_name(wire.replace("{geo}", "eu")) == table.ids[wire][0]


async def test_facts_hold_for_every_name_of_a_model(kernel):
    provider = make(kernel)
    for name in ("claude-sonnet-4.5", "claude-4.5-sonnet", SONNET, f"eu.{SONNET}", f"jp.{SONNET}"):
        info = await provider.model(name)
        assert (info.id, info.context, info.input_price) == (name, 200_000, 3.0)
        assert provider.traits(name).cache_points == ("system", "tools", "messages")
    unknown = await provider.model("acme.model-1")
    assert (unknown.context, unknown.tools) == (None, None)
    assert provider.traits("us.anthropic.claude-9").cache_points
    assert not provider.traits("acme.model-1").cache_points


def test_the_data_file_is_dated_and_names_its_source(kernel):
    catalogue = make(kernel).catalogue
    assert catalogue.data.date
    assert catalogue.data.source
    assert catalogue.data.default in [entry.id for entry in catalogue.data.models]
    for entry in (*catalogue.data.models, *catalogue.data.families):
        catalogue.traits(entry.id or entry.match)
        assert not entry.id or first_name(entry.id) == entry.id


# --- the list ---
def model(model_id, *types, out=("TEXT",), stream=True, into=("TEXT", "IMAGE")):
    return {
        "modelId": model_id,
        "modelName": model_id.upper(),
        "inputModalities": list(into),
        "outputModalities": list(out),
        "inferenceTypesSupported": list(types),
        "responseStreamingSupported": stream,
    }


MODELS = {
    "modelSummaries": [
        model("acme.on-demand-v1:0", "ON_DEMAND", into=("TEXT",)),
        model(SONNET, "INFERENCE_PROFILE"),
        model("acme.image-v1", "ON_DEMAND", out=("IMAGE",)),
        model("acme.slow-v1", "ON_DEMAND", stream=False),
        model("cohere.rerank-v3", "ON_DEMAND"),
    ]
}
PROFILES = {
    "inferenceProfileSummaries": [
        {"inferenceProfileId": f"eu.{SONNET}", "inferenceProfileName": "EU Sonnet", "status": "ACTIVE"},
        {"inferenceProfileId": f"global.{SONNET}", "inferenceProfileName": "Global Sonnet"},
        {"inferenceProfileId": "eu.acme.image-v1", "inferenceProfileName": "x"},
    ]
}  # fmt: skip


@pytest.mark.parametrize("secret", [{"api_key": KEY}, ACCESS])
async def test_the_list_is_of_models_and_profiles(kernel, secret):
    replies = [[response(json.dumps(MODELS))], [response(json.dumps(PROFILES))]]
    async with ByteServer(replies) as server:
        provider = make(kernel, server, **secret)
        models = await provider.models()
        await provider.models()
        await provider.aclose()
    assert [m.id for m in models] == ["acme.on-demand-v1:0", f"eu.{SONNET}", f"global.{SONNET}"]
    assert [m.images for m in models] == [False, True, True]
    assert models[1].name == "EU Sonnet"
    assert models[1].context == 200_000
    assert [sent.path for sent in server.requests] == [
        "/foundation-models",
        "/inference-profiles?type=SYSTEM_DEFINED&maxResults=1000",
    ]
    for sent in server.requests:
        assert sent.headers["authorization"].startswith(("Bearer ", "AWS4-HMAC"))


async def test_the_list_is_asked_of_the_control_plane(kernel, monkeypatch):
    provider = make(kernel)
    asked = []

    async def fetch(endpoint, path, **more):
        asked.append(endpoint.base_url)
        return MODELS | PROFILES

    monkeypatch.setattr(provider, "fetch", fetch)
    await provider.models()
    assert set(asked) == {"https://bedrock.us-east-1.amazonaws.com"}


@pytest.mark.parametrize("body", ["{}", "[]", '{"modelSummaries": [3]}'])
async def test_a_list_that_cannot_be_read(kernel, body):
    async with ByteServer(lambda _: [response(body)]) as server:
        provider = make(kernel, server)
        with pytest.raises(CodetetherError):
            await provider._listing()
        assert "claude-sonnet-4.6" in [m.id for m in await provider.models()]
        await provider.aclose()


# --- failures ---
async def test_a_fault_inside_the_stream_is_tried_again(kernel, autojump_clock):
    rows = answer(("text", "hel"))[:2]
    broken = b"".join(rows) + exception("modelStreamErrorException", {"message": "oh"})
    async with ByteServer([[head(content_type=STREAM) + broken], [OK]]) as server:
        said = await ask(make(kernel, server))
    assert any(isinstance(event, Retrying) for event in said)
    assert said[-1].reason == "stop"


async def test_a_model_that_cannot_stream_is_asked_without(kernel):
    refused = response(
        '{"message": "This model doesn\'t support tool use in streaming mode."}',
        status=400,
        headers={"x-amzn-errortype": "ValidationException"},
    )
    whole = {
        "output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    }
    async with ByteServer([[refused], [response(json.dumps(whole))]]) as server:
        said = await ask(make(kernel, server), "llama-3.1-8b")
    assert server.requests[1].path.endswith("/converse")
    assert TextDelta("hello") in said
    assert said[-1].reason == "stop"


@pytest.mark.parametrize("secret", [{"api_key": KEY}, ACCESS])
async def test_refusals_hold_no_key(kernel, secret, caplog):
    leak = " ".join(str(value) for value in secret.values())
    refused = response(
        json.dumps({"message": f"denied for {leak}"}),
        status=403,
        headers={"x-amzn-errortype": "AccessDeniedException"},
    )
    caplog.set_level("DEBUG")
    async with ByteServer(lambda _: [refused]) as server:
        said = await ask(make(kernel, server, **secret))
    assert said[-1].error.kind == "auth"
    assert "auth login bedrock" in said[-1].error.hint
    for value in secret.values():
        assert value not in str(said)
        assert value not in caplog.text
    assert len(server.requests) == 2
