"""Results from DuckDuckGo's page for browsers without scripts."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Literal
from urllib.parse import parse_qs, urljoin, urlsplit

BASE = "https://html.duckduckgo.com/html/"
PAGE = 1_000_000
_NONE = 'class="no-results"'
_BLOCKED = ("anomaly-modal", "challenge-form", "anomaly.js")


def read_page(html: str) -> list[tuple[str, str, str]] | None:
    """Title, address and snippet of each result, without advertisements; None when it is no page of results."""
    if any(sign in html for sign in _BLOCKED):
        return None
    reader = _Reader()
    reader.feed(html[:PAGE])
    reader.close()
    if reader.found:
        return [
            (title.strip(), url, snippet.strip())
            for title, url, snippet in map(tuple, reader.found)
            if url
        ]
    return [] if _NONE in html or "No results." in html else None


def target(href: str) -> str:
    """Where a result's link leads in the end; empty for an advertisement or anything but a web address."""
    parts = urlsplit(urljoin(BASE, href))
    if parts.hostname and (
        parts.hostname == "duckduckgo.com" or parts.hostname.endswith(".duckduckgo.com")
    ):
        if parts.path.rstrip("/") != "/l":
            return ""
        href = parse_qs(parts.query).get("uddg", [""])[0]
        parts = urlsplit(href)
        if parts.hostname and parts.hostname.endswith("duckduckgo.com"):
            return ""
    return parts.geturl() if parts.scheme in ("http", "https") and parts.hostname else ""


class _Reader(HTMLParser):
    """Collects the links marked as a result's title and the text marked as its snippet."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[list[str]] = []
        self._into: Literal[0, 2] | None = None
        self._tag = ""
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        classes = (values.get("class") or "").split()
        if "result__a" in classes:
            try:
                url = target(values.get("href") or "")
            except ValueError:
                url = ""
            self.found.append(["", url, ""])
            self._begin(0, tag)
        elif "result__snippet" in classes and self.found:
            self._begin(2, tag)
        elif self._into is not None and tag == self._tag:
            self._depth += 1

    def handle_endtag(self, tag: str) -> None:
        if self._into is not None and tag == self._tag:
            self._depth -= 1
            if not self._depth:
                self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self.found[-1][self._into] += data

    def _begin(self, into: Literal[0, 2], tag: str) -> None:
        self._into, self._tag, self._depth = into, tag, 1
