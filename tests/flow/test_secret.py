"""A key from Vault to the vendor and nowhere else (NL-secret), and what a vendor's prompt cache goes by."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest
from codetether.events import ProviderFault
from codetether.testing import Call, Reply, files_with, forms_of

_at = Path(__file__).parents[1] / "peers" / "vault_server.py"
_spec = importlib.util.spec_from_file_location("flow_vault_server", _at)
vault_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(vault_server)
TOKEN = vault_server.TOKEN
KEY = "sk-canary-abcdef0123456789"
MODEL = ("-m", "openai/gpt-4.1")


@pytest.fixture
def vault(monkeypatch):
    server = vault_server.FakeVault()
    monkeypatch.setenv("VAULT_ADDR", server.address)
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    yield server
    server.close()


def keys(vault, url):
    vault.v2 = {"codetether/providers/openai": {"api_key": KEY, "base_url": f"{url}/v1"}}


def assert_secret(place, *told):
    """The key and the token are in no file of ours and in nothing that was said."""
    folders = (place.data, place.home / "cache", place.home / "config", place.work)
    for secret in (KEY, TOKEN):
        assert files_with(secret, *folders) == []
        text = "".join(told).encode()
        assert not any(form in text for form in forms_of(secret))


async def test_the_key_goes_to_the_vendor_and_nowhere_else(place, vault):
    """Though the model looks for it in every place a command can see."""
    seek = "env; cat /proc/self/environ | tr '\\0' '\\n'; ps axww; cat ~/.vault-token; set"
    replies = [
        Reply("I look.", calls=(Call("bash", {"command": seek}),)),
        Reply(f"The key is {KEY}, the token {TOKEN}."),
    ]
    async with place.model(*replies) as server:
        keys(vault, server.url)
        done = await place("exec", *MODEL, "--access-mode", "full", "find the key")
        assert done.code == 0, done.err
        sent = [request.headers.get("authorization") for request in server.requests]
    assert set(sent) == {f"Bearer {KEY}"}
    assert_secret(place, json.dumps(server.asked), done.err)
    assert "bash env" in done.err


@pytest.mark.parametrize("fault", ["auth", "rate_limit", "other", "network"])
async def test_nor_when_the_vendor_quotes_it(place, vault, fault):
    said = ProviderFault(
        fault, f"Incorrect API key provided: {KEY} (Bearer {KEY})", retry_after=9e9
    )
    async with place.model(lambda asked: Reply(fault=said)) as server:
        keys(vault, server.url)
        done = await place(
            "exec",
            *MODEL,
            "--format",
            "json",
            "hi",
            CODETETHER_MAX_WAIT="0.1",
            CODETETHER_TRACE="1",
        )
    assert done.code == 1
    assert_secret(place, done.out, done.err)


@pytest.mark.parametrize(
    ("mood", "told"),
    [
        ("down", "nothing answers"),
        ("denied", "token is not valid"),
        ("none", "there is no key for openai"),
    ],
)
async def test_nor_when_vault_has_none(place, vault, mood, told):
    if mood == "down":
        vault.close()
    env = {"VAULT_TOKEN": f"{TOKEN}-wrong"} if mood == "denied" else {}
    done = await place("exec", *MODEL, "hi", CODETETHER_TRACE="1", **env)
    assert done.code == 1
    assert told in done.err
    assert_secret(place, done.out, done.err)


async def test_what_a_cache_goes_by(place, vault):
    """The same key for all requests of a session, also from another process; another for another session."""
    look = Reply("", calls=(Call("read_file", {"path": "a.txt"}),))
    place.write(a_dot_txt="one\n")
    async with place.model(look, "One.", "Two.", "Three.") as server:
        keys(vault, server.url)
        for words in (("one",), ("-c", "two"), ("three",)):
            assert (await place("exec", *MODEL, *words)).code == 0
    used = [asked["prompt_cache_key"] for asked in server.asked]
    assert used[0] == used[1] == used[2] != used[3]
    assert used[0] in {path.stem for path in place.session_files()}
    starts = [json.dumps([asked["messages"][0], asked["tools"]]) for asked in server.asked]
    assert len(set(starts)) == 1
    assert os.environ["VAULT_TOKEN"] == TOKEN
