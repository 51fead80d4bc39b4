"""Async tests on trio, a home of their own for every test, and no way out to the network."""

from __future__ import annotations

import functools
import inspect
import shutil
import socket

import pytest
import trio
from hypothesis import HealthCheck, settings
from trio.testing import MockClock

# The same examples in every run, however slow the machine; `--hypothesis-profile search` looks for new ones.
settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("same")


@pytest.fixture
def autojump_clock():
    """Time jumps ahead when every task waits."""
    return MockClock(autojump_threshold=0)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    given = {name: pyfuncitem.funcargs[name] for name in names}
    clocks = [value for value in pyfuncitem.funcargs.values() if isinstance(value, MockClock)]

    async def limited():
        with trio.fail_after(300):  # only against waiting for ever
            await function(**given)

    trio.run(limited, clock=clocks[0] if clocks else None)
    return True


@pytest.fixture(scope="session")
def proofs(tmp_path_factory):
    """What the sandboxes of this machine stop, found once by attacking them: every home begins with it."""
    home = tmp_path_factory.mktemp("proofs")

    async def prove():
        from codetether.testing import make_kernel

        async with make_kernel(home, settings={"sandbox": "auto"}) as kernel:
            await kernel.settle_sandbox()

        return list(kernel.dirs.cache.glob("sandbox-*.json"))

    with pytest.MonkeyPatch.context() as env:
        env.setenv("XDG_CACHE_HOME", str(home / "nothing"))  # not what the user's own knows
        return trio.run(prove)


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch, proofs):
    """A fresh home with XDG directories; nothing of the user's is read or written."""
    home = tmp_path_factory.mktemp("home")
    for proof in proofs:
        copy = home / "cache" / proof.parent.name / proof.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(proof, copy)
    for name in ("VAULT_ADDR", "VAULT_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    import os

    for name in [n for n in os.environ if n.startswith(("CODETETHER_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    (home / "gitconfig").write_text(
        "[user]\nname = Tester\nemail = tester@example.org\n[init]\ndefaultBranch = main\n"
    )
    return home


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    """A connection to anything but loopback is a mistake in the test."""
    connect = socket.socket.connect

    @functools.wraps(connect)
    def checked(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"test reached for {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)
