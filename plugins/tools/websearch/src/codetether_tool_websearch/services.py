"""Search services: each turns words into hits. A new one is a class with `name` and `search`."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol
from urllib.parse import urlencode

import msgspec
import trio
from codetether.api import ToolError
from codetether_web import Page, Policy, body_of, fetch

from codetether_tool_websearch.duckduckgo import read_page

SECONDS = 15.0
BYTES = 2_000_000


class Hit(msgspec.Struct, frozen=True):
    """One result; all of it is the words of strangers."""

    title: str
    url: str
    snippet: str = ""


class Service(Protocol):
    """What the tool needs of a search service."""

    name: ClassVar[str]

    async def search(self, query: str, count: int) -> list[Hit]:
        """About `count` hits, best first. Raises ToolError."""


class _Json:
    name: ClassVar[str]

    async def _json(self, url: str, policy: Policy | None = None, **how: Any) -> Any:
        page = await fetch(
            url, policy or Policy(), redirects=0, seconds=SECONDS, limit=BYTES, **how
        )
        _check(page)
        try:
            return msgspec.json.decode(page.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ToolError("The answer is not JSON.") from None


class SearXng(_Json):
    """A SearXNG server, which must allow the format json. Its address is a person's setting, so it may be private."""

    name = "searxng"

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")

    async def search(self, query: str, count: int) -> list[Hit]:
        """The server's own first page."""
        from codetether_web.policy import parse, port_of

        where = parse(self.base_url)
        policy = Policy((f"{_bracketed(where.raw_host.decode())}:{port_of(where)}",))
        words = urlencode({"q": query, "format": "json"})
        answer = await self._json(f"{self.base_url}/search?{words}", policy)
        return _hits(_at(answer, "results"), "content")


class Brave(_Json):
    """Brave's search interface, with a key."""

    name = "brave"
    address: ClassVar[str] = "https://api.search.brave.com/res/v1/web/search"
    policy: ClassVar[Policy] = Policy()

    def __init__(self, key: str) -> None:
        self._key = key

    async def search(self, query: str, count: int) -> list[Hit]:
        """Web results only."""
        words = urlencode({"q": query, "count": count, "text_decorations": "false"})
        answer = await self._json(
            f"{self.address}?{words}",
            self.policy,
            headers={"X-Subscription-Token": self._key, "Accept": "application/json"},
        )
        return _hits(_at(answer, "web", "results"), "description")


class Tavily(_Json):
    """Tavily's search interface, with a key."""

    name = "tavily"
    address: ClassVar[str] = "https://api.tavily.com/search"
    policy: ClassVar[Policy] = Policy()

    def __init__(self, key: str) -> None:
        self._key = key

    async def search(self, query: str, count: int) -> list[Hit]:
        """Plain results, no generated answer."""
        answer = await self._json(
            self.address,
            self.policy,
            method="POST",
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
            content=msgspec.json.encode({"query": query, "max_results": count}),
        )
        return _hits(_at(answer, "results"), "content")


class DuckDuckGo:
    """The page DuckDuckGo serves to browsers without scripts; it needs no key and refuses when asked often."""

    name: ClassVar[str] = "duckduckgo"
    address: ClassVar[str] = "https://html.duckduckgo.com/html/"
    policy: ClassVar[Policy] = Policy()

    async def search(self, query: str, count: int) -> list[Hit]:
        """The first page. A page that is no list of results is an error, never an empty list."""
        words = urlencode({"q": query})
        page = await fetch(
            f"{self.address}?{words}", self.policy, seconds=SECONDS, limit=BYTES, same_site=True
        )
        if page.status == 202 or page.moved:
            raise ToolError("It wants to see a person (too many searches from here).")
        _check(page)
        found = await trio.to_thread.run_sync(read_page, body_of(page).text, abandon_on_cancel=True)
        if found is None:
            raise ToolError("It answered with a page that holds no results (blocked, or changed).")
        return [Hit(*hit) for hit in found]


def _check(page: Page) -> None:
    if page.status in (401, 403):
        raise ToolError(f"HTTP {page.status}: the key was refused, or searching is not allowed.")
    if page.status == 429:
        raise ToolError("HTTP 429: too many searches, or the plan is used up.")
    if page.status != 200:
        raise ToolError(f"HTTP {page.status}.")
    if page.cut:
        raise ToolError(f"The answer is incomplete ({page.cut}).")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _at(answer: Any, *keys: str) -> list[Any]:
    for key in keys:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer if isinstance(answer, list) else []


def _hits(rows: list[Any], snippet: str) -> list[Hit]:
    return [
        Hit(str(row.get("title") or row["url"]), row["url"], str(row.get(snippet) or ""))
        for row in rows
        if isinstance(row, dict)
        and isinstance(row.get("url"), str)
        and row["url"].startswith(("http://", "https://"))
    ]
