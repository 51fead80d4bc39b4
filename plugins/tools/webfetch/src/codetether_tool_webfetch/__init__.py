"""The tool `webfetch`: one public web page, readable and bounded, marked as what it is: somebody else's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from codetether_web import Page

    from codetether_tool_webfetch.document import Document, Shelf

MOST = 50_000  # characters of one answer; what a toolbox lets through is 64 KiB


class Params(Struct):
    """Which page, and which part of it."""

    url: Annotated[str, Meta(description="Full http or https URL")]
    format: Annotated[
        Literal["markdown", "text", "raw"],
        Meta(description="raw is the source as sent, such as HTML"),
    ] = "markdown"
    section: Annotated[str, Meta(description="Only the part below this heading")] = ""
    offset: Annotated[int, Meta(ge=0, description="Character to begin at")] = 0
    limit: Annotated[int, Meta(ge=1, le=MOST, description="Characters at most")] = 20_000


class WebFetchSettings(Struct, frozen=True):
    """What may be fetched beyond the public web."""

    private_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Hosts, as host or host:port, that may be on loopback or a private network"
        ),
    ] = ()
    ports: Annotated[
        tuple[int, ...], Meta(description="Ports that may be asked besides 80 and 443")
    ] = ()


class WebFetch(Tool[Params]):
    """Fetches over codetether_web; remembers the last pages of a session, so that paging asks nobody twice."""

    api = 1
    Settings = WebFetchSettings
    params = Params
    effect = Effect.NETWORK

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The page. Raises ToolError: INVALID_ARGUMENT, NOT_FOUND, DENIED, TIMEOUT, EXECUTION_FAILED. A redirect to
        another site is a new call of this tool, so that rules and the person are asked about that address.
        """
        from codetether_tool_webfetch.document import Shelf

        shelf: Shelf = ctx.session.state.setdefault(self.key, Shelf())
        document = shelf.get(params.url)
        if document is None:
            page = await self._page(params.url)
            if page.moved:
                ctx.session.moved(params.url, page.moved)
                return await ctx.call(self.name, _onward(params, page.moved))
            document = await _read(page)
            shelf.put(params.url, document)
        return await _told(document, params)

    async def _page(self, url: str) -> Page:
        from codetether_web import Policy, fetch

        settings = self.settings
        policy = Policy(settings.private_hosts, settings.ports)
        page = await fetch(url, policy, same_site=True)
        if not page.moved and not 200 <= page.status < 300:
            raise ToolError(f"HTTP {page.status} from {page.url}", status=page.status)
        return page


def _onward(params: Params, url: str) -> dict[str, object]:
    return {
        "url": url,
        "format": params.format,
        "section": params.section,
        "offset": params.offset,
        "limit": params.limit,
    }


async def _read(page: Page) -> Document:
    from codetether_web import body_of

    from codetether_tool_webfetch.document import Document

    body = body_of(page)
    if body.kind == "pdf":
        raise ToolError(
            f"{page.url} is a PDF, which is not read here. Look for an HTML version of it."
        )
    if body.kind == "binary":
        size = f"{'more than ' * (page.cut == 'size')}{len(page.body)} bytes"
        raise ToolError(f"{page.url} is {body.mime or 'binary data'}, {size}: not text, not shown.")
    return Document(page.url, body.kind, body.mime, body.text, page.cut)


async def _told(document: Document, params: Params) -> ToolOutput:
    from codetether_web import labelled

    from codetether_tool_webfetch.parts import part

    text = await document.as_format(params.format)
    if params.section:
        text = _section(text, params.section, document.url)
    shown, end = part(text, params.offset, params.limit)
    notes = [f"[characters {params.offset} to {end} of {len(text)}]"]
    if end < len(text):
        notes = [f"[characters {params.offset} to {end} of {len(text)}; go on with offset={end}]"]
    if document.cut:
        notes.append(f"[the page is incomplete: {_CUTS[document.cut]}]")
    return ToolOutput(
        "\n".join([labelled(shown or "(no text)", document.url), *notes]),
        summary=f"{len(text)} characters",
        meta={
            "url": document.url,
            "mime": document.mime,
            "characters": len(text),
            "shown": end - params.offset,
            "truncated": end < len(text) or bool(document.cut),
        },
    )


def _section(text: str, wanted: str, url: str) -> str:
    from codetether_web import labelled

    from codetether_tool_webfetch.parts import headings, section_of

    found = section_of(text, wanted)
    if found is None:
        there = labelled(headings(text), url)
        raise ToolError(f"No heading says that. The headings of the page:\n{there}", "NOT_FOUND")
    return found


_CUTS = {
    "size": "it is larger than what is read",
    "time": "it did not all come in time",
    "connection": "the connection broke",
}
