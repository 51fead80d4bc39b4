"""Whatever is broken about providers and Vault: `plugins doctor` and `models` say what it is and what to do next."""

from __future__ import annotations

import importlib.util
import json
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from codetether.commands import models, plugins
from codetether.testing import ByteServer, make_kernel, response
from dialects import refusal

_spec = importlib.util.spec_from_file_location(
    "vault_server", Path(__file__).parents[1] / "peers" / "vault_server.py"
)
vault_server = sys.modules.get("vault_server") or importlib.util.module_from_spec(_spec)
if "vault_server" not in sys.modules:
    sys.modules["vault_server"] = vault_server
    _spec.loader.exec_module(vault_server)
TOKEN = vault_server.TOKEN
KEY = "sk-canary-0123456789abcdefghij"
# Words of a sentence that tells somebody what to do next.
ACTS = (
    "run", "set", "store", "write", "check", "correct", "start", "is ", "try", "unseal", "initialise", "allow",
    "put", "get", "see", "install", "change", "wait", "switch", "give", "look", "name", "pip", "raise",
)  # fmt: skip


@pytest.fixture
def vault(monkeypatch):
    server = vault_server.FakeVault()
    monkeypatch.setenv("VAULT_ADDR", server.address)
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    yield server
    server.close()


async def told_by(command, words, kernel, capsys):
    parser = ArgumentParser()
    command.arguments(parser)
    code = await command.run(parser.parse_args(words), kernel)
    shown = capsys.readouterr()
    assert TOKEN not in shown.out + shown.err
    assert KEY not in shown.out + shown.err
    assert "Traceback" not in shown.out + shown.err
    return code, shown


async def findings(kernel, capsys):
    code, shown = await told_by(plugins, ["doctor", "--json"], kernel, capsys)
    found = json.loads(shown.out)
    for finding in found:  # what is wrong has a next step, in words
        if finding["level"] != "ok":
            hint = finding.get("hint", "")
            assert any(act in hint.lower() for act in ACTS), finding
            assert "\n" not in finding["text"] + hint
    return code, {finding["subject"]: finding for finding in found}, found


ONLY = {"plugins": ["providers:openai", "secrets:vault", "sandboxes:none"]}


def one(found, part):
    return next(f for f in found if part in f["subject"] and f["level"] != "ok")


# --- Vault ---
MOODS = {
    "sealed": ("is sealed", "unseal"),
    "uninitialised": ("not initialised", "initialise"),
    "html": ("is not a Vault", "VAULT_ADDR"),
    "gateway": ("is not a Vault", "VAULT_ADDR"),
    "limited": ("limits how often", "wait"),
    "redirect": ("sends us elsewhere", "VAULT_ADDR"),
    "cut": ("", "try again"),
    "reset": ("", "try again"),
    "list": ("is not a Vault", "VAULT_ADDR"),
}


@pytest.mark.parametrize("mood", MOODS)
async def test_a_vault_that_is_not_well(tmp_path, vault, mood, capsys):
    words, step = MOODS[mood]
    vault.mood = mood
    async with make_kernel(tmp_path, **ONLY) as kernel:
        code, _, found = await findings(kernel, capsys)
        broken = one(found, "secrets:vault")
        assert (code, broken["level"]) == (1, "error")
        assert words in broken["text"]
        assert step in broken["hint"]
        code, shown = await told_by(models, ["openai"], kernel, capsys)
    assert code == 1
    assert broken["text"].partition("(")[0].strip() in shown.err  # `models openai` tells the same
    assert broken["hint"] in shown.err


