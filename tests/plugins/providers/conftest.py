"""A kernel as far as a provider sees it, and the shapes of a streamed answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from codetether.api import SecretMissing
from codetether.redact import Redactor

sys.path.insert(0, str(Path(__file__).parent))  # vendor_histories, shared by the dialects' tests

KEY = "sk-canary-0123456789abcdefghij"


class FakeSecrets:
    """Secrets in memory; `queue` gives later documents of a provider, each after `forget`."""

    def __init__(self, documents):
        self.documents = documents
        self.queue = []
        self.forgotten = []

    async def get(self, provider):
        if provider not in self.documents:
            raise SecretMissing(f"no secret for {provider}", f"codetether auth login {provider}")
        return self.documents[provider]

    def forget(self, provider):
        self.forgotten.append(provider)
        if self.queue:
            self.documents[provider] = self.queue.pop(0)


class FakeKernel:
    def __init__(self, cache, secrets=None, **settings):
        self.dirs = SimpleNamespace(cache=Path(cache))
        self.redact = Redactor()
        self.given = settings
        self._secrets = secrets

    def secrets(self):
        return self._secrets

    def settings(self, key, cls):
        known = {name: value for name, value in self.given.items() if name in cls.__struct_fields__}
        return cls(**known)


@pytest.fixture
def kernel(tmp_path):
    """A function that makes a kernel: kernel(secrets={...}, idle_timeout=5)."""

    def make(secrets=None, **settings):
        return FakeKernel(
            tmp_path / "cache", None if secrets is None else FakeSecrets(secrets), **settings
        )

    return make


@pytest.fixture
def answer():
    """Bytes of a streamed answer: answer("Hello", " there", finish="stop", done=True)."""
    return sse_answer


def sse_answer(*texts, finish="stop", done=True, usage=None):
    rows = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    if finish:
        rows.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        rows.append({"choices": [], "usage": usage})
    lines = [f"data: {json.dumps(row)}\n\n" for row in rows]
    return "".join(lines + (["data: [DONE]\n\n"] if done else [])).encode()
