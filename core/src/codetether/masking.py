"""Keeps known secrets out of an answer while it streams: a secret may come in pieces, so the end of what came is held
back as long as it may be the beginning of one. Nothing is held, and nothing is looked at, when no secret is known.

Text is masked for good. Thoughts are masked only where they are shown: vendors want them back as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from codetether.events import Retrying, StreamEvent, TextDelta, ThoughtDelta
from codetether.redact import Redactor

DELTAS = (TextDelta, ThoughtDelta)


class Passed(NamedTuple):
    """What of an event goes into the answer, and what is shown."""

    kept: StreamEvent | None
    shown: TextDelta | ThoughtDelta | Retrying | None


class Masking:
    """The events of one answer, in their order. Give each to `take`, and the end to `rest`."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._kind: type[TextDelta | ThoughtDelta] = TextDelta
        self._held = ""
        self._before = (
            ""  # the last character shown: a short secret is one only where it stands alone
        )

    def take(self, event: StreamEvent) -> Iterator[Passed]:
        """What can be passed on now."""
        if isinstance(event, Retrying):
            self._held = self._before = ""  # the vendor will say everything again
            yield Passed(event, event)
        elif not isinstance(event, DELTAS):
            yield from self.rest()
            yield Passed(event, None)
        elif not self._redact.knows_any:
            yield Passed(event, event)
        else:
            if type(event) is not self._kind:
                yield from self.rest()
                self._kind = type(event)
            if isinstance(event, ThoughtDelta):
                yield Passed(event, None)
            text = self._held + event.text
            start = self._redact.open_from(text)
            self._held = text[start:]
            yield from self._show(text[:start])

    def rest(self) -> Iterator[Passed]:
        """What was held back: no more of this kind comes."""
        held, self._held = self._held, ""
        yield from self._show(held)
        self._before = ""

    def _show(self, text: str) -> Iterator[Passed]:
        if not text:
            return
        masked = self._redact.text(self._before + text)[len(self._before) :]
        self._before = text[-1]
        if self._kind is TextDelta:
            yield Passed(TextDelta(masked), TextDelta(masked))
        else:
            yield Passed(None, ThoughtDelta(masked))
