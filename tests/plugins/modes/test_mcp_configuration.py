"""Files of servers: what counts, what is refused, and that nothing is left out in silence."""

import json
from types import SimpleNamespace

import pytest
from codetether import trust
from codetether.api import Dirs, SecretMissing
from codetether_mcp import Server, servers
from codetether_mcp.entry import is_loopback
from codetether_mcp.secrets import with_secrets


class House:
    """A kernel as far as files of servers see it."""

    def __init__(self, place):
        self.dirs = Dirs(place / "c", place / "d", place / "k", place / "c" / "config.toml")
        self.dirs.config.mkdir(parents=True)

    def root_of(self, directory):
        return None

    def read(self, place, text):
        (self.dirs.config / "mcp.json").write_text(
            text if isinstance(text, str) else json.dumps(text)
        )
        return servers(self, place)

    def one(self, place, entry):
        found = self.read(place, {"mcpServers": {"x": entry}})
        return found.get("x"), [trouble.text for trouble in found.troubles]


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def test_the_two_kinds(house, tmp_path):
    found = house.read(
        tmp_path,
        {
            "mcpServers": {
                "b": {"command": "c", "args": ["-x"], "cwd": "sub", "toolTimeoutSec": 5},
                "a": {"url": "https://example.org/mcp", "headers": {"X-Key": "v"}},
                "c": {"type": "streamable-http", "url": "http://[::1]:80/mcp", "disabled": True},
            }
        },
    )
    assert [server.name for server in found.servers] == ["a", "b", "c"]
    assert found.troubles == ()
    a, b, c = found.servers
    assert (a.kind, b.kind, c.kind) == ("http", "stdio", "http")
    assert (b.cwd, b.call_timeout, b.args) == (str(tmp_path / "sub"), 5.0, ("-x",))
    assert c.disabled
    assert a.digest() != b.digest()


def test_variables(house, tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", "here")
    monkeypatch.setenv("EMPTY", "")
    server, troubles = house.one(
        tmp_path,
        {
            "command": "${WHERE}/run",
            "args": ["${NOPE:-other}", "${EMPTY:-full}", "${EMPTY}", "$WHERE"],
            "env": {"K": "${vault:x/y}"},
        },
    )
    assert troubles == []
    assert server.command == "here/run"
    assert server.args == ("other", "full", "", "$WHERE")
    assert server.env == {"K": "${vault:x/y}"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (7, "not an object"),
        ({}, "`url` is missing"),
        ({"type": "stdio", "url": "https://x"}, "`command` is missing"),
        ({"type": "sse", "url": "https://x"}, "sse"),
        ({"type": "carrier-pigeon", "url": "https://x"}, "not one of stdio, http"),
        ({"command": ["a"]}, "`command` is not a text"),
        ({"command": "a", "args": "b"}, "`args` is not a list"),
        ({"command": "a\0b"}, "`command` is not a text"),
        ({"command": "a", "env": {"A=B": "c"}}, "cannot be there"),
        ({"command": "${NOPE}"}, "NOPE is not set"),
        ({"command": "${}"}, "names no variable"),
        ({"command": "${vault:x}"}, "secrets of Vault"),
        ({"command": "a", "args": ["${vault:x}"]}, "secrets of Vault"),
        ({"command": "a", "env": {"K": "${vault:../x}"}}, "write ${vault:NAME}"),
        ({"url": "http://example.org"}, "must be https"),
        ({"url": "http://127.0.0.1.evil.org/"}, "must be https"),
        ({"url": "http://localhost@evil.org/"}, "user name"),
        ({"url": "file:///etc/passwd"}, "not an http"),
        ({"url": "https://x:y@example.org"}, "user name"),
        ({"url": "https://[bad"}, "not an address"),
        ({"url": "https://x", "headers": {"A": "b\r\nC: d"}}, "cannot be there"),
        ({"url": "https://x", "headers": {"A B": "c"}}, "cannot be there"),
        ({"url": "https://x", "toolTimeoutSec": True}, "number of seconds"),
        ({"url": "https://x", "startupTimeoutSec": 1e9}, "number of seconds"),
        ({"url": "https://x", "disabled": "no"}, "true or false"),
        ({"url": "https://x", "oauth": {"clientSecret": "s"}}, "holds clientId"),
        ({"url": "https://x", "oauth": {"clientId": "i", "more": 1}}, "holds clientId"),
        ({"url": "https://x", "oauth": {"clientId": "i", "callbackPort": 99999}}, "not a port"),
        ({"url": "https://x", "oauth": {"clientId": 7}}, "object of texts"),
        ({"url": "https://x", "includeTools": "*"}, "not a list"),
    ],
)
def test_what_is_wrong_is_told_and_not_used(house, tmp_path, entry, told):
    server, (text,) = house.one(tmp_path, entry)
    assert server is None
    assert told in text


