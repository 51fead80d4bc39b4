"""The seam between HTTP and what a vendor's answers mean. A dialect knows a vendor's JSON and framing, nothing of
sockets, retries or keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec
from codetether.api import CallDelta, Finish, Request, StreamEvent, TextDelta, ThoughtDelta

from codetether_wire.faults import WireFault
from codetether_wire.sse import Event, SseParser

if TYPE_CHECKING:
    from codetether_wire.catalogue import Traits


class Outgoing(msgspec.Struct, frozen=True):
    """An HTTP POST to make: `path` is added to the base address, `body` is JSON."""

    path: str
    body: bytes
    headers: Mapping[str, str] = {}


class Decoder(Protocol):
    """Reads one answer. Made anew for every attempt. Any method may raise WireFault.

    `complete` turns true when the vendor's own terminal event was seen; a stream that ends before is cut.
    """

    complete: bool

    def feed(self, data: bytes) -> list[StreamEvent]:
        """What these bytes of the stream say. No Finish: that is `finish`'s."""

    def whole(self, body: bytes) -> list[StreamEvent]:
        """The same for an answer that came as one JSON document; sets `complete`."""

    def close(self) -> list[StreamEvent]:
        """What was still held back when the bytes ended."""

    def finish(self) -> Finish:
        """The end, once `complete`."""

    @property
    def over(self) -> bool:
        """Nothing more will come: reading can stop although the connection is still open."""


class Dialect(Protocol):
    """One vendor language. Stateless; shared by all calls."""

    content_type: str

    def outgoing(self, request: Request, traits: Traits, origin: str) -> Outgoing:
        """The request in this language. `origin` is the provider's name: only its own Thoughts go back."""

    def decoder(self) -> Decoder:
        """A reader for one answer."""

    def adapt(self, traits: Traits, message: str) -> Traits | None:
        """Other traits to try once after a 400 that says `message`; None when the request cannot be helped."""


@runtime_checkable
class Refuses(Protocol):
    """A dialect whose vendor words its refusals in a form of its own."""

    def refused(self, status: int, body: bytes, headers: Mapping[str, str]) -> WireFault | None:
        """The fault for an HTTP error; None when the common reading will do. `headers` have lower-case names."""


class SseDecoder:
    """The half of a decoder that every event-stream dialect shares. Subclasses write `event`, `whole`, `finish`."""

    def __init__(self) -> None:
        self.complete = False
        self._over = False
        self._parser = SseParser()
        self._fault: WireFault | None = None

    @property
    def over(self) -> bool:
        """Whether the vendor said that this was all."""
        return self._over

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Decode the events these bytes complete; neighbours of one kind become one, to spare the listeners."""
        return self._decode(self._parser.feed(data))

    def close(self) -> list[StreamEvent]:
        """Decode an event that lacked its blank line."""
        return self._decode(self._parser.close())

    def _decode(self, events: list[Event]) -> list[StreamEvent]:
        if self._fault:
            raise self._fault
        said: list[StreamEvent] = []
        try:
            for event in events:
                self.event(event, said)
        except WireFault as fault:
            if not said:
                raise
            self._fault = fault  # what was said before it is given first
        return said if len(said) < 2 else merge(said)

    def event(self, event: Event, said: list[StreamEvent]) -> None:
        """Append to `said` what one event means."""
        raise NotImplementedError


def merge(events: list[StreamEvent]) -> list[StreamEvent]:
    """Runs of deltas of one kind (and one call) joined; order and text unchanged."""
    merged: list[StreamEvent] = []
    run: list[str] = []
    last: StreamEvent | None = None
    for event in events:
        if isinstance(event, (TextDelta, ThoughtDelta, CallDelta)):
            text = event.arguments if isinstance(event, CallDelta) else event.text
            if last is not None and _same(last, event):
                run.append(text)
                continue
            _flush(merged, last, run)
            last, run = event, [text]
        else:
            _flush(merged, last, run)
            last = None
            merged.append(event)
    _flush(merged, last, run)
    return merged


def _same(one: StreamEvent, other: StreamEvent) -> bool:
    if isinstance(one, CallDelta):
        return isinstance(other, CallDelta) and one.index == other.index
    return type(one) is type(other)


def _flush(merged: list[StreamEvent], last: StreamEvent | None, run: list[str]) -> None:
    if isinstance(last, CallDelta):
        merged.append(last if len(run) == 1 else CallDelta(last.index, "".join(run)))
    elif isinstance(last, (TextDelta, ThoughtDelta)):
        merged.append(last if len(run) == 1 else type(last)("".join(run)))
