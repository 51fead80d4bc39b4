"""The vault plugin against a Vault that is well, and against everything that can be wrong with one."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from codetether.api import SecretMissing
from codetether.config import Config
from codetether.redact import Redactor
from codetether_secrets_vault import Vault
from codetether_secrets_vault.place import address
from codetether_secrets_vault.trouble import Trouble

_spec = importlib.util.spec_from_file_location(
    "vault_server", Path(__file__).parents[2] / "peers" / "vault_server.py"
)
vault_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(vault_server)
TOKEN = vault_server.TOKEN
KEY = "sk-canary-abcdef0123456789"


@pytest.fixture
def server():
    server = vault_server.FakeVault()
    server.v2 = {
        "codetether/providers/openai": {"api_key": KEY, "base_url": "https://api.example.org/v1"}
    }
    server.v1 = dict(server.v2)
    yield server
    server.close()


@pytest.fixture
def vault(server, monkeypatch, tmp_path):
    monkeypatch.setenv("VAULT_ADDR", server.address)
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    return make(tmp_path)


def make(directory, **settings):
    """The plugin with settings as they would be read from the environment now."""
    overrides = {f"secrets:vault.{name}": value for name, value in settings.items()}
    config = Config.load(directory, overrides, dict(os.environ))
    kernel = SimpleNamespace(settings=config.settings, redact=Redactor(), dirs=config.dirs)
    return Vault(kernel, "secrets:vault")


async def trouble(vault, kind, provider="openai"):
    """Ask, and check what is told: the kind, two short lines, no secret even in the whole traceback."""
    with pytest.raises(Trouble) as caught:
        await vault.get(provider)
    error = caught.value
    assert error.kind == kind, (error.kind, error.message)
    assert error.message
    assert error.hint
    assert "\n" not in error.message + error.hint
    told = "".join(traceback.format_exception(error)) + repr(error) + error.hint
    assert TOKEN not in told
    assert KEY not in told
    return error


# --- well ---
async def test_reads_a_document_of_version_2_and_registers_its_key(vault, server):
    document = await vault.get("openai")
    assert document["api_key"] == KEY
    assert vault.kernel.redact.text(f"key {KEY} token {TOKEN}") == "key *** token ***"
    assert "https://api.example.org/v1" in vault.kernel.redact.text("at https://api.example.org/v1")
    assert server.asked("data/") == ["/v1/secret/data/codetether/providers/openai"]


async def test_reads_version_1_and_finds_the_version_out_once(vault, server, tmp_path, monkeypatch):
    monkeypatch.setenv("VAULT_MOUNT", "old")
    server.v1["codetether/providers/groq"] = {"api_key": "sk-2-canary"}
    old = make(tmp_path)
    assert (await old.get("openai"))["api_key"] == KEY
    assert (await old.get("groq"))["api_key"] == "sk-2-canary"
    assert len(server.asked("internal")) == 1
    assert server.asked("/data/") == []


@pytest.mark.parametrize("mount", ["secret", "old"])
async def test_the_version_is_found_without_the_right_to_look_at_mounts(
    server, vault, tmp_path, monkeypatch, mount
):
    server.may_look_at_mounts = False
    monkeypatch.setenv("VAULT_MOUNT", mount)
    assert (await make(tmp_path).get("openai"))["api_key"] == KEY


async def test_a_key_is_kept_in_memory_until_it_is_forgotten_or_old(vault, server, tmp_path):
    await vault.get("openai")
    await vault.get("openai")
    assert len(server.asked("data/")) == 1
    vault.forget("openai")
    await vault.get("openai")
    assert len(server.asked("data/")) == 2
    brief = make(tmp_path, keep=0)
    await brief.get("openai")
    await brief.get("openai")
    assert len(server.asked("data/")) == 4


async def test_a_kept_key_outlives_a_vault_that_went_away(server, vault, tmp_path):
    brief = make(tmp_path, keep=0)
    await brief.get("openai")
    server.mood = "sealed"
    assert (await brief.get("openai"))["api_key"] == KEY
    server.mood, server.may = "well", False
    await trouble(brief, "denied")


async def test_many_readers_at_once_ask_once(vault, server):
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(vault.get, "openai")
    assert len(server.asked("data/")) == 1


async def test_lists_providers_and_leaves_out_folders(vault, server):
    server.v2["codetether/providers/team/deepseek"] = {"api_key": "x"}
    server.v2["codetether/providers/bedrock"] = {"api_key": "x", "region": "eu-west-1"}
    assert await vault.providers() == ["bedrock", "openai"]
    server.v2.clear()
    assert list(await vault.providers()) == []


async def test_the_namespace_is_sent(server, vault, tmp_path, monkeypatch):
    server.namespace = "team-a"
    monkeypatch.setenv("VAULT_NAMESPACE", "team-a")
    assert (await make(tmp_path).get("openai"))["api_key"] == KEY
    monkeypatch.setenv("VAULT_NAMESPACE", "team-b")
    await trouble(make(tmp_path), "namespace")


# --- the token ---
async def test_the_token_file_is_used_stripped_and_read_again_after_403(
    server, vault, tmp_path, monkeypatch, home
):
    monkeypatch.delenv("VAULT_TOKEN")
    file = home / ".vault-token"
    file.write_text(f"{TOKEN}\n")
    vault = make(tmp_path, keep=0)
    assert (await vault.get("openai"))["api_key"] == KEY
    server.token = "hvs.another-canary-999"
    file.write_text("hvs.another-canary-999")
    assert (await vault.get("openai"))["api_key"] == KEY
    assert "hvs.another-canary-999" not in vault.kernel.redact.text("hvs.another-canary-999")


async def test_a_token_that_stays_bad_is_reported_after_one_more_look(server, vault):
    server.token = "someone-else"
    await trouble(vault, "bad_token")
    assert len(server.asked("internal")) == 1


async def test_no_token(server, vault, tmp_path, monkeypatch):
    monkeypatch.delenv("VAULT_TOKEN")
    await trouble(make(tmp_path), "no_token")
    assert all("X-Vault-Token" not in headers for _, _, headers in server.seen)


async def test_a_proxy_that_adds_the_token_needs_none_from_us(server, vault, tmp_path, monkeypatch):
    monkeypatch.delenv("VAULT_TOKEN")
    server.token = ""
    assert (await make(tmp_path).get("openai"))["api_key"] == KEY


@pytest.mark.parametrize("token", ["hvs.canary\ntoken-0123456789", "hvs canary", "hvs.canäry"])
async def test_a_malformed_token_is_not_quoted(server, vault, tmp_path, monkeypatch, token):
    monkeypatch.setenv("VAULT_TOKEN", token)
    error = await trouble(make(tmp_path), "token_form")
    assert "can" not in error.message.replace("cannot", "")
    assert server.seen == []


async def test_denied_by_policy_is_not_a_bad_token(vault, server):
    server.may = False
    error = await trouble(vault, "denied")
    assert "codetether/providers" in error.message


# --- what is in it ---
async def test_no_document_and_a_deleted_one_say_how_to_put_a_key(vault, server):
    server.v2["codetether/providers/gone"] = None
    for name in ("absent", "gone"):
        with pytest.raises(SecretMissing) as caught:
            await vault.get(name)
        assert f"codetether/providers/{name}" in caught.value.hint


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"api_key": ""}, "empty"),
        ({"api_key": 5}, "not a text"),
        ({"organization": "acme"}, "no api_key"),
        ({"api_key": "k", "headers": "{"}, "headers"),
    ],
)
async def test_documents_that_cannot_be_used_say_why(vault, server, document, word):
    server.v2["codetether/providers/openai"] = document
    with pytest.raises(SecretMissing, match=word):
        await vault.get("openai")


async def test_headers_as_json_text_and_other_fields_come_through(vault, server):
    server.v2["codetether/providers/x"] = {
        "api_key": f" {KEY}\n",
        "headers": '{"X-Org": "secret-org-1"}',
        "region": "eu",
    }
    document = await vault.get("x")
    assert document == {"api_key": KEY, "headers": {"X-Org": "secret-org-1"}, "region": "eu"}
    assert vault.kernel.redact.text("secret-org-1") == "***"


@pytest.mark.parametrize("name", ["../../sys/raw", "a/b", "", "..", "x?list=true", "x#y"])
async def test_names_that_would_leave_the_folder_are_never_asked_for(vault, server, name):
    with pytest.raises(SecretMissing):
        await vault.get(name)
    assert all("raw" not in path and "?list" not in path for _, path, _ in server.seen)


# --- not well ---
async def test_not_configured(tmp_path):
    vault = make(tmp_path)
    with pytest.raises(SecretMissing, match="no Vault is configured") as caught:
        await vault.get("openai")
    assert "VAULT_ADDR" in caught.value.hint
    assert await vault.providers() == ()


@pytest.mark.parametrize(
    ("mood", "kind"),
    [
        ("html", "not_vault"),
        ("gateway", "not_vault"),
        ("list", "not_vault"),
        ("sealed", "sealed"),
        ("uninitialised", "uninitialised"),
        ("limited", "rate"),
        ("cut", "broken"),
        ("reset", "broken"),
        ("huge", "broken"),
    ],
)
async def test_each_fault_has_its_name(vault, server, mood, kind):
    server.mood = mood
    await trouble(vault, kind)


@pytest.mark.parametrize("mood", ["silent", "drip"])
async def test_a_slow_vault_is_left_in_time_however_it_is_slow(server, vault, tmp_path, mood):
    server.mood = mood
    await trouble(make(tmp_path, timeout=0.3), "timeout")
    server.mood = "well"


async def test_a_wait_for_vault_can_be_cancelled(server, vault):
    server.mood = "silent"
    with trio.move_on_after(0.1) as scope:
        await vault.get("openai")
    assert scope.cancelled_caught
    server.mood = "well"
    assert (await vault.get("openai"))["api_key"] == KEY


async def test_refused(vault, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{port}")
    await trouble(make(tmp_path), "refused")


async def test_a_redirect_is_not_followed_and_the_other_host_sees_nothing(vault, server):
    other = vault_server.FakeVault()
    server.mood, server.elsewhere = "redirect", other.address
    try:
        await trouble(vault, "redirect")
        assert other.seen == []
    finally:
        other.close()


async def test_proxies_of_the_environment_are_not_used(vault, server, monkeypatch):
    other = vault_server.FakeVault()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.address)
    monkeypatch.setenv("NO_PROXY", "")
    try:
        assert (await vault.get("openai"))["api_key"] == KEY
        assert other.seen == []
    finally:
        other.close()


async def test_tls_that_is_not_trusted_and_tls_that_is(server, vault, tmp_path, monkeypatch):
    import ssl

    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    monkeypatch.setenv("VAULT_ADDR", server.address.replace("http:", "https:"))
    await trouble(make(tmp_path), "tls")
    file = tmp_path / "ca.pem"
    monkeypatch.setenv("VAULT_CACERT", str(file))
    await trouble(make(tmp_path), "tls")
    authority.cert_pem.write_to_path(file)
    assert (await make(tmp_path).get("openai"))["api_key"] == KEY


async def test_an_unknown_mount(vault, server, tmp_path, monkeypatch):
    monkeypatch.setenv("VAULT_MOUNT", "nowhere")
    await trouble(make(tmp_path), "mount")


@pytest.mark.parametrize(
    "text",
    [
        "vault.example.org",
        "ftp://x",
        "http://",
        "http://a b",
        "https://user:pw-canary@host",
        "http://h:99999",
    ],
)
def test_malformed_addresses_are_told_without_being_quoted(text):
    with pytest.raises(Trouble) as caught:
        address(text)
    assert caught.value.kind == "address"
    assert "canary" not in caught.value.message


# --- check ---
async def test_check_names_the_step_that_fails(vault, server, tmp_path, monkeypatch, home):
    levels = [(finding.level, finding.text) for finding in await vault.check()]
    assert [level for level, _ in levels] == ["ok", "ok"]
    assert "openai" in levels[1][1]
    server.mood = "sealed"
    sealed = await make(tmp_path).check()
    assert [(finding.level, "sealed" in finding.text) for finding in sealed] == [("error", True)]
    server.mood = "well"
    monkeypatch.delenv("VAULT_TOKEN")
    (home / ".vault-token").write_text(TOKEN)
    (home / ".vault-token").chmod(0o644)
    home.chmod(0o755)
    assert (await make(tmp_path).check())[0].hint.startswith("chmod 600")
    monkeypatch.delenv("VAULT_ADDR")
    assert [finding.level for finding in await make(tmp_path).check()] == ["warning"]


def test_importing_the_plugin_does_not_import_the_client():
    code = """if True:
        import sys, trio
        from codetether.kernel import Kernel

        async def main():
            async with Kernel.load(".") as kernel:
                await kernel.secrets().check()  # nothing is configured: nothing is asked
        trio.run(main)
        print({'hvac', 'requests', 'urllib3'} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
