"""A real NATS server on loopback: the one on PATH, or that of Debian's package."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from debian import program


class NatsServer:
    """Started at once with JetStream in `home`; `settings` are lines of its configuration. `kill` and `start` it again at
    will: what it keeps is in `home`.
    """

    def __init__(self, home, settings="", *, jetstream=True):
        self.home = Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"nats://127.0.0.1:{self.port}"
        self._config = self.home / "server.conf"
        if jetstream:
            settings += f'\njetstream {{ store_dir: "{self.home}/store" }}'
        self._config.write_text(f'listen: "127.0.0.1:{self.port}"\n{settings}\n')
        self.start()

    def start(self):
        path, env = program("nats-server", "nats-server")
        end = time.monotonic() + 60
        self._process = None
        while True:
            if (
                self._process is None or self._process.poll() is not None
            ):  # its port may be taken for a moment
                said = (self.home / "log").read_text() if self._process else ""
                assert "address already in use" in said[-400:] or not said, said[-800:]
                assert time.monotonic() < end
                self._process = subprocess.Popen(
                    [path, "-c", self._config, "-l", self.home / "log"],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **env},
                )  # fmt: skip
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as greeted:
                    assert greeted.recv(4) == b"INFO"
                return
            except (OSError, AssertionError):
                assert time.monotonic() < end, (self.home / "log").read_text()
                time.sleep(0.02)

    def change(self, changes):
        """Put some words for others into its configuration."""
        settings = self._config.read_text()
        for word, other in changes.items():
            settings = settings.replace(word, other)
        self._config.write_text(settings)

    def reload(self, changes):
        """Have it read its configuration again, with some words for others."""
        self.change(changes)
        self._process.send_signal(signal.SIGHUP)

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def close(self):
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)