@pytest.mark.parametrize("name", ["", "x" * 65, "a\x1b[31mb"])
def test_a_name_that_cannot_be_shown_is_none(house, tmp_path, name):
    found = house.read(tmp_path, {"mcpServers": {name: {"command": "a"}}})
    assert found.servers == ()
    assert "1 to 64 characters" in found.troubles[0].text
    assert "\x1b" not in found.troubles[0].text


def test_what_has_no_meaning_is_told(house, tmp_path):
    server, (text,) = house.one(
        tmp_path, {"command": "a", "autoApprove": ["*"], "url": "https://x"}
    )
    assert server.command == "a"
    assert "autoApprove, url has no meaning here" in text


@pytest.mark.parametrize("text", ["", "[]", "{", '{"mcpServers": []}', "[" * 100_000, "\xff"])
def test_a_file_that_is_none_names_no_servers(house, tmp_path, text):
    found = house.read(tmp_path, text)
    assert found.servers == ()
    assert len(found.troubles) == 1


def test_names_of_this_machine():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(
        map(is_loopback, ("localhost.evil.org", "0.0.0.0", "169.254.169.254", "example.org"))
    )


# --- secrets ---
def kernel_with(**documents):
    async def get(name):
        if name not in documents:
            raise SecretMissing(f"there is no key for {name}", "")
        return documents[name]

    masked = []
    redact = SimpleNamespace(add=masked.append)
    return SimpleNamespace(secrets=lambda: SimpleNamespace(get=get), redact=redact), masked


async def test_secrets_come_from_vault_and_are_masked():
    kernel, masked = kernel_with(a={"api_key": "one", "token": "two"})
    headers = {"Authorization": "Bearer ${vault:a}", "X-Plain": "p", "X-Api-Key": "written"}
    server = Server(
        "s", "http", "f", url="https://x", headers=headers, env={"T": "${vault:a/token}"}
    )
    filled = await with_secrets(kernel, server)
    assert filled.headers["Authorization"] == "Bearer one"
    assert filled.env == {"T": "two"}
    assert set(masked) == {"one", "two", "written"}
    assert "one" not in str(server)


@pytest.mark.parametrize("reference", ["${vault:b}", "${vault:a/none}"])
async def test_a_secret_that_is_not_there_is_told(reference):
    kernel, _ = kernel_with(a={"api_key": "one"})
    with pytest.raises(SecretMissing):
        await with_secrets(kernel, Server("s", "stdio", "f", env={"T": reference}))


async def test_a_repository_gets_no_secret_however_it_spells_it(house, tmp_path, monkeypatch):
    kernel, _ = kernel_with(a={"api_key": "one"})
    monkeypatch.setattr("codetether_mcp.configuration.is_trusted", lambda *_: True)
    monkeypatch.setenv("PRIVATE", "mine")
    hidden = {"command": "c", "env": {"K": "${NOPE:-${vault:a}}"}}
    plain = {"command": "c", "env": {"K": "${vault:a}"}}
    reaching = {"command": "c", "args": ["${PRIVATE}"]}
    entries = {
        "hidden": hidden,
        "plain": plain,
        "reaching": reaching,
        "home": {"command": "${HOME}/c"},
    }
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": entries}))
    found = servers(house, tmp_path)
    assert [server.name for server in found.servers] == ["hidden", "home"]
    told = " ".join(trouble.text for trouble in found.troubles)
    assert "secrets of Vault" in told
    assert "PRIVATE is not set" in told
    filled = await with_secrets(kernel, found.get("hidden"))
    assert "one" not in str(filled.env)


def test_what_counts_is_what_was_read_not_what_lies_there_a_moment_later(
    house, tmp_path, monkeypatch
):
    """A command in the background that swaps the file is not faster than the look at it."""
    project = tmp_path / ".mcp.json"
    (tmp_path / ".git").mkdir()
    good = json.dumps({"mcpServers": {"good": {"command": "true"}}})
    evil = json.dumps({"mcpServers": {"evil": {"command": "true"}}})
    project.write_text(good)
    trust.trust(tmp_path, house.dirs)
    real = trust.powerful_files

    def looked(directory):
        project.write_text(good)
        try:
            return real(directory)
        finally:
            project.write_text(evil)

    monkeypatch.setattr(trust, "powerful_files", looked)
    for lies_there in (good, evil):
        project.write_text(lies_there)
        names = [server.name for server in servers(house, tmp_path).servers]
        assert names == (["good"] if lies_there == good else [])


def test_a_repository_does_not_replace_a_server_of_the_user(house, tmp_path, monkeypatch):
    monkeypatch.setattr("codetether_mcp.configuration.is_trusted", lambda *_: True)
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": {"x": {"command": "theirs"}}}))
    server, (told,) = house.one(tmp_path, {"command": "mine"})
    assert server.command == "mine"
    assert "names x too; yours is used" in told
