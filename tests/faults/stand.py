"""Where a turn is tried: a kernel with real providers, a loopback server for a vendor, keys in memory, one small tool."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Annotated, ClassVar

import msgspec
from codetether.api import (
    Effect,
    MessageDone,
    Retrying,
    SecretMissing,
    Secrets,
    TextDelta,
    Tool,
    ToolOutput,
)
from codetether.testing import Call, Reply, make_kernel

KEY = "sk-canary-0123456789abcdefghij"
NEW_KEY = "sk-canary-new-9876543210zyxwvut"


class Memory(Secrets):
    """Keys a test sets. `next_keys` come one by one when a key was refused."""

    api = 1
    addresses: ClassVar[dict[str, str]] = {}
    key: ClassVar[str] = KEY
    next_keys: ClassVar[list[str]] = []
    forgotten: ClassVar[list[str]] = []

    async def get(self, provider):
        if provider not in self.addresses:
            raise SecretMissing(
                f"there is no key for {provider}", f"codetether auth login {provider}"
            )
        self.kernel.redact.add(type(self).key)
        return {"api_key": type(self).key, "base_url": self.addresses[provider]}

    def forget(self, provider):
        self.forgotten.append(provider)
        if self.next_keys:
            type(self).key = self.next_keys.pop(0)

    async def providers(self):
        return sorted(self.addresses)

    async def check(self):
        return []


class NoteParams(msgspec.Struct):
    text: Annotated[str, msgspec.Meta(description="What to note")]


class Note(Tool[NoteParams]):
    """Note something"""

    api = 1
    params = NoteParams
    effect = Effect.READ
    text = "Note something."
    noted: ClassVar[list[str]] = []

    async def run(self, params, ctx):
        self.noted.append(params.text)
        return ToolOutput(f"noted {params.text}")


def note(*texts, thoughts="", text="", ids=()):
    """An answer that calls the tool once for each text."""
    ids = ids or [""] * len(texts)
    calls = tuple(Call("note", {"text": t}, name) for t, name in zip(texts, ids, strict=True))
    return Reply(text=text, thoughts=thoughts, calls=calls)


@asynccontextmanager
async def kernel_at(home, addresses, *, tools=("tools:note",), settings=None, **more):
    """A kernel whose providers are at `addresses` (name: url). The tool's notes and the keys begin anew."""
    memory = type("Memory", (Memory,), {
        "api": 1, "addresses": addresses, "next_keys": [], "forgotten": [], "__module__": __name__,
    })  # fmt: skip
    noting = type("Note", (Note,), {"api": 1, "noted": [], "__module__": __name__})
    extra = {"secrets:memory": memory, **more.pop("extra", {})}
    if "tools:note" in tools:
        extra["tools:note"] = noting
    async with make_kernel(
        home,
        plugins=[
            *(f"providers:{name}" for name in addresses),
            *tools,
            "sandboxes:none",
            *more.pop("plugins", ()),
        ],
        extra=extra,
        settings=settings,
        **more,
    ) as kernel:
        kernel.memory, kernel.noted = memory, noting.noted
        for name in addresses:
            kernel.provider(name).gate._jitter = lambda: 0.5
        yield kernel


@asynccontextmanager
async def session_at(home, server, dialect, *, access="full", model=None, **how):
    """A session of `dialect`'s model, whose vendor is `server`; `heard` collects what a listener hears."""
    async with (
        kernel_at(home, {dialect.provider: server.url}, **how) as kernel,
        kernel.open_session(
            directory=home / "work", model=model or dialect.ref, access=access
        ) as session,
    ):
        session.heard = Heard(session)
        with session.heard:
            yield session


class Heard:
    """What a listener hears of a session, held without a task of its own."""

    def __init__(self, session):
        self._listening = session.feed.listen(10_000)
        self._feed = None
        self.events = []

    def __enter__(self):
        self._feed = self._listening.__enter__()
        return self

    def __exit__(self, *error):
        self.all()
        return self._listening.__exit__(*error)

    def all(self):
        """Every event so far."""
        while self._feed._queue:
            item = self._feed._queue.popleft()
            self.events.append(item.event() if hasattr(item, "event") else item)
        return self.events

    def of(self, kind):
        return [event for event in self.all() if isinstance(event, kind)]

    def text(self):
        """What stands on the screen: a Retrying takes back what its answer said."""
        shown = current = ""
        for event in self.all():
            if isinstance(event, TextDelta):
                current += event.text
            elif isinstance(event, Retrying):
                current = ""
            elif isinstance(event, MessageDone):
                shown, current = shown + current, ""
        return shown + current
