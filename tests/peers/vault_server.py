"""A Vault for tests: in memory, on loopback, as faithful as the plugin needs, and able to misbehave.

It is a thread, because the plugin's client is too: the test's own loop must not have to serve it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from vault_rules import TOKEN, Rules

LARGEST = 33_554_432
__all__ = ["TOKEN", "FakeVault"]


class FakeVault(Rules):
    """The rules behind a socket. `mood` says how it behaves, `seen` what it was asked: method, path, headers."""

    def __init__(self):
        super().__init__()
        self.mood = "well"
        self.code = 473
        self.elsewhere = ""
        self.seen = []
        self.bodies = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.mood = "closed"
        self._server.shutdown()
        self._server.server_close()

    def asked(self, part):
        return [path for _, path, _ in self.seen if part in path]

    def _handler(self):
        vault = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def log_message(self, *args):
                pass

            def do_GET(self):
                vault.seen.append((self.command, self.path, dict(self.headers)))
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    vault.respond(self)

            do_LIST = do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - http.server looks for these

        return Handler

    def respond(self, request):
        length = int(request.headers.get("Content-Length", 0))
        data = request.rfile.read(length)
        self.bodies.append(data)
        mood = getattr(self, f"_mood_{self.mood}", None)
        if mood is not None:
            mood(request)
        elif length > LARGEST:
            _say(request, 413, {"errors": ["http: request body too large"]})
        else:
            with self._lock:
                said = self.answer(
                    request.command, request.path.removeprefix("/v1/"), dict(request.headers), data
                )
            _say(request, *said)

    # --- moods ---
    def _mood_html(self, request):
        _raw(request, 200, b"<html><body>Please log in</body></html>", "text/html")

    def _mood_gateway(self, request):
        _raw(request, 502, b"<html>Bad Gateway</html>", "text/html")

    def _mood_sealed(self, request):
        if request.path == "/v1/sys/seal-status":
            return _say(request, 200, {"sealed": True, "initialized": True})
        return _say(request, 503, {"errors": ["Vault is sealed"]})

    def _mood_uninitialised(self, request):
        if request.path == "/v1/sys/seal-status":
            return _say(request, 200, {"sealed": True, "initialized": False})
        return _say(request, 503, {"errors": ["Vault is sealed"]})

    def _mood_limited(self, request):
        _say(request, 429, {"errors": ['request path "x": rate limit quota exceeded']})

    def _mood_code(self, request):
        _say(request, self.code, {"errors": []})

    def _mood_redirect(self, request):
        request.send_response(307)
        request.send_header("Location", self.elsewhere + request.path)
        request.end_headers()

    def _mood_silent(self, request):
        while self.mood == "silent":
            time.sleep(0.01)

    def _mood_drip(self, request):
        request.send_response(200)
        request.send_header("Content-Length", "100000")
        request.end_headers()
        while self.mood == "drip":
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.02)

    def _mood_huge(self, request):
        _raw(request, 200, b"[" + b" " * 2_000_000 + b"]", "application/json")

    def _mood_cut(self, request):
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b'{"data": ')

    def _mood_reset(self, request):
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        request.connection.close()

    def _mood_list(self, request):
        _raw(request, 200, b"[1, 2]", "application/json")


def _say(request, status, body):
    data = b"" if body is None else json.dumps(body).encode()
    _raw(request, status, data, "application/json")


def _raw(request, status, data, kind):
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)
