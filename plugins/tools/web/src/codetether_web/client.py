"""httpx as it is used here: loaded without what is of no use, and read so that leaving ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from codetether_wire.loading import without

if TYPE_CHECKING:
    import httpx


def load_httpx() -> None:
    """Load httpx without what is not used here and comes where it is installed: its command line with click and rich
    (50 ms, 6 MB), and HTTP/2 (40 ms).
    """
    with without("httpx._main", "h2"):
        import httpcore  # noqa: F401 - httpx would load it with the first client
        import httpx  # noqa: F401


@asynccontextmanager
async def raw_chunks(response: httpx.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body's bytes as they come, still packed. Leaving ends the reading at once, however far it got."""
    chunks = response.aiter_raw()
    try:
        yield chunks
    finally:
        from codetether_wire.connection import abandon

        await abandon(chunks)
