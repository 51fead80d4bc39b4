"""`codetether auth`: a key goes from a person's fingers into Vault and is seen nowhere else."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from functools import partial
from pathlib import Path

import pytest
import trio
from codetether.testing import ScriptedServer, files_with, make_kernel

sys.path.insert(0, str(Path(__file__).parents[2] / "peers"))
from vault_server import TOKEN, FakeVault

CODETETHER = str(Path(sys.executable).with_name("codetether"))
KEY = "sk-canary-typed-by-a-person-0123456789"
WHERE = "codetether/providers/openai"


@pytest.fixture
def vault():
    vault = FakeVault()
    yield vault
    vault.close()


@pytest.fixture
def env(vault):
    return {**os.environ, "VAULT_ADDR": vault.address, "VAULT_TOKEN": TOKEN}


@pytest.fixture
def ct(env, home):
    """`await ct("auth", "list")` is what was printed; the exit code must be `code`."""

    async def run(*words, stdin="", code=0, **more):
        done = await trio.run_process(
            [CODETETHER, *words], env={**env, **more}, stdin=stdin.encode(), check=False,
            capture_stdout=True, capture_stderr=True, cwd=home,
        )  # fmt: skip
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == code, (words, said)
        assert KEY not in said
        return said

    return run


async def test_login_list_test_logout(ct, vault):
    async with ScriptedServer(["ready", "ready"]) as vendor:
        said = await ct(
            "auth", "login", "openai", "--stdin", "--base-url", f"{vendor.url}/v1", "--organization", "acme",
            "--header", "X-Team: blue", "--region", "eu", stdin=f" {KEY}\n",
        )  # fmt: skip
        assert "answers" in said
        assert vault.v2[WHERE] == {
            "api_key": KEY, "base_url": f"{vendor.url}/v1", "organization": "acme",
            "headers": {"X-Team": "blue"}, "region": "eu",
        }  # fmt: skip
        assert await ct("auth", "list") == "openai  providers:openai\n"
        assert json.loads(await ct("auth", "list", "--json")) == [
            {"provider": "openai", "installed": True}
        ]
        assert "openai/gpt-special answers" in await ct(
            "auth", "test", "openai", "--model", "gpt-special"
        )
    assert vendor.asked[1]["model"] == "gpt-special"
    assert "deleted" in await ct("auth", "logout", "openai")
    assert "no provider has a key" in await ct("auth", "list")
    assert "no key for openai" in await ct("auth", "logout", "openai", code=1)
    assert "auth login openai" in await ct("auth", "test", "openai", code=1)


async def test_login_keeps_what_it_does_not_know(ct, vault):
    vault.v2[WHERE] = {"api_key": "sk-old-canary", "mine": {"a": 1}, "region": "eu"}
    await ct("auth", "login", "openai", "--stdin", "--no-test", stdin=KEY)
    assert vault.v2[WHERE] == {"api_key": KEY, "mine": {"a": 1}, "region": "eu"}


@pytest.mark.parametrize("before", [None, {"api_key": "sk-old-canary", "region": "eu"}])
async def test_a_key_that_is_refused_is_taken_back(ct, vault, before):
    if before:
        vault.v2[WHERE] = dict(before)
    refusal = {"fault": {"kind": "auth", "message": "no such key", "status": 401}}
    async with ScriptedServer(lambda asked: refusal) as vendor:
        words = ("auth", "login", "openai", "--stdin", "--base-url", f"{vendor.url}/v1")
        said = await ct(*words, stdin=KEY, code=1)
    assert "refuses the key" in said
    assert vault.v2[WHERE] == before


async def test_trouble_that_says_nothing_of_the_key_leaves_it_stored(ct, vault):
    refusal = {"fault": {"kind": "invalid", "message": "no such model", "status": 400}}
    async with ScriptedServer(lambda asked: refusal) as vendor:
        words = ("auth", "login", "openai", "--stdin", "--base-url", f"{vendor.url}/v1")
        said = await ct(*words, stdin=KEY, code=1)
    assert "is stored, but it could not be tried out" in said
    assert "no such model" in said
    assert vault.v2[WHERE]["api_key"] == KEY


async def test_further_fields_come_line_by_line(ct, vault):
    words = ("auth", "login", "bedrock", "--stdin", "--no-test", "--field", "secret_key")
    await ct(*words, stdin=f"{KEY}\nsk-canary-other\n")
    assert vault.v2["codetether/providers/bedrock"] == {
        "api_key": KEY,
        "secret_key": "sk-canary-other",
    }
    assert "2 lines" not in await ct(*words, stdin=f"{KEY}\n", code=2)


@pytest.mark.parametrize(
    ("words", "stdin", "code", "told"),
    [
        (["openai", "--stdin"], "", 2, "0 lines"),
        (["openai", "--stdin"], "a\x00b-canary", 1, "characters that no key has"),
        (["opnai", "--stdin"], KEY, 2, "did you mean openai"),
        (["openai"], KEY, 3, "--stdin"),
        (["openai", "--stdin", "--header", "nonsense"], KEY, 2, "NAME: VALUE"),
    ],
)
async def test_what_cannot_be_stored(ct, vault, words, stdin, code, told):
    assert told in await ct("auth", "login", *words, stdin=stdin, code=code)
    assert vault.v2 == {}


async def test_force_stores_for_a_provider_that_is_not_there_yet(ct, vault):
    await ct("auth", "login", "later", "--stdin", "--force", stdin=KEY)
    assert await ct("auth", "list") == "later  no plugin uses it\n"


async def test_without_a_vault_it_says_what_to_do(ct):
    for words in (["list"], ["logout", "openai"], ["login", "openai", "--stdin"]):
        said = await ct("auth", *words, stdin=KEY, code=1, VAULT_ADDR="")
        assert "run: codetether vault up" in said


@pytest.mark.parametrize(
    ("mood", "told"),
    [
        ("sealed", "is sealed"),
        ("html", "is not a Vault"),
        ("limited", "limits how often"),
        ("cut", "broke off"),
    ],
)
async def test_which_step_failed_is_told(ct, vault, mood, told):
    vault.mood = mood
    for words in (
        ["list"],
        ["test", "openai"],
        ["logout", "openai"],
        ["login", "openai", "--stdin"],
    ):
        said = await ct("auth", *words, stdin=KEY, code=1)
        assert told in said
        assert len(said.strip().splitlines()) == 2


async def test_a_provider_signs_a_person_in_its_own_way(vault, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("VAULT_ADDR", vault.address)
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    from argparse import ArgumentParser

    async def sign_in(show):
        await show("open https://example.org/device\nand type ABCD-\x1b[31mEFGH")
        return {"api_key": KEY, "enterpriseUrl": "git.example.org"}

    async with make_kernel(tmp_path) as kernel:
        monkeypatch.setattr(kernel.provider("openai"), "sign_in", sign_in, raising=False)
        mode = kernel.mode("auth")
        parser = ArgumentParser()
        mode.arguments(parser)
        assert await mode.run(parser.parse_args(["login", "openai", "--no-test"])) == 0
    assert vault.v2[WHERE] == {"api_key": KEY, "enterpriseUrl": "git.example.org"}
    said = capfd.readouterr().err
    assert "open https://example.org/device\n" in said
    assert "\x1b" not in said
    assert KEY not in said


# --- a person at a terminal ---
class Terminal:
    def __init__(self, words, env, cwd):
        self.leader, self.follower = pty.openpty()
        self.before = termios.tcgetattr(self.follower)
        self.process = subprocess.Popen(
            [CODETETHER, *words], env=env, cwd=cwd, close_fds=False,
            preexec_fn=partial(os.login_tty, os.dup(self.follower)),
        )  # fmt: skip
        self.text = ""

    def until(self, wanted):
        end = time.monotonic() + 60
        while wanted not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.leader], [], [], 0.2)[0]:
                self.text += os.read(self.leader, 65536).decode(errors="replace")

    def echoes(self):
        return bool(termios.tcgetattr(self.follower)[3] & termios.ECHO)

    def type(self, text):
        os.write(self.leader, text.encode())

    def end(self):
        code = self.process.wait(60)
        while select.select([self.leader], [], [], 0.2)[0]:
            self.text += os.read(self.leader, 65536).decode(errors="replace")
        assert termios.tcgetattr(self.follower) == self.before
        return code


@pytest.fixture
def terminal(env, home):
    opened = []

    def make(*words, **more):
        opened.append(Terminal(words, {**env, **more}, home))
        return opened[-1]

    yield make
    for each in opened:
        each.process.kill()
        each.process.wait()
        os.close(each.leader)
        os.close(each.follower)


def test_a_key_that_is_typed_is_not_shown(terminal, vault, home):
    typed = terminal("auth", "login", "openai", "--no-test")
    typed.until("api_key: ")
    assert not typed.echoes()
    typed.type(f"{KEY}\n")
    assert typed.end() == 0
    assert KEY not in typed.text
    assert vault.v2[WHERE] == {"api_key": KEY}
    assert files_with(KEY, home) == []


def test_ctrl_c_at_the_question_leaves_the_terminal_as_it_was(terminal, vault):
    typed = terminal("auth", "login", "openai")
    typed.until("api_key: ")
    typed.type("sk-half\x03")
    assert typed.end() == 130
    assert "Traceback" not in typed.text
    assert vault.v2 == {}


def test_a_person_without_a_vault_is_offered_one(terminal, home):
    asked = terminal("auth", "login", "openai", "--no-test", VAULT_ADDR="", VAULT_TOKEN="")
    asked.until("[Y/n]")
    asked.type("n\n")
    assert asked.end() == 1
    assert "codetether vault up" in asked.text
    try:
        asked = terminal("auth", "login", "openai", "--no-test", VAULT_ADDR="", VAULT_TOKEN="")
        asked.until("[Y/n]")
        asked.type("\n")
        asked.until("api_key: ")
        asked.type(f"{KEY}\n")
        assert asked.end() == 0
        assert "stored" in asked.text
    finally:
        known = json.loads((home / "data" / "codetether-agent" / "vault" / "pid").read_text())
        os.kill(known["pid"], signal.SIGKILL)
