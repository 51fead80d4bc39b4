"""What the fake Vault claims, checked against a real OpenBao: versions, tokens, mounts, deletions, seals."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from codetether.api import SecretMissing
from codetether.config import Config
from codetether.redact import Redactor
from codetether_secrets_vault import Vault
from codetether_secrets_vault.trouble import Trouble

_spec = importlib.util.spec_from_file_location(
    "openbao", Path(__file__).parents[2] / "peers" / "openbao.py"
)
openbao = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(openbao)
WHERE = "codetether/providers"


@pytest.fixture(scope="module")
def bao(tmp_path_factory):
    bao = openbao.OpenBao(tmp_path_factory.mktemp("bao"))
    yield bao
    bao.close()


@pytest.fixture
def ask(bao, monkeypatch, tmp_path):
    """A plugin that asks this server: ask(token=..., mount=...)."""

    def make(token=openbao.ROOT, mount="secret", namespace=""):
        monkeypatch.setenv("VAULT_ADDR", bao.address)
        monkeypatch.setenv("VAULT_TOKEN", token)
        monkeypatch.setenv("VAULT_MOUNT", mount)
        monkeypatch.setenv("VAULT_NAMESPACE", namespace)
        config = Config.load(tmp_path, None, dict(os.environ))
        kernel = SimpleNamespace(settings=config.settings, redact=Redactor(), dirs=config.dirs)
        return Vault(kernel, "secrets:vault")

    return make


def put(bao, name, document, mount="secret"):
    path = f"{mount}/data/{WHERE}/{name}" if mount == "secret" else f"{mount}/{WHERE}/{name}"
    bao.call("POST", path, {"data": document} if mount == "secret" else document)


@pytest.mark.parametrize("mount", ["secret", "old"])
async def test_reads_and_lists_both_versions(bao, ask, mount):
    put(bao, "openai", {"api_key": "sk-canary-1", "headers": {"A": "b"}}, mount)
    put(bao, "team/inner", {"api_key": "sk-canary-2"}, mount)
    vault = ask(mount=mount)
    assert await vault.get("openai") == {"api_key": "sk-canary-1", "headers": {"A": "b"}}
    assert await vault.providers() == ["openai"]
    with pytest.raises(SecretMissing):
        await vault.get("absent")
    assert [finding.level for finding in await vault.check()] == ["ok", "ok"]


async def test_a_deleted_version_is_missing(bao, ask):
    put(bao, "gone", {"api_key": "sk-canary-3"})
    bao.call("DELETE", f"secret/data/{WHERE}/gone")
    with pytest.raises(SecretMissing) as caught:
        await ask().get("gone")
    assert "canary" not in caught.value.message
    bao.call("DELETE", f"secret/metadata/{WHERE}/gone")


@pytest.mark.parametrize("mount", ["secret", "old"])
async def test_a_token_that_may_read_one_document_is_enough(bao, ask, mount):
    put(bao, "openai", {"api_key": "sk-canary-1"}, mount)
    folder = "data/" if mount == "secret" else ""
    token = bao.token(f'path "{mount}/{folder}{WHERE}/openai" {{ capabilities = ["read"] }}')
    assert (await ask(token, mount).get("openai"))["api_key"] == "sk-canary-1"
    with pytest.raises(Trouble) as caught:
        await ask(token, mount).get("deepseek")
    assert caught.value.kind == "denied"


async def test_bad_revoked_and_powerless_tokens_are_told_apart(bao, ask):
    for token, kind in (("hvs.wrong", "bad_token"), (bao.token('path "x" {}'), "denied")):
        with pytest.raises(Trouble) as caught:
            await ask(token).get("openai")
        assert caught.value.kind == kind
    revoked = bao.token(f'path "secret/data/{WHERE}/*" {{ capabilities = ["read"] }}')
    put(bao, "openai", {"api_key": "sk-canary-1"})
    vault = ask(revoked)
    await vault.get("openai")
    bao.call("POST", "auth/token/revoke", {"token": revoked})
    vault.forget("openai")
    with pytest.raises(Trouble) as caught:
        await vault.get("openai")
    assert caught.value.kind == "bad_token"


async def test_a_mount_and_a_namespace_that_do_not_exist(ask):
    for vault, kind in ((ask(mount="nowhere"), "mount"), (ask(namespace="nowhere"), "namespace")):
        with pytest.raises(Trouble) as caught:
            await vault.get("openai")
        assert caught.value.kind == kind


async def test_sealed(ask, tmp_path):
    own = openbao.OpenBao(tmp_path)
    try:
        vault = ask()
        vault.kernel.settings = lambda key, cls: cls(address=own.address)
        own.call("POST", "sys/seal", {})
        with pytest.raises(Trouble) as caught:
            await vault.get("openai")
        assert caught.value.kind == "sealed"
    finally:
        own.close()
