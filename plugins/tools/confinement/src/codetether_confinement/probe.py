"""Whether a sandbox confines on this machine, found by attacking it; remembered until the machine starts again."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import CodetetherError

if TYPE_CHECKING:
    from codetether.api import Sandbox

SECONDS = 20
PYTHON = os.path.realpath(sys.executable)  # not the link of an environment that may be hidden
BOOT = "/proc/sys/kernel/random/boot_id"


class Proof(msgspec.Struct, frozen=True):
    """What attacks on a sandbox showed: the names of those that succeeded, or why it could not be tried."""

    done: tuple[str, ...] = ()
    trouble: str = ""


async def prove(sandbox: Sandbox, cache: Path, *, kind: str) -> Proof:
    """Attack `sandbox`, once for each boot, kernel, user and `kind` (what it is made of: versions, paths).

    The code of both counts as well. The answer is kept below `cache`; trouble is not, so that it goes away when its
    cause does, and is met once more before it is believed: a session without its sandbox is too much for a moment
    without a process or memory to spare. Never raises.
    """
    file = cache / f"sandbox-{sandbox.name}.json"
    key = await trio.to_thread.run_sync(_key, kind, type(sandbox).__module__)
    known = await trio.to_thread.run_sync(_known, file, key)
    if known is not None:
        return known
    proof = await _tried(sandbox, cache)
    if proof.trouble:
        proof = await _tried(sandbox, cache)
    if not proof.trouble:
        await trio.to_thread.run_sync(_keep, file, key, proof)
    return proof


async def _tried(sandbox: Sandbox, cache: Path) -> Proof:
    try:
        return await attack(sandbox, cache)
    except (CodetetherError, OSError, ValueError) as error:
        return Proof(trouble=str(error))


async def attack(sandbox: Sandbox, beside: Path | None = None) -> Proof:
    """Run every attack inside `sandbox`, on a place made below `beside` and removed afterwards."""
    import json

    from codetether.api import Launch, SandboxPolicy, clean_env, run_process

    with _place(beside) as (place, udp):
        policy = SandboxPolicy(
            writable=(place["work"],),
            hidden=(os.path.dirname(place["secret"]),),
            read_only=(f"{place['work']}/.git/hooks", f"{place['work']}/.git/config"),
        )
        code = Path(__file__).with_name("attacks.py").read_text("utf-8")
        argv = (PYTHON, "-I", "-S", "-c", code, json.dumps(place))
        launch = sandbox.wrap(Launch(argv, place["work"], clean_env()), policy)
        done = await run_process(
            launch.argv, cwd=launch.cwd, env=launch.env, pass_fds=launch.pass_fds, timeout=SECONDS
        )
        arrived = _arrived(udp)
    if not done.ok:
        said = done.errors.strip().splitlines() or [f"exit code {done.code}"]
        return Proof(trouble=said[-1])
    return Proof((*json.loads(done.output), *(("UDP",) if arrived else ())))


def _arrived(udp: socket.socket) -> bool:
    try:
        return bool(udp.recv(1))
    except BlockingIOError:
        return False


@contextmanager
def _place(beside: Path | None) -> Iterator[tuple[dict[str, Any], socket.socket]]:
    """A workspace with a repository, a secret beside it, and sockets that listen."""
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        base = stack.enter_context(tempfile.TemporaryDirectory(prefix="probe-", dir=beside))
        work, outside, hidden = (f"{base}/{name}" for name in ("work", "outside", "hidden"))
        for folder in (f"{work}/.git/hooks", outside, hidden):
            os.makedirs(folder)
        for file in (f"{work}/.git/config", f"{outside}/file", f"{hidden}/secret"):
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as new:
                new.write(b"something\n")
        abstract = f"codetether-{os.urandom(8).hex()}"
        short = stack.enter_context(tempfile.TemporaryDirectory(prefix="p-", dir=_short(base)))
        _listener(stack, socket.AF_UNIX, f"{short}/s")
        _listener(stack, socket.AF_UNIX, "\0" + abstract)
        tcp = _listener(stack, socket.AF_INET, ("127.0.0.1", 0))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        place = {
            "work": work, "outside": outside, "secret": f"{hidden}/secret", "socket": f"{short}/s",
            "abstract": abstract, "pid": os.getpid(), "tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1],
        }  # fmt: skip
        yield place, udp


def _short(base: str) -> str:
    """Where a socket's path is short enough (108 bytes)."""
    return base if len(base) < 80 else "/var/tmp"  # noqa: S108 - a directory of its own is made there


def _listener(stack: ExitStack, family: int, address: Any) -> socket.socket:
    listening = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    listening.bind(address)
    listening.listen(5)
    return listening


def _key(kind: str, module: str) -> str:
    try:
        boot = Path(BOOT).read_text("utf-8").strip()
    except OSError:
        return ""  # cannot tell one start of the machine from the next: nothing is remembered
    made_of = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(sys.modules[module].__file__ or "").parent):
        for file in sorted(folder.glob("*.py")):
            made_of.update(file.read_bytes())
    parts = (boot, *os.uname(), str(os.getuid()), kind)
    made_of.update("\n".join(parts).encode("utf-8", "surrogateescape"))
    return made_of.hexdigest()


def _known(file: Path, key: str) -> Proof | None:
    try:
        kept = msgspec.json.decode(file.read_bytes())
        if key and kept["key"] == key:
            return msgspec.convert(kept["proof"], Proof)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _keep(file: Path, key: str, proof: Proof) -> None:
    from codetether.api import write_atomic

    if key:
        write_atomic(file, msgspec.json.encode({"key": key, "proof": proof}))
