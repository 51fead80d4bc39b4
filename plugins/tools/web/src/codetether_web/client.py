"""httpx as it is used here: loaded without what is of no use, and read so that leaving ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio
from codetether.api import import_ignoring

if TYPE_CHECKING:
    import httpx


def load_httpx() -> None:
    """Load httpx without what is not used here and comes where it is installed: its command line with click and rich
    (50 ms, 6 MB), and HTTP/2 (40 ms).
    """
    import_ignoring("httpcore", "h2")  # httpx would load it with the first client
    import_ignoring("httpx", "httpx._main", "h2")


@asynccontextmanager
async def raw_chunks(response: httpx.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body's bytes as they come, still packed. Leaving ends the reading at once, however far it got.

    httpcore and httpx nest generators, and closing the outer one leaves the inner ones to the garbage collector. A
    cancelled read ends all of them; only what is buffered comes before it.
    """
    chunks = response.aiter_raw()
    try:
        yield chunks
    finally:
        with trio.CancelScope(shield=True) as scope, suppress(Exception):
            scope.cancel()
            async for _ in chunks:
                pass
