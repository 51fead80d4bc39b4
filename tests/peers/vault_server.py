"""A Vault for tests: in memory, on loopback, as faithful as the plugin needs, and able to misbehave.

It is a thread, because the plugin's client is too: the test's own loop must not have to serve it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hvs.canary-token-0123456789"


class FakeVault:
    """`v1` and `v2` are mounts: path below the mount to document. `mood` says how it behaves."""

    def __init__(self):
        self.v2 = {}
        self.v1 = {}
        self.token = TOKEN
        self.mood = "well"
        self.may = True
        self.may_look_at_mounts = True
        self.namespace = ""
        self.elsewhere = ""
        self.seen = []
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
                    vault.answer(self)

            do_LIST = do_GET  # noqa: N815 - the name http.server looks for

        return Handler

    # --- answers ---
    def answer(self, request):
        mood = getattr(self, f"_mood_{self.mood}", None)
        if mood is not None:
            mood(request)
            return None
        path = request.path.removeprefix("/v1/").partition("?")[0]
        say = lambda status, body: _say(request, status, body)  # noqa: E731
        if request.headers.get("X-Vault-Namespace", "") != self.namespace:
            return say(404, {"errors": ["namespace not found"]})
        if request.headers.get("X-Vault-Token", "") != self.token:
            return say(403, {"errors": ["permission denied"]})
        if path == "auth/token/lookup-self":
            return say(200, {"data": {"policies": ["default"]}})
        if not self.may:
            return say(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
        if path.startswith("sys/internal/ui/mounts/"):
            return self._mounts(say, path.rpartition("/")[2])
        mount, _, rest = path.partition("/")
        if mount == "secret":
            return self._v2(request, say, rest)
        if mount == "old":
            return self._v1(request, say, rest)
        return say(404, {"errors": [f"no handler for route {path!r}. route entry not found."]})

    def _mounts(self, say, mount):
        if not self.may_look_at_mounts or mount not in ("secret", "old"):
            return say(403, {"errors": ["preflight capability check returned 403"]})
        return say(
            200,
            {"data": {"type": "kv", "options": {"version": "2"} if mount == "secret" else None}},
        )

    def _v2(self, request, say, rest):
        folder, _, path = rest.partition("/")
        if request.command == "LIST":
            keys = _keys(self.v2, path) if folder == "metadata" else []
            if folder != "metadata":
                return say(404, {"warnings": ["Invalid path for a versioned K/V secrets engine."]})
            return say(200, {"data": {"keys": keys}}) if keys else say(404, {"errors": []})
        if folder != "data":
            return say(404, {"warnings": ["Invalid path for a versioned K/V secrets engine."]})
        if path not in self.v2:
            return say(404, {"errors": []})
        document = self.v2[path]
        status = 404 if document is None else 200  # a deleted version: 404 with a whole body
        return say(
            status, {"data": {"data": document, "metadata": {"version": 1, "deletion_time": ""}}}
        )

    def _v1(self, request, say, rest):
        if request.command == "LIST":
            keys = _keys(self.v1, rest)
            return say(200, {"data": {"keys": keys}}) if keys else say(404, {"errors": []})
        return (
            say(200, {"data": self.v1[rest], "lease_duration": 2764800})
            if rest in self.v1
            else say(404, {"errors": []})
        )

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

    def _mood_standby(self, request):
        _say(request, 473, {"errors": []})

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


def _keys(documents, folder):
    folder = folder.rstrip("/") + "/"
    below = [path.removeprefix(folder) for path in documents if path.startswith(folder)]
    return sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in below})


def _say(request, status, body):
    _raw(request, status, json.dumps(body).encode(), "application/json")


def _raw(request, status, data, kind):
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)
