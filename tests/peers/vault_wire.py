"""One raw request to a Vault, by urllib: not the client under test, and the same for the fake and the real server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import NamedTuple


class Raw(NamedTuple):
    status: int
    body: dict
    headers: dict

    @property
    def errors(self):
        return self.body.get("errors")

    @property
    def data(self):
        return self.body.get("data")


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


_open = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({})).open


def raw(address, method, path, body=None, token="", headers=None, data=None):
    """`body` is sent as JSON, `data` as it is."""
    data = json.dumps(body).encode() if body is not None else data
    sent = {"X-Vault-Token": token} if token else {}
    request = urllib.request.Request(
        f"{address}/v1/{path}", data, {**sent, **(headers or {})}, method=method
    )
    try:
        with _open(request, timeout=20) as answer:
            status, got, text = answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, got, text = error.code, dict(error.headers), error.read()
    return Raw(status, json.loads(text) if text.strip() else {}, got)
