"""A fetched page in the forms that were asked for, and the few that a session remembers."""

from __future__ import annotations

from collections import OrderedDict

import msgspec
import trio

from codetether_tool_webfetch.markdown import to_markdown, to_text

FRESH = 900.0  # seconds a page is shown again without asking for it
PAGES = 8
CHARACTERS = 10_000_000


class Document(msgspec.Struct):
    """`text` is the page as it was sent; `kind` html or text. Other forms are made when first asked for."""

    url: str
    kind: str
    mime: str
    text: str
    cut: str = ""
    forms: dict[str, str] = {}

    async def as_format(self, form: str) -> str:
        """The page as `markdown`, `text` or `raw`. Converting runs in a thread that a cancelled call leaves behind."""
        if form == "raw" or self.kind != "html":
            return self.text
        if form not in self.forms:
            convert = to_text if form == "text" else to_markdown
            self.forms[form] = await trio.to_thread.run_sync(
                convert, self.text, self.url, abandon_on_cancel=True
            )
        return self.forms[form]

    @property
    def size(self) -> int:
        """Characters held."""
        return len(self.text) + sum(map(len, self.forms.values()))


class Shelf:
    """The last pages of a session, by the address asked for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[float, Document]] = OrderedDict()

    def get(self, url: str) -> Document | None:
        """The page, unless it is too old."""
        since, document = self._kept.get(url, (0.0, None))
        return document if document and trio.current_time() - since < FRESH else None

    def put(self, url: str, document: Document) -> None:
        """Keep a whole page; the oldest make room. What came incomplete is asked for again."""
        if document.cut in ("time", "connection"):
            return
        self._kept.pop(url, None)
        self._kept[url] = (trio.current_time(), document)
        while len(self._kept) > 1 and (len(self._kept) > PAGES or self._size() > CHARACTERS):
            self._kept.popitem(last=False)

    def _size(self) -> int:
        return sum(document.size for _, document in self._kept.values())