PLACES = {
    "nobody there": ({"VAULT_ADDR": "http://127.0.0.1:9"}, "nothing answers", "VAULT_ADDR"),
    "no address": ({"VAULT_ADDR": "vault.example.org"}, "not an address", "https://"),
    "nothing set": ({"VAULT_ADDR": ""}, "no Vault is configured", "vault up"),
    "no token": ({"VAULT_TOKEN": ""}, "there is no token", "VAULT_TOKEN"),
    "a wrong token": ({"VAULT_TOKEN": "hvs.wrong-and-long-enough"}, "not valid", "VAULT_TOKEN"),
    "no such mount": ({"VAULT_MOUNT": "nowhere"}, "", "VAULT_MOUNT"),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_vault_that_is_somewhere_else(tmp_path, vault, place, monkeypatch, capsys):
    env, words, step = PLACES[place]
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    async with make_kernel(tmp_path, **ONLY) as kernel:
        _, _, found = await findings(kernel, capsys)
        broken = one(found, "secrets:vault")
        assert words in broken["text"]
        assert step in broken["hint"]
        assert one(found, "providers")["level"] == "warning"
        assert found[-1]["text"] == "no model can be used" or one(found, "providers")
        code, shown = await told_by(models, ["openai"], kernel, capsys)
    assert code == 1
    assert step in shown.err


# --- documents ---
DOCUMENTS = {
    "no key": ("openai", {"base_url": "https://example.org"}, "api_key", "auth login openai"),
    "an empty key": ("openai", {"api_key": ""}, "api_key", "auth login openai"),
    "no text": ("openai", {"api_key": 7}, "api_key", "auth login openai"),
    "two lines": ("openai", {"api_key": f"{KEY}\n{KEY}"}, "", "auth login openai"),
    "no address": ("openai", {"api_key": KEY, "base_url": "example.org"}, "address", "https://"),
    "a name in the address": (
        "openai", {"api_key": KEY, "base_url": f"https://me:{KEY}@example.org"}, "address", "api_key",
    ),
    "headers": ("openai", {"api_key": KEY, "headers": "x: y"}, "headers", ""),
    "no resource": ("azure-anthropic", {"api_key": KEY}, "base_url", "auth login azure-anthropic"),
    "half a pair": ("bedrock", {"access_key_id": "AKIAEXAMPLE"}, "secret_access_key", "auth login"),
    "no region": ("bedrock", {"api_key": KEY, "region": "moon; rm"}, "region", ""),
    "nothing": ("google", None, "no key", "auth login google"),
}  # fmt: skip


@pytest.mark.parametrize("case", DOCUMENTS)
async def test_a_document_that_cannot_be_used(tmp_path, vault, case, capsys):
    name, document, words, step = DOCUMENTS[case]
    vault.v2 = {} if document is None else {f"codetether/providers/{name}": document}
    chosen = [f"providers:{name}", "secrets:vault", "sandboxes:none"]
    async with make_kernel(tmp_path, plugins=chosen) as kernel:
        code, _, found = await findings(kernel, capsys)
        assert code == 1  # nothing can be used
        broken = one(found, f"providers:{name}")
        assert words in broken["text"]
        assert name in broken["text"] + broken["hint"]
        assert step in broken["hint"]
        assert found[-1]["text"] == "no model can be used" or one(found, "providers")
        code, shown = await told_by(models, [name], kernel, capsys)
    assert code == 1
    assert broken["text"] in shown.err


# --- the vendor ---
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refusal(401, f"bad key {KEY}"), "bad key"),
        (refusal(503, "maintenance"), "maintenance"),
        (response("<title>Hotel</title>", content_type="text/html"), "Hotel"),
        (response("[1"), "not JSON"),
        (response("{}"), "cannot be read"),
    ],
    ids=["401", "503", "page", "half", "empty"],
)
async def test_a_list_of_models_that_cannot_be_had(tmp_path, vault, reply, words, capsys):
    """The data file answers for a vendor; a server of one's own, which has none, says what is wrong."""
    async with ByteServer(lambda request: [reply]) as server:
        vault.v2 = {"codetether/providers/openai": {"api_key": KEY, "base_url": server.url}}
        async with make_kernel(tmp_path, **ONLY) as kernel:
            code, shown = await told_by(models, ["openai"], kernel, capsys)
            assert code == 0
            assert "openai/gpt-" in shown.out
            provider = kernel.provider("openai")
            provider.catalogue.data = type(provider.catalogue.data)()
            code, shown = await told_by(models, ["openai"], kernel, capsys)
    assert code == 1
    assert words in shown.err


async def test_a_local_server_that_is_named_and_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CODETETHER_LOCAL_BASE_URL", "http://127.0.0.1:9/v1")
    async with make_kernel(tmp_path, plugins=["providers:local", "sandboxes:none"]) as kernel:
        code, _, found = await findings(kernel, capsys)
        assert code == 1
        assert "127.0.0.1:9" in one(found, "providers:local")["text"]
        assert "start" in one(found, "providers:local")["hint"]


async def test_a_provider_without_a_default_is_no_model_that_can_be_used(tmp_path, capsys):
    """`llm` without any key of its own: not all is well, and what to do is said."""
    async with make_kernel(tmp_path, plugins=["providers:llm", "sandboxes:none"]) as kernel:
        code, by_name, _ = await findings(kernel, capsys)
    assert code == 1
    assert by_name["providers"]["text"] == "no model can be used"
    assert by_name["providers:llm"]["level"] == "warning"


async def test_models_with_nothing_but_the_script_says_so(tmp_path, capsys):
    async with make_kernel(tmp_path, plugins=["providers:openai", "secrets:vault"]) as kernel:
        code, shown = await told_by(models, [], kernel, capsys)
    assert code == 0
    assert "scripted/demo" in shown.out
    assert "no model can be used" in shown.err
    assert "plugins doctor" in shown.err
