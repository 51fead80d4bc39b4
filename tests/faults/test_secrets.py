"""A key occurs in one header to one host, and nowhere else: whatever the vendor does (F16, F17, F59)."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import traceback
from pathlib import Path

import pytest
import trio
from codetether.testing import ByteServer, Pause, Reset, Stall, files_with, forms_of, redirect
from dialects import DIALECTS, refusal
from place import Place
from stand import KEY, session_at

END = "Done."
ECHO = f"Incorrect API key provided: {KEY}. See https://example.org/?key={KEY}&x=1"
_spec = importlib.util.spec_from_file_location(
    "vault_server", Path(__file__).parents[1] / "peers" / "vault_server.py"
)
vault_server = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("vault_server", vault_server)
_spec.loader.exec_module(vault_server)

FAILURES = {
    "401": [refusal(401, ECHO)],
    "403": [refusal(403, ECHO)],
    "400": [refusal(400, ECHO)],
    "404": [refusal(404, ECHO)],
    "429": [refusal(429, ECHO)],
    "500": [refusal(500, ECHO)],
    "time-out": [Stall()],
    "reset": [Pause(0.01), Reset()],
    "a key in a header": [refusal(400, "no", **{"x-debug": KEY, "retry-after": KEY})],
}


def hidden_in(text):
    return [form for form in forms_of(KEY) if form in text.encode()]


@pytest.mark.parametrize("failure", FAILURES)
async def test_f16_no_failure_shows_the_key(
    tmp_path, dialect, failure, leaping_clock, caplog, capfd
):
    """Not in the log at its lowest level, the terminal, the events, the transcript, nor any file of ours."""
    caplog.set_level(logging.DEBUG)
    with trio.CancelScope(shield=True):
        async with ByteServer(lambda request: FAILURES[failure]) as server:
            async with session_at(tmp_path, server, dialect) as session:
                done = await session.prompt("go")
                seen = (
                    repr(session.heard.all())
                    + repr(session.messages)
                    + repr(session.kernel.notices)
                )
                provider = session.kernel.provider(dialect.provider)
                seen += repr(await provider.endpoint(dialect.model)) + repr(provider.__dict__)
    assert done.reason == "error"
    for sent in server.requests:
        where = [name for name, value in sent.headers.items() if KEY in value]
        assert len(where) == 1  # which is how it proves who asks
        assert hidden_in(sent.path + sent.body.decode()) == []
    shown = capfd.readouterr()
    assert hidden_in(seen + caplog.text + shown.out + shown.err) == []
    assert files_with(KEY, tmp_path) == []
    assert not [record for record in caplog.records if record.name.startswith("http")]


async def test_f16_nor_does_the_traceback_of_a_bug(tmp_path, leaping_clock):
    """Even with the exception in hand: no key in its words, its causes, or what was raised on the way."""
    from codetether_wire import Outgoing, WireFault
    from codetether_wire.exchange import Deadlines, check_status, opened
    from codetether_wire.pool import pool_of

    dialect = DIALECTS["chat"]
    async with ByteServer([[refusal(401, "no")]]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            provider = session.kernel.provider(dialect.provider)
            endpoint = await provider.endpoint(dialect.model)
            deadlines = Deadlines(5, trio.current_time() + 5)
            ask = Outgoing("/x", b"{}")
            try:
                pool = pool_of(session.kernel)
                async with opened(pool, endpoint, ask, deadlines, connect=5) as response:
                    await check_status(response, deadlines)
            except WireFault as fault:
                told = "".join(traceback.format_exception(fault))
    assert "401" in told or "no" in told
    assert hidden_in(told) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_f17_a_redirect_is_told_and_not_followed(tmp_path, dialect, status):
    async with ByteServer() as thief:
        to = f"{thief.url}/v1/chat/completions?k={KEY}"
        async with ByteServer(lambda request: [redirect(to, status)]) as server:
            async with session_at(tmp_path, server, dialect) as session:
                done = await session.prompt("go")
    assert thief.requests == []
    assert len(server.requests) == 1
    assert "redirects to" in done.error
    assert "base_url" in done.hint
    assert hidden_in(done.error) == []


async def test_f17_nor_by_a_list_of_models(tmp_path, dialect):
    async with ByteServer() as thief:
        async with ByteServer(lambda request: [redirect(thief.url)]) as server:
            async with session_at(tmp_path, server, dialect) as session:
                await session.kernel.provider(dialect.provider).models()  # the data file answers
    assert thief.requests == []


# --- F59, the whole program with a Vault ---
@pytest.fixture
def place(home, tmp_path):
    place = Place(home, tmp_path.resolve() / "work")
    yield place
    place.assert_nothing_left()


@pytest.fixture
def vault():
    server = vault_server.FakeVault()
    yield server
    server.close()


async def test_f59_a_whole_program_never_tells_its_keys(place, vault):
    """A model that asks for every file and for the environment, a vendor that echoes the key: with debugging on, no
    output, no file, no child's environment or command line, and no other request holds the key or Vault's token.
    """
    dialect = DIALECTS["chat"]
    seen_by_children = place.work / "seen.txt"
    look = f"env > {seen_by_children}; cat /proc/$PPID/cmdline /proc/[0-9]*/cmdline >> {seen_by_children} 2>/dev/null; env"
    answers = [
        {"calls": [{"name": "bash", "arguments": {"command": look}}]},
        {"calls": [{"name": "read_file", "arguments": {"path": "notes.txt"}}]},
    ]
    place.write(**{"notes.txt": f"a key that leaked: {KEY}\n"})

    def script(request):
        number = sum(b'"tools"' in sent.body for sent in server.requests)
        if number <= len(answers):
            return dialect.says(answers[number - 1])
        return [refusal(401, ECHO)]

    async with ByteServer(script) as server:
        vault.v2 = {"codetether/providers/moonshotai": {"api_key": KEY, "base_url": server.url}}
        env = {
            "VAULT_ADDR": vault.address, "VAULT_TOKEN": vault_server.TOKEN, "CODETETHER_TRACE": "1",
            "HTTPX_LOG_LEVEL": "trace", "PYTHONDEVMODE": "0",
        }  # fmt: skip
        runs = [
            await place(
                "exec",
                "-m",
                dialect.ref,
                "--access-mode",
                "full",
                "--format",
                "stream-json",
                "go",
                **env,
            ),
            await place("models", "moonshotai", **env),
            await place("plugins", "doctor", **env),
            await place("sessions", "list", "--json", **env),
        ]
    assert runs[0].code == 1
    assert "moonshotai" in runs[0].err + runs[0].out
    told = "".join(run.out + run.err for run in runs)
    assert hidden_in(told) == []
    assert vault_server.TOKEN not in told
    (place.work / "notes.txt").unlink()
    for secret in (KEY, vault_server.TOKEN):
        assert files_with(secret, place.home, place.work) == []
    bodies = [json.dumps(sent.json) for sent in server.requests if sent.body]
    assert len(bodies) >= 3
    assert hidden_in("".join(bodies)) == []  # the tool's result went out without it
    assert "a key that leaked: ***" in "".join(bodies)
    assert "HOME" in seen_by_children.read_text(errors="replace")
