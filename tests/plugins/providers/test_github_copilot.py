"""Copilot against a loopback GitHub: signing in, the exchange of tokens, what is sent, what is listed."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
import trio
from codetether.api import (
    CodetetherError,
    Image,
    Message,
    Request,
    Retrying,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    UsageError,
)
from codetether.testing import ByteServer
from codetether.testing.contract import check_plugin
from codetether.testing.http import head, response
from codetether_provider_github_copilot import GitHubCopilot
from codetether_provider_github_copilot.hosts import domain_of, hosts_of
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter
from responses_events import message as said_message
from responses_events import stream
from vendor_histories import PNG, TOOLS

KEY = "gho_canary0123456789abcdefghij"
CHAT = TypeAdapter(CompletionCreateParamsStreaming)
USER = Message("user", (Text("hi"),))


class GitHub(ByteServer):
    """GitHub, its API and Copilot at one address. `exchanges` and `chats` are replies in turn; the last one stays."""

    def __init__(self, answer, *, exchanges=(), chats=(), listing=None, polls=(), begun=None):
        super().__init__()
        self.answer = answer
        self.exchanges = list(exchanges)
        self.chats = list(chats)
        self.listing = listing
        self.polls = list(polls)
        self.begun = begun or {
            "device_code": "device-canary-1",
            "user_code": "ABCD-1234",
            "verification_uri": "https://github.com/login/device",
            "expires_in": 900,
            "interval": 5,
        }

    def token(self, number, **more):
        expires = int(time.time()) + 1800
        told = {"token": f"tid={number};canary", "expires_at": expires, "refresh_in": 1500}
        return {**told, "endpoints": {"api": self.url}, **more}

    def steps(self, request):
        match request.path:
            case "/copilot_internal/v2/token":
                return [self._exchange()]
            case "/chat/completions" | "/responses":
                return self._chat(request)
            case "/models":
                return [response(json.dumps(self.listing))]
            case "/login/device/code":
                return [response(json.dumps(self.begun))]
            case "/login/oauth/access_token":
                told = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
                return [told if isinstance(told, bytes) else response(json.dumps(told))]
        return [response("no such page", status=404, content_type="text/plain")]

    def _exchange(self):
        reply = self.exchanges.pop(0) if self.exchanges else None
        if isinstance(reply, bytes):
            return reply
        return response(json.dumps(reply or self.token(len(self.asked("/copilot_internal")))))

    def _chat(self, request):
        if self.chats:
            return [self.chats.pop(0)]
        if request.path == "/responses":
            return [head() + stream(said_message("ok"))]
        return [head() + self.answer("ok")]

    def asked(self, path):
        return [request for request in self.requests if request.path.startswith(path)]


def make(kernel, server, **secret):
    document = {"api_key": KEY, "enterpriseUrl": server.url, **secret}
    provider = GitHubCopilot(kernel({"github-copilot": document}), "providers:github-copilot")
    provider.gate._jitter = lambda: 0.5
    return provider


async def collect(provider, *messages, model="claude-opus-4.5", **more):
    async with provider.stream(Request(model, messages or (USER,), **more)) as events:
        return [event async for event in events]


def test_contract():
    check_plugin("github-copilot", "codetether.providers")


# --- the exchange ---
async def test_a_token_is_exchanged_once_and_used(kernel, answer):
    async with GitHub(answer) as server:
        provider = make(kernel, server, headers={"X-Gateway": "yes"})
        for _ in range(2):
            assert TextDelta("ok") in await collect(provider)
        await provider.aclose()
    [exchange] = server.asked("/copilot_internal")
    assert (exchange.method, exchange.headers["authorization"]) == ("GET", f"token {KEY}")
    for chat in server.asked("/chat"):
        CHAT.validate_python(chat.json)
        assert chat.headers["authorization"] == "Bearer tid=1;canary"
        assert chat.headers["user-agent"].startswith("codetether-agent/")
        assert chat.headers["x-gateway"] == "yes"
        assert KEY not in repr(chat)
    hidden = provider.kernel.redact.text(f"{KEY} tid=1;canary")
    assert "canary" not in hidden


async def test_many_at_once_need_one_exchange(kernel, answer):
    async with GitHub(answer) as server:
        provider = make(kernel, server)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(collect, provider)
        await provider.aclose()
    assert len(server.asked("/copilot_internal")) == 1
    assert len(server.asked("/chat")) == 10


async def test_a_token_is_renewed_before_it_ends(kernel, answer, autojump_clock):
    async with GitHub(answer) as server:
        server.exchanges = [server.token(1, refresh_in=60)]  # and two minutes more
        provider = make(kernel, server)
        await collect(provider)
        await trio.sleep(50)
        await collect(provider)
        assert len(server.asked("/copilot_internal")) == 1
        await trio.sleep(20)
        await collect(provider)
        await provider.aclose()
    assert len(server.asked("/copilot_internal")) == 2
    assert server.asked("/chat")[-1].headers["authorization"] == "Bearer tid=2;canary"


async def test_a_wrong_clock_does_not_matter_when_the_vendor_counts(kernel, answer, autojump_clock):
    async with GitHub(answer) as server:
        server.exchanges = [server.token(1, expires_at=5)]
        provider = make(kernel, server)
        for _ in range(2):
            await collect(provider)
        await provider.aclose()
    assert len(server.asked("/copilot_internal")) == 1


async def test_a_token_that_still_holds_outlives_a_failing_exchange(kernel, answer, autojump_clock):
    busy = response("busy", status=503, content_type="text/plain")
    async with GitHub(answer) as server:
        server.exchanges = [server.token(1, refresh_in=60), busy]
        provider = make(kernel, server)
        await collect(provider)
        await trio.sleep(70)
        assert TextDelta("ok") in await collect(provider)
        await provider.aclose()
    assert server.asked("/chat")[-1].headers["authorization"] == "Bearer tid=1;canary"


async def test_a_failing_exchange_is_waited_out(kernel, answer, autojump_clock):
    busy = response("busy", status=503, content_type="text/plain")
    async with GitHub(answer, exchanges=[busy, busy, None]) as server:
        provider = make(kernel, server)
        seen = await collect(provider)
        await provider.aclose()
    assert [isinstance(event, Retrying) for event in seen] == [True, True, False, False]


async def test_a_refused_token_is_exchanged_again_once(kernel, answer):
    refused = response('{"message": "token expired"}', status=401)
    async with GitHub(answer, chats=[refused]) as server:
        provider = make(kernel, server)
        seen = await collect(provider)
        await provider.aclose()
    assert TextDelta("ok") in seen
    assert [r.headers["authorization"] for r in server.asked("/chat")] == [
        "Bearer tid=1;canary",
        "Bearer tid=2;canary",
    ]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_sign_in_that_is_no_longer_good(kernel, answer, status):
    no = response(json.dumps({"message": f"Bad credentials {KEY}"}), status=status)
    async with GitHub(answer, exchanges=[no, no]) as server:
        provider = make(kernel, server)
        [finish] = await collect(provider)
        await provider.aclose()
    assert finish.error.kind == "auth"
    assert finish.error.hint == "sign in with: codetether auth login github-copilot"
    assert KEY not in repr(finish)
    assert server.asked("/chat") == []


async def test_a_sign_in_replaced_meanwhile_is_used(kernel, answer):
    no = response('{"message": "Bad credentials"}', status=401)
    async with GitHub(answer, exchanges=[no, None]) as server:
        provider = make(kernel, server)
        provider.kernel.secrets().queue = [{"api_key": "gho_new", "enterpriseUrl": server.url}]
        assert TextDelta("ok") in await collect(provider)
        await provider.aclose()
    assert server.asked("/copilot_internal")[1].headers["authorization"] == "token gho_new"


async def test_where_nothing_is_exchanged_the_sign_in_itself_is_sent(kernel, answer):
    async with GitHub(answer, exchanges=[response("{}", status=404)]) as server:
        provider = make(kernel, server)
        for _ in range(2):
            assert TextDelta("ok") in await collect(provider)
        await provider.aclose()
    assert len(server.asked("/copilot_internal")) == 1
    assert server.asked("/chat")[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "told",
    [{}, [], {"token": 3}, {"token": "a\nb"}, {"token": "t", "endpoints": {"api": "ftp://x"}}],
)
async def test_an_answer_that_is_no_token(kernel, answer, told):
    async with GitHub(answer, exchanges=[response(json.dumps(told))]) as server:
        provider = make(kernel, server)
        [finish] = await collect(provider)
        await provider.aclose()
    assert finish.reason == "error"
    assert server.asked("/chat") == []


async def test_the_token_is_not_sent_to_an_unsafe_address(kernel, answer):
    async with GitHub(answer) as server:
        server.exchanges = [server.token(1, endpoints={"api": "http://elsewhere.example"})]
        provider = make(kernel, server)
        [finish] = await collect(provider)
        await provider.aclose()
    assert "not safe" in finish.error.message


async def test_the_secrets_address_goes_before_copilots(kernel, answer):
    async with GitHub(answer) as server, GitHub(answer) as gateway:
        provider = make(kernel, server, base_url=gateway.url)
        await collect(provider)
        await provider.aclose()
    assert len(gateway.asked("/chat")) == 1
    assert server.asked("/chat") == []


async def test_status_asks_nobody(kernel, answer):
    async with GitHub(answer) as server:
        status = await make(kernel, server).status()
        assert (status.usable, status.model) == (True, "claude-opus-4")
        bad = await make(kernel, server, enterpriseUrl="https://bad/path").status()
        assert (bad.usable, bad.why[:12]) == (False, "not a domain")
    assert server.requests == []


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("", "github.com"),
        ("https://github.com/", "github.com"),
        (" https://acme.ghe.com/ ", "acme.ghe.com"),
        ("http://acme.ghe.com", "acme.ghe.com"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
    ],
)
def test_domains(text, domain):
    assert domain_of(text) == domain
    hosts = hosts_of(domain)
    if domain == "github.com":
        assert (hosts.exchange, hosts.copilot) == (
            "https://api.github.com",
            "https://api.githubcopilot.com",
        )
    if domain == "acme.ghe.com":
        assert (hosts.login, hosts.exchange, hosts.copilot) == (
            "https://acme.ghe.com",
            "https://api.acme.ghe.com",
            "https://copilot-api.acme.ghe.com",
        )


@pytest.mark.parametrize("text", ["a/b", "a b", "user@host", "-x", "x..", "https://x?y"])
def test_no_domains(text):
    with pytest.raises(CodetetherError):
        domain_of(text)


# --- what is sent ---
CALLED = Message("assistant", (ToolCall("c1", "bash", "{}"),))
RESULT = Message("tool", (ToolResult("c1", "bash", "x"),))
PICTURED = Message("tool", (ToolResult("c1", "bash", "x", images=(Image("image/png", PNG),)),))


@pytest.mark.parametrize(
    ("messages", "initiator", "vision"),
    [
        ((USER,), "user", None),
        ((USER, CALLED, RESULT), "agent", None),
        ((USER, CALLED, PICTURED), "agent", "true"),
        ((Message("user", (Text("look"), Image("image/png", PNG))),), "user", "true"),
        ((USER, CALLED, PICTURED, USER), "user", "true"),
    ],
)
@pytest.mark.parametrize("model", ["claude-opus-4.5", "gpt-5.2-codex"])
async def test_who_speaks_and_what_is_seen(kernel, answer, messages, initiator, vision, model):
    async with GitHub(answer) as server:
        provider = make(kernel, server)
        assert TextDelta("ok") in await collect(provider, *messages, model=model, tools=TOOLS)
        await provider.aclose()
    [sent] = server.asked("/responses" if "codex" in model else "/chat")
    assert sent.headers["openai-intent"] == "conversation-edits"
    assert sent.headers["x-initiator"] == initiator
    assert sent.headers.get("copilot-vision-request") == vision


async def test_a_model_only_responses_has_is_found_out(kernel, answer):
    words = 'model "new-model" is not accessible via the /chat/completions endpoint'
    refusal = response(
        json.dumps({"error": {"message": words, "code": "unsupported_api_for_model"}}), status=400
    )
    async with GitHub(answer, chats=[refusal]) as server:
        provider = make(kernel, server)
        for _ in range(2):
            assert TextDelta("ok") in await collect(provider, model="new-model")
        await provider.aclose()
    assert [len(server.asked("/chat")), len(server.asked("/responses"))] == [1, 2]


# --- what is listed ---
def row(name, **more):
    limits = {"max_context_window_tokens": 200000, "max_output_tokens": 64000}
    supports = {"tool_calls": True, "streaming": True, "vision": True}
    abilities = {"type": "chat", "limits": limits, "supports": supports}
    return {"id": name, "name": name.upper(), "capabilities": abilities, **more}


async def test_the_list(kernel, answer, tmp_path):
    text_only = row("text-only")
    text_only["capabilities"]["supports"] = {"streaming": True}
    rows = [
        row("claude-opus-4.5", policy={"state": "enabled"}),
        row("claude-opus-4.5"),
        row("not-allowed", policy={"state": "disabled"}),
        row("text-embedding-3-small"),
        row("other-embedder", capabilities={"type": "embeddings"}),
        row("gpt-4o-2024-11-20"),
        row("gpt-3.5-turbo"),
        text_only,
        {"id": "bare"},
        "junk",
    ]
    async with GitHub(answer, listing={"data": rows}) as server:
        provider = make(kernel, server)
        models = {model.id: model for model in await provider.models()}
        await provider.aclose()
    assert list(models) == ["claude-opus-4.5", "text-only", "bare"]
    opus, blind, bare = models.values()
    assert (opus.context, opus.output, opus.tools, opus.images) == (200000, 64000, True, True)
    assert opus.input_price is None
    assert (blind.tools, blind.images) == (False, False)
    assert (bare.context, bare.tools, bare.images) == (None, None, None)
    [asked] = server.asked("/models")
    assert asked.headers["authorization"] == "Bearer tid=1;canary"
    assert "canary" not in (tmp_path / "cache" / "models" / "github-copilot.json").read_text()
    assert asked.headers["user-agent"].startswith("codetether-agent/")


# --- signing in ---
PENDING = {"error": "authorization_pending"}
DONE = {"access_token": KEY, "token_type": "bearer", "scope": "read:user"}


async def sign_in(kernel, server, **settings):
    """What is stored and shown, and the seconds between the questions asked meanwhile."""
    given = {"client_id": " Iv1.test ", "enterprise_url": server.url, **settings}
    provider = GitHubCopilot(kernel(None, **given), "providers:github-copilot")
    shown = []

    async def show(line):
        shown.append(line)

    try:
        return await provider.sign_in(show), shown, provider
    finally:
        await provider.aclose()


def gaps(server):
    times = [request.at for request in server.asked("/login")]
    return [round(b - a) for a, b in pairwise(times)]


async def test_a_person_signs_in(kernel, answer, autojump_clock):
    async with GitHub(answer, polls=[PENDING, PENDING, DONE]) as server:
        fields, shown, provider = await sign_in(kernel, server)
    assert fields == {"api_key": KEY, "enterpriseUrl": server.url}
    assert shown == [
        "Open https://github.com/login/device in a browser and enter the code ABCD-1234"
    ]
    assert gaps(server) == [8, 8, 8]
    begun, *polls = server.asked("/login")
    assert begun.json == {"client_id": "Iv1.test", "scope": "read:user"}
    assert begun.headers["accept"] == "application/json"
    assert begun.headers["user-agent"].startswith("codetether-agent/")
    assert polls[0].json == {
        "client_id": "Iv1.test",
        "device_code": "device-canary-1",
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
    }
    assert "canary" not in provider.kernel.redact.text(f"{KEY} device-canary-1")


@pytest.mark.parametrize(
    ("slow", "expected"),
    [({"interval": 20}, [8, 23, 23]), ({}, [8, 13, 13]), ({"interval": 0}, [8, 13, 13])],
)
async def test_it_slows_down_when_told(kernel, answer, autojump_clock, slow, expected):
    polls = [{"error": "slow_down", **slow}, PENDING, DONE]
    async with GitHub(answer, polls=polls) as server:
        await sign_in(kernel, server)
    assert gaps(server) == expected


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"error": "expired_token"}, "ran out"),
        ({"error": "access_denied"}, "refused in the browser"),
        ({"error": "weird", "error_description": "You \x1b[31mshall not"}, "shall not"),
        ({"error": "weird"}, "weird"),
        ({}, "without a reason"),
    ],
)
async def test_it_ends_when_told(kernel, answer, autojump_clock, told, message):
    async with GitHub(answer, polls=[PENDING, told]) as server:
        with pytest.raises(CodetetherError) as caught:
            await sign_in(kernel, server)
    assert message in caught.value.message
    assert "\x1b" not in caught.value.message
    assert len(server.asked("/login/oauth")) == 2


async def test_it_ends_when_the_code_does(kernel, answer, autojump_clock):
    """Whatever the server goes on saying."""
    async with GitHub(answer, polls=[PENDING]) as server:
        server.begun["expires_in"] = 60
        with pytest.raises(CodetetherError, match="ran out"):
            await sign_in(kernel, server)
    assert len(server.asked("/login/oauth")) == 7


async def test_short_failures_are_waited_out_and_long_ones_are_not(kernel, answer, autojump_clock):
    busy = response("busy", status=503, content_type="text/plain")
    async with GitHub(answer, polls=[busy, PENDING, busy, DONE]) as server:
        fields, _, _ = await sign_in(kernel, server)
        assert fields["api_key"] == KEY
    async with GitHub(answer, polls=[busy]) as server:
        with pytest.raises(CodetetherError, match="busy"):
            await sign_in(kernel, server)
    assert len(server.asked("/login/oauth")) == 5


@pytest.mark.parametrize(
    ("begun", "message"),
    [
        ({"error": "not_found", "error_description": "no such app"}, "no such app"),
        ({"device_code": "x"}, "no invitation"),
        (
            {"device_code": "x", "user_code": "y", "verification_uri": "javascript:1"},
            "no invitation",
        ),
        ([1], "not what a sign-in"),
    ],
)
async def test_a_sign_in_that_does_not_begin(kernel, answer, begun, message):
    async with GitHub(answer, begun=begun) as server:
        with pytest.raises(CodetetherError) as caught:
            await sign_in(kernel, server)
    assert message in caught.value.message


async def test_it_needs_a_client_id(kernel):
    async def show(line):
        raise AssertionError(line)

    nobody = GitHubCopilot(kernel(None), "providers:github-copilot")
    with pytest.raises(UsageError, match="client id") as caught:
        await nobody.sign_in(show)
    assert "CODETETHER_COPILOT_OAUTH_CLIENT_ID" in caught.value.hint


async def test_the_public_github_needs_no_field_of_its_own(
    kernel, answer, autojump_clock, monkeypatch
):
    async with GitHub(answer, polls=[DONE]) as server:
        here = hosts_of(server.url)
        monkeypatch.setattr("codetether_provider_github_copilot.hosts_of", lambda domain: here)
        fields, _, _ = await sign_in(kernel, server, enterprise_url=" https://github.com/ ")
    assert fields == {"api_key": KEY}


async def test_cancelling_stops_asking(kernel, answer, autojump_clock):
    async with GitHub(answer, polls=[PENDING]) as server:
        with trio.move_on_after(20) as scope:
            await sign_in(kernel, server)
        count = len(server.requests)
        await trio.sleep(60)
        assert scope.cancelled_caught
        assert len(server.requests) == count
