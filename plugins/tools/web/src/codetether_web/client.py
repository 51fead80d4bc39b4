"""httpx as it is used here: loaded without what is of no use, and read so that leaving ends it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import httpx


def load_httpx() -> None:
    """Load httpx without what is not used here and comes where it is installed: its command line with click and rich
    (50 ms, 6 MB), and HTTP/2 (40 ms).
    """
    with _without("httpx._main", "h2"):
        import httpcore  # noqa: F401 - httpx would load it with the first client
        import httpx  # noqa: F401


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """What is imported inside finds the modules `names` missing, unless they are loaded already."""
    left_out = [name for name in names if name not in sys.modules]
    for name in left_out:
        sys.modules[name] = None  # type: ignore[assignment]  # so Python is told that it cannot be had
    try:
        yield
    finally:
        for name in left_out:
            sys.modules.pop(name, None)


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
