"""V25: the key and the token of Vault are in no file, no output, no argv and no child's environment, whatever goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from codetether.testing import ScriptedServer, call, files_with, forms_of, processes_with

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))
from vault_server import FakeVault

CODETETHER = str(Path(sys.executable).with_name("codetether"))
KEY = "sk-canary-scan-Zq8+/0123456789"
TOKEN = "hvs.canary-scan-token-0123456789"
SECRET = "canary-of-a-header-0123456789"
FIND = (  # all that a command of a model may try
    "env; cat /proc/$PPID/environ /proc/$PPID/cmdline | tr '\\0' '\\n'; "
    "for f in /proc/[0-9]*/environ; do tr '\\0' '\\n' <$f; done 2>/dev/null | grep -a canary; true"
)


def fault(kind, status):
    return {
        "fault": {"kind": kind, "status": status, "message": f"key {KEY} with {SECRET} refused"}
    }


PATHS = {
    "all is well": ["done"],
    "the model says it": [f"your key is {KEY}, is it not?"],
    "a command looks for it": [call("bash", command=FIND), "done"],
    "the model writes it": [call("write_file", path="a.txt", content="x"), f"{KEY} {SECRET}"],
    "the vendor quotes it": [fault("auth", 401)] * 3,
    "the vendor quotes it in a long error": [fault("invalid", 400)],
    "an argument holds it": [call("bash", command=f"echo {KEY}"), "done"],
    "a tool fails with it": [call("read_file", path=f"/nowhere/{KEY}"), "done"],
    "the arguments are nonsense": [call("read_file", nonsense=KEY), "done"],
}

# What a model itself says (it can know a key only from the person) is shown as it comes; no file holds it even so.
FROM_THE_MODEL = {
    "the model says it", "the model writes it", "an argument holds it", "a tool fails with it",
    "the arguments are nonsense",
}  # fmt: skip


@pytest.fixture
def vault():
    vault = FakeVault()
    vault.token = TOKEN
    yield vault
    vault.close()


@pytest.fixture
def env(vault):
    return {
        **os.environ,
        "VAULT_ADDR": vault.address,
        "VAULT_TOKEN": TOKEN,
        "CANARY_RUN": str(os.getpid()),
    }


async def run(env, cwd, *words):
    return await trio.run_process(
        [CODETETHER, *words],
        env=env,
        cwd=cwd,
        check=False,
        capture_stdout=True,
        capture_stderr=True,
    )


def clean(home, said=b""):
    """Nothing of ours is on disk or was printed."""
    for secret in (KEY, TOKEN, SECRET):
        assert files_with(secret, home) == []
        assert [form for form in forms_of(secret) if form in said] == []


@pytest.mark.parametrize("form", ["text", "stream-json"])
@pytest.mark.parametrize("name", PATHS)
async def test_v25_a_run(vault, env, home, name, form):
    work = home / "work"
    work.mkdir()
    async with ScriptedServer(PATHS[name]) as vendor:
        vault.v2["codetether/providers/openai"] = {
            "api_key": KEY, "base_url": f"{vendor.url}/v1", "headers": {"X-Secret": SECRET},
        }  # fmt: skip
        words = ("exec", "--access", "full", "--format", form, "-m", "openai/gpt-canary", "go")
        done = await run(env, work, *words)
        heads = [dict(request.headers) for request in vendor.requests]
    sent = repr(heads)
    assert KEY in sent  # it did reach the vendor
    assert TOKEN not in sent
    clean(home, b"" if name in FROM_THE_MODEL else done.stdout + done.stderr)


@pytest.mark.parametrize(
    "mood", ["sealed", "html", "cut", "reset", "limited", "redirect", "uninitialised"]
)
async def test_v25_a_vault_that_fails(vault, env, home, mood):
    vault.v2["codetether/providers/openai"] = {"api_key": KEY}
    vault.mood, vault.elsewhere = mood, "http://127.0.0.1:9"
    for words in (
        ["plugins", "doctor"],
        ["auth", "list"],
        ["auth", "test", "openai"],
        ["run", "-m", "openai/x", "hi"],
    ):
        done = await run(env, home, *words)
        clean(home, done.stdout + done.stderr)


def test_v25_killed_while_a_command_runs(vault, env, home):
    """What a killed agent leaves: a transcript without secrets, and a child that never had them."""

    async def main():
        async with ScriptedServer([call("bash", command="sleep 30"), "done"]) as vendor:
            vault.v2["codetether/providers/openai"] = {
                "api_key": KEY,
                "base_url": f"{vendor.url}/v1",
            }
            words = ["exec", "--access", "full", "-m", "openai/gpt-canary", "go"]
            process = subprocess.Popen(
                [CODETETHER, *words],
                env=env,
                cwd=home,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            try:
                await trio.to_thread.run_sync(wait_for_sleep)
                assert TOKEN in environ(process.pid)
                for pid, command in processes_with("CODETETHER_RUN=").items():
                    if "sleep" in command:
                        assert "canary" not in environ(pid)
                assert KEY not in Path(f"/proc/{process.pid}/cmdline").read_text()
                process.send_signal(signal.SIGKILL)
                clean(home, process.communicate(timeout=30)[0])
            finally:
                process.kill()
                process.wait()

    trio.run(main)


def environ(pid):
    return Path(f"/proc/{pid}/environ").read_text(errors="replace")


def wait_for_sleep():
    end = time.monotonic() + 60
    while not any("sleep 30" in command for command in processes_with("CODETETHER_RUN=").values()):
        assert time.monotonic() < end
        time.sleep(0.05)
