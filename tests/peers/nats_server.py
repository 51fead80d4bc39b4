"""A real NATS server on loopback: the one on PATH, or Debian's own package, fetched without being installed."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

CACHE = Path(tempfile.gettempdir()) / f"codetether-tests-{os.getuid()}" / "nats-server"


def program():
    """The server's path. Fails, and does not skip, where there is none to be had."""
    found = shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found:
        return found
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    unpacked = CACHE / "usr" / "sbin" / "nats-server"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not unpacked.exists():
            _fetch()
    return str(unpacked)


def _fetch():
    lists = CACHE / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    own = [
        "-o",
        f"Dir::State::Lists={lists}",
        "-o",
        f"Dir::Cache={CACHE}",
        "-o",
        "APT::Sandbox::User=",
    ]
    for words in (["update"], ["download", "nats-server"]):
        done = subprocess.run(
            ["apt-get", "-q", *own, *words], cwd=CACHE, capture_output=True, text=True, timeout=240, check=False
        )  # fmt: skip
        assert done.returncode == 0, (
            f"no nats-server: install it, or let apt fetch it: {done.stdout[-800:]}{done.stderr[-800:]}"
        )
    [package] = CACHE.glob("nats-server_*.deb")
    scratch = CACHE / "new"
    shutil.rmtree(scratch, ignore_errors=True)
    subprocess.run(["dpkg", "-x", package, scratch], check=True, timeout=60)
    (scratch / "usr").rename(CACHE / "usr")


class NatsServer:
    """Started at once with JetStream in `home`; `settings` are lines of its configuration. `kill` and `start` it again at
    will: what it keeps is in `home`.
    """

    def __init__(self, home, settings=""):
        self.home = Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"nats://127.0.0.1:{self.port}"
        self._config = self.home / "server.conf"
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{self.home}/store" }}\n{settings}\n'
        )
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            [program(), "-c", self._config, "-l", self.home / "log"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )  # fmt: skip
        end = time.monotonic() + 60
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as greeted:
                    assert greeted.recv(4) == b"INFO"
                return
            except OSError:
                assert self._process.poll() is None, (self.home / "log").read_text()
                assert time.monotonic() < end
                time.sleep(0.02)

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def close(self):
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)
