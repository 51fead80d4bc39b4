"""V1 to V25: what a Vault does, asked of the fake and of a real OpenBao, and what the plugin makes of it.

The raw half proves that the fake may stand in for the real one; the other half runs the plugin against both.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from codetether.api import SecretMissing
from codetether.config import Config
from codetether.redact import Redactor
from codetether_secrets_vault import Vault
from codetether_secrets_vault.trouble import Trouble

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))
from openbao import OpenBao
from vault_driver import Fake, Real, jwt
from vault_wire import raw

WHERE = "codetether/providers"
KEY = "sk-canary-contract-0123456789"
MAY = f"""
path "secret/data/{WHERE}/*"   {{ capabilities = ["create", "read", "update", "delete"] }}
path "secret/metadata/{WHERE}" {{ capabilities = ["list"] }}
"""
ENVELOPE = {
    "request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth",
}  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    driver = Real(tmp_path_factory.mktemp("bao"))
    yield driver
    driver.close()


@pytest.fixture(params=["fake", "real"])
def server(request):
    if request.param == "real":
        yield request.getfixturevalue("real")
        return
    driver = Fake()
    yield driver
    driver.close()


@pytest.fixture
def path(request):
    """A path below the mount that no other test uses."""
    return f"test/{abs(hash(request.node.nodeid))}"


@pytest.fixture
def plugin(server, monkeypatch, tmp_path):
    """plugin(VAULT_TOKEN=..., keep=0): the plugin, asking this server."""

    def make(**given):
        env = {"VAULT_ADDR": server.address} | {k: v for k, v in given.items() if k.isupper()}
        for name in [name for name in os.environ if name.startswith("VAULT_")]:
            monkeypatch.delenv(name)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        overrides = {f"secrets:vault.{k}": v for k, v in given.items() if not k.isupper()}
        config = Config.load(tmp_path, overrides, dict(os.environ))
        kernel = SimpleNamespace(settings=config.settings, redact=Redactor(), dirs=config.dirs)
        return Vault(kernel, "secrets:vault")

    return make


async def told(vault, kind, provider="openai"):
    with pytest.raises(Trouble) as caught:
        await vault.get(provider)
    assert caught.value.kind == kind, caught.value.message
    return caught.value


# --- raw: the fake says what the real one says ---
def test_v1_kv2_read(server, path):
    server.put(path, {"api_key": "k"})
    got = server.raw("GET", f"secret/data/{path}")
    assert (got.status, got.body.keys() >= ENVELOPE) == (200, True)
    assert got.data["data"] == {"api_key": "k"}
    assert got.data["metadata"].keys() == {
        "created_time", "custom_metadata", "deletion_time", "destroyed", "version",
    }  # fmt: skip
    assert (got.data["metadata"]["version"], got.data["metadata"]["deletion_time"]) == (1, "")


def test_v2_kv1_read_and_write(server, path):
    assert server.raw("POST", f"old/{path}", {"api_key": "k"}).status == 204
    got = server.raw("GET", f"old/{path}")
    assert (got.data, got.body["lease_duration"]) == ({"api_key": "k"}, 2764800)


@pytest.mark.parametrize("where", ["secret/data/nothing/here", "old/nothing/here"])
def test_v3_missing(server, where):
    got = server.raw("GET", where)
    assert (got.status, got.body) == (404, {"errors": []})


def test_v4_deleted_version_is_404_with_a_whole_body(server, path):
    server.put(path, {"api_key": "k"})
    assert server.raw("DELETE", f"secret/data/{path}").status == 204
    got = server.raw("GET", f"secret/data/{path}")
    assert (got.status, got.data["data"], got.errors) == (404, None, None)
    assert got.data["metadata"]["deletion_time"]
    assert server.raw("POST", f"secret/undelete/{path}", {"versions": [1]}).status == 204
    assert server.raw("GET", f"secret/data/{path}").data["data"] == {"api_key": "k"}


def test_v5_a_version_1_path_on_a_version_2_mount_warns(server, path):
    got = server.raw("GET", f"secret/{path}")
    assert (got.status, got.errors) == (404, None)
    assert "versioned" in got.body["warnings"][0]


def test_v6_a_version_2_path_on_a_version_1_mount_is_missing(server, path):
    assert server.raw("GET", f"old/data/{path}")[:2] == (404, {"errors": []})


def test_v7_an_unknown_mount(server):
    got = server.raw("GET", "nowhere/x")
    assert got.status == 404
    assert "no handler for route" in got.errors[0]
    assert server.raw("GET", "nowhere/x", token=server.token()).status == 403


def test_v8_listing(server, path):
    server.put(f"{path}/one", {"a": "b"})
    server.put(f"{path}/two/three", {"a": "b"})
    for method, query in (("LIST", ""), ("GET", "?list=true")):
        got = server.raw(method, f"secret/metadata/{path}{query}")
        assert got.data == {"keys": ["one", "two/"]}
    assert server.raw("LIST", f"secret/metadata/{path}/none")[:2] == (404, {"errors": []})


def test_v9_the_version_of_a_mount_is_told_to_whoever_has_access_below(server):
    token = server.token('path "secret/data/a/*" { capabilities = ["read"] }')
    got = server.raw("GET", "sys/internal/ui/mounts/secret", token=token)
    assert got.data["options"] == {"version": "2"}
    assert server.raw("GET", "sys/internal/ui/mounts/old", token=token).status == 403


def test_v10_a_bad_token_and_a_denial_differ(server, path):
    for bad in ("hvs.nobody", ""):
        got = server.raw("GET", f"secret/data/{path}", token=bad)
        assert got[:2] == (403, {"errors": ["permission denied"]})
    got = server.raw("GET", f"secret/data/{path}", token=server.token())
    assert (got.status, got.errors) == (403, ["1 error occurred:\n\t* permission denied\n\n"])


def test_v11_an_unknown_namespace(server, path):
    got = server.raw("GET", f"secret/data/{path}", headers={"X-Vault-Namespace": "nowhere"})
    assert got[:2] == (404, {"errors": ["namespace not found"]})


def test_v12_tokens(server):
    short = server.token(ttl="30s", explicit_max_ttl="60s")
    own = server.raw("GET", "auth/token/lookup-self", token=short).data
    assert (own["creation_ttl"], own["renewable"], own["ttl"] <= 30) == (30, True, True)
    renewed = server.raw("POST", "auth/token/renew-self", {"increment": "300s"}, token=short)
    assert 50 <= renewed.body["auth"]["lease_duration"] <= 60  # silently cut
    batch = server.token(type="batch", ttl="1m")
    assert server.raw("GET", "auth/token/lookup-self", token=batch).data["renewable"] is False
    assert server.raw("POST", "auth/token/renew-self", {}, token=batch).status == 400
    twice = server.token(num_uses=2)
    codes = [server.raw("GET", "auth/token/lookup-self", token=twice).status for _ in range(3)]
    assert codes == [200, 200, 403]
    root = server.raw("GET", "auth/token/lookup-self").data
    assert (root["ttl"], root["renewable"]) == (0, False)
    brief = server.token(ttl="1s")
    server.pass_by(1.5)
    assert server.raw("GET", "auth/token/lookup-self", token=brief).status == 403


def test_v13_logins(server):
    role, secret = server.approle(MAY)
    got = server.raw("POST", "auth/approle/login", {"role_id": role, "secret_id": secret}, token="")
    assert (got.status, got.body["auth"]["lease_duration"]) == (200, 3600)
    for wrong in (
        {"role_id": role, "secret_id": "x"},
        {"role_id": "x", "secret_id": secret},
        {"role_id": role},
    ):
        assert server.raw("POST", "auth/approle/login", wrong, token="").status == 400
    assert server.raw("POST", "auth/none/login", {"role_id": role}, token="").status == 403
    name, proof = server.kubernetes(MAY)
    good = server.raw("POST", "auth/kubernetes/login", {"role": name, "jwt": proof}, token="")
    assert good.body["auth"]["client_token"]
    for wrong in ({"role": name, "jwt": jwt("other")}, {"role": "x", "jwt": proof}):
        assert server.raw("POST", "auth/kubernetes/login", wrong, token="").status in (400, 403)


@pytest.fixture(params=["fake", "real"])
def sealed(request, tmp_path):
    driver = Fake() if request.param == "fake" else None
    address = driver.address if driver else None
    own = None
    if driver is None:
        own = OpenBao(tmp_path)
        address = own.address
        own.call("POST", "sys/seal", {})
    else:
        driver.raw("POST", "sys/seal", {})
    yield address
    (own or driver).close()


def test_v14_sealed(sealed):
    for method, path in (("GET", "secret/data/x"), ("POST", "auth/approle/login"), ("GET", "no/x")):
        assert raw(sealed, method, path, {} if method == "POST" else None)[:2] == (
            503,
            {"errors": ["Vault is sealed"]},
        )
    assert raw(sealed, "GET", "sys/seal-status")[0] == 200
    assert raw(sealed, "GET", "sys/seal-status").body["sealed"] is True


def test_v15_health(server, sealed):
    assert server.raw("GET", "sys/health", token="").status == 200
    assert raw(sealed, "GET", "sys/health").status == 503


def test_v16_a_rate_quota_says_not_how_long(server, path):
    server.put(path, {"a": "b"}, "old")
    server.raw("POST", "sys/quotas/rate-limit/q", {"path": "old", "rate": 1, "interval": "60s"})
    got = [server.raw("GET", f"old/{path}") for _ in range(3)][-1]
    server.raw("DELETE", "sys/quotas/rate-limit/q")
    assert got.status == 429
    assert "rate limit quota exceeded" in got.errors[0]
    assert "retry-after" not in {name.lower() for name in got.headers}


def test_v18_requests_that_are_wrong(server, path):
    assert server.raw("POST", "sys/seal-status", {})[:2] == (405, {"errors": []})
    assert server.raw("POST", f"secret/data/{path}", data=b"{nope").status == 400
    assert (
        server.raw("POST", f"secret/data/{path}", {"data": {"k": "x" * 34_000_000}}).status == 413
    )


def test_v19_values_come_back_as_written(server, path):
    document = {"a": 1, "b": None, "c": {"d": ["e", 2]}, "f": "", "g": True}
    server.put(path, document)
    assert server.raw("GET", f"secret/data/{path}").data["data"] == document


def test_v20_check_and_set(server, path):
    server.put(path, {"a": "b"})
    got = server.raw("POST", f"secret/data/{path}", {"options": {"cas": 7}, "data": {"a": "c"}})
    assert got.status == 400
    assert "check-and-set" in got.errors[0]
    fine = server.raw("POST", f"secret/data/{path}", {"options": {"cas": 1}, "data": {"a": "c"}})
    assert (fine.status, fine.data["version"]) == (200, 2)


def test_v21_a_wrapped_answer(server, path):
    server.put(path, {"a": "b"})
    got = server.raw("GET", f"secret/data/{path}", headers={"X-Vault-Wrap-TTL": "60"})
    assert (got.status, got.data) == (200, None)
    assert got.body["wrap_info"]["token"]


def test_v22_bearer_is_as_good(server, path):
    server.put(path, {"a": "b"})
    headers = {"Authorization": f"Bearer {server.root}"}
    assert server.raw("GET", f"secret/data/{path}", token="", headers=headers).status == 200


# --- the plugin, against both ---
async def test_v1_v4_v8_v19_the_plugin_reads_and_lists(server, plugin):
    server.put(f"{WHERE}/openai", {"api_key": KEY, "n": 1, "nested": {"a": [None]}})
    server.put(f"{WHERE}/gone", {"api_key": KEY})
    server.raw("DELETE", f"secret/data/{WHERE}/gone")
    vault = plugin(VAULT_TOKEN=server.root)
    assert await vault.get("openai") == {"api_key": KEY, "n": 1, "nested": {"a": [None]}}
    names = await vault.providers()
    assert "openai" in names
    assert "gone" not in names
    with pytest.raises(SecretMissing):
        await vault.get("gone")
    assert vault.kernel.redact.text(KEY) == "***"


async def test_v2_v6_the_plugin_on_version_1(server, plugin):
    server.put(f"{WHERE}/openai", {"api_key": KEY, "mine": "kept"}, "old")
    vault = plugin(VAULT_TOKEN=server.root, VAULT_MOUNT="old")
    await vault.put("openai", {"api_key": "sk-canary-second-key", "region": "eu"})
    stored = {"api_key": "sk-canary-second-key", "mine": "kept", "region": "eu"}
    assert await vault.get("openai") == stored
    await vault.remove("openai")
    with pytest.raises(SecretMissing):
        await vault.get("openai")


async def test_v20_what_others_store_meanwhile_is_not_lost(server, plugin, monkeypatch):
    server.put(f"{WHERE}/shared", {"api_key": "old-canary-key", "mine": "kept"})
    vault = plugin(VAULT_TOKEN=server.root)
    stored, raced = vault._stored, []

    async def slow(provider):
        found = await stored(provider)
        if not raced:  # somebody is faster, once
            raced.append(1)
            await trio.to_thread.run_sync(
                server.put,
                f"{WHERE}/shared",
                {"api_key": "old-canary-key", "mine": "kept", "theirs": "too"},
            )
        return found

    monkeypatch.setattr(vault, "_stored", slow)
    await vault.put("shared", {"api_key": KEY})
    got = server.raw("GET", f"secret/data/{WHERE}/shared").data["data"]
    assert got == {"api_key": KEY, "mine": "kept", "theirs": "too"}


async def test_v20_many_writers_lose_nothing(server, plugin):
    vault = plugin(VAULT_TOKEN=server.root)
    others = [plugin(VAULT_TOKEN=server.root) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for number, each in enumerate([vault, *others]):
            nursery.start_soon(each.put, "many", {f"field{number}": "canary-value"})
    await vault.put("many", {"api_key": KEY})
    assert set(await vault.get("many")) == {"api_key", "field0", "field1", "field2", "field3"}
    await vault.put("many", dict.fromkeys(await vault.get("many")))
    assert "many" not in await vault.providers()


async def test_a_deleted_document_is_written_again_and_logout_can_be_undone(server, plugin):
    vault = plugin(VAULT_TOKEN=server.root)
    await vault.put("again", {"api_key": "sk-canary-first-key"})
    await vault.remove("again")
    with pytest.raises(SecretMissing):
        await vault.remove("again")
    await vault.put("again", {"api_key": KEY})
    assert await vault.get("again") == {"api_key": KEY}
    await vault.remove("again")
    server.raw("POST", f"secret/undelete/{WHERE}/again", {"versions": [2]})
    assert await vault.get("again") == {"api_key": KEY}


async def test_v10_v7_v11_the_plugin_tells_refusals_apart(server, plugin):
    await told(plugin(VAULT_TOKEN="hvs.nobody-canary"), "bad_token")
    await told(plugin(VAULT_TOKEN=server.token()), "denied")
    await told(plugin(), "no_token")
    await told(plugin(VAULT_TOKEN=server.root, VAULT_MOUNT="nowhere"), "mount")
    await told(plugin(VAULT_TOKEN=server.root, VAULT_NAMESPACE="nowhere"), "namespace")


async def test_v12_use_limited_and_batch_tokens(server, plugin):
    server.put(f"{WHERE}/openai", {"api_key": KEY})
    vault = plugin(VAULT_TOKEN=server.token(MAY, num_uses=1), keep=0)
    assert (await vault.get("openai"))["api_key"] == KEY  # finding the version uses nothing up
    await told(vault, "bad_token")
    batch = plugin(VAULT_TOKEN=server.token(MAY, type="batch", ttl="1m"))
    assert (await batch.get("openai"))["api_key"] == KEY


async def test_v13_approle_from_the_environment_and_from_files(server, plugin, tmp_path):
    server.put(f"{WHERE}/openai", {"api_key": KEY})
    role, secret = server.approle(MAY)
    vault = plugin(VAULT_ROLE_ID=role, VAULT_SECRET_ID=secret)
    assert (await vault.get("openai"))["api_key"] == KEY
    assert vault.kernel.redact.text(secret) == "***"
    (tmp_path / "role").write_text(f"{role}\n")
    (tmp_path / "secret").write_text(f"{secret}\n")
    files = {"role_id_file": str(tmp_path / "role"), "secret_id_file": str(tmp_path / "secret")}
    assert (await plugin(**files).get("openai"))["api_key"] == KEY
    error = await told(
        plugin(VAULT_ROLE_ID=role, VAULT_SECRET_ID="canary-wrong-secret"), "login_approle"
    )
    assert "canary" not in error.message + error.hint
    await told(plugin(**{**files, "secret_id_file": str(tmp_path / "none")}), "login_file")


async def test_v13_kubernetes(server, plugin, tmp_path):
    server.put(f"{WHERE}/openai", {"api_key": KEY})
    role, proof = server.kubernetes(MAY)
    file = tmp_path / "token"
    file.write_text(proof)
    vault = plugin(VAULT_ROLE=role, service_account_file=str(file))
    assert (await vault.get("openai"))["api_key"] == KEY
    file.write_text(jwt("other"))
    await told(plugin(VAULT_ROLE=role, service_account_file=str(file)), "login_kubernetes")


async def test_v12_v13_a_login_is_renewed_and_done_again_at_its_end(server, plugin):
    server.put(f"{WHERE}/openai", {"api_key": KEY})
    role, secret = server.approle(MAY, ttl="2s", max_ttl="3s")
    vault = plugin(VAULT_ROLE_ID=role, VAULT_SECRET_ID=secret, keep=0)
    tokens = set()
    for _ in range(5):
        assert (await vault.get("openai"))["api_key"] == KEY
        tokens.add(await vault._connection.tokens.current())
        await trio.to_thread.run_sync(server.pass_by, 0.9)
        if isinstance(server, Fake):  # its clock jumped, ours did not
            vault._connection.tokens._renew_at -= 0.9
            vault._connection.tokens._ends -= 0.9
    assert len(tokens) >= 2


async def test_v12_a_revoked_login_is_done_again_at_once(server, plugin):
    server.put(f"{WHERE}/openai", {"api_key": KEY})
    role, secret = server.approle(MAY)
    vault = plugin(VAULT_ROLE_ID=role, VAULT_SECRET_ID=secret, keep=0)
    await vault.get("openai")
    first = await vault._connection.tokens.current()
    server.raw("POST", "auth/token/revoke", {"token": first})
    assert (await vault.get("openai"))["api_key"] == KEY
    assert await vault._connection.tokens.current() != first


async def test_v12_a_token_that_was_given_is_renewed_past_two_thirds(server, plugin):
    server.put(f"{WHERE}/openai", {"api_key": KEY})
    vault = plugin(VAULT_TOKEN=(token := server.token(MAY, ttl="3s")), keep=0)
    await vault.get("openai")
    tokens = vault._connection.tokens
    await trio.to_thread.run_sync(server.pass_by, 2.1)
    tokens._renew_at = 0  # five minutes are over
    await vault.get("openai")
    assert server.raw("GET", "auth/token/lookup-self", token=token).data["ttl"] >= 2


async def test_v3_an_agents_sink_is_read_again_on_403(server, plugin, tmp_path):
    server.put(f"{WHERE}/openai", {"api_key": KEY})
    sink = tmp_path / "sink"
    sink.write_text(first := server.token(MAY))
    vault = plugin(token_file=str(sink), keep=0)
    await vault.get("openai")
    sink.with_suffix(".new").write_text(server.token(MAY) + "\n")
    sink.with_suffix(".new").rename(sink)  # as Vault Agent does
    server.raw("POST", "auth/token/revoke", {"token": first})
    assert (await vault.get("openai"))["api_key"] == KEY


async def test_v14_sealed_at_the_start(sealed, plugin):
    await told(plugin(VAULT_ADDR=sealed, VAULT_TOKEN="hvs.canary-any"), "sealed")
    await told(plugin(VAULT_ADDR=sealed, VAULT_ROLE_ID="r", VAULT_SECRET_ID="canary-s"), "sealed")


async def test_v16_the_plugin_is_limited(server, plugin):
    server.put(f"{WHERE}/openai", {"api_key": KEY}, "old")
    vault = plugin(VAULT_TOKEN=server.root, VAULT_MOUNT="old", keep=0)
    await vault.get("openai")
    server.raw("POST", "sys/quotas/rate-limit/q", {"path": "old", "rate": 1, "interval": "60s"})
    for _ in range(3):
        assert (await vault.get("openai"))["api_key"] == KEY  # the kept key goes on
    vault.forget("openai")
    await told(vault, "rate")
    server.raw("DELETE", "sys/quotas/rate-limit/q")


# --- what only the fake can be made to do ---
@pytest.fixture
def fake():
    driver = Fake()
    driver.put(f"{WHERE}/openai", {"api_key": KEY})
    yield driver
    driver.close()


@pytest.mark.parametrize("server", ["fake"], indirect=True)
@pytest.mark.parametrize("when", ["start", "middle"])
@pytest.mark.parametrize(
    ("mood", "code", "kind"),
    [
        ("code", 412, "standby"), ("code", 472, "standby"), ("code", 473, "standby"),
        ("code", 429, "rate"), ("code", 500, "unavailable"), ("code", 503, "unavailable"),
        ("code", 405, "unexpected"), ("code", 413, "unexpected"), ("redirect", 0, "redirect"),
        ("sealed", 0, "sealed"), ("uninitialised", 0, "uninitialised"), ("limited", 0, "rate"),
        ("html", 0, "not_vault"), ("gateway", 0, "not_vault"), ("list", 0, "not_vault"),
        ("cut", 0, "broken"), ("reset", 0, "broken"), ("silent", 0, "timeout"), ("drip", 0, "timeout"),
    ],
)  # fmt: skip
async def test_v15_v17_v18_v23_every_fault_at_the_start_and_in_the_middle(
    server, plugin, when, mood, code, kind
):
    server.put(f"{WHERE}/openai", {"api_key": KEY})
    vault = plugin(VAULT_TOKEN=server.root, keep=0, timeout=0.4)
    if when == "middle":
        await vault.get("openai")
    fake = server.server
    fake.mood, fake.code, fake.elsewhere = mood, code, "http://127.0.0.1:9"
    if when == "middle" and kind not in ("uninitialised", "unexpected"):
        assert (await vault.get("openai"))["api_key"] == KEY  # the kept key goes on
    vault.forget("openai")
    await told(vault, kind)
    fake.mood = "well"
    assert (await vault.get("openai"))["api_key"] == KEY


@pytest.mark.parametrize("server", ["fake"], indirect=True)
async def test_v24_what_is_sent_and_where(server, plugin):
    server.put(f"{WHERE}/openai", {"api_key": KEY})
    vault = plugin(VAULT_TOKEN=server.root)
    server.server.seen.clear()
    await vault.get("openai")
    for _, path, headers in server.server.seen:
        assert headers["X-Vault-Token"] == server.root
        assert server.root not in path
        assert {"Cookie", "Authorization", "X-Vault-Namespace"}.isdisjoint(headers)


@pytest.mark.parametrize("server", ["fake"], indirect=True)
async def test_v21_v12_a_wrapped_secret_is_told(server, plugin, monkeypatch):
    server.put(f"{WHERE}/openai", {"api_key": KEY})
    vault = plugin(VAULT_TOKEN=server.root)
    await vault._needed()
    await vault._connection.kv_version()
    rules = server.server
    monkeypatch.setattr(
        rules,
        "_wrapped",
        lambda answer, path, ttl: type(rules).__mro__[1]._wrapped(rules, answer, path, 60),
    )
    error = await told(vault, "wrapped")
    assert "hvs." not in error.message
