"""The tool `websearch`: a query to one search service, its answer as a short list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from codetether.api import (
    CodetetherError,
    Effect,
    SecretMissing,
    Tool,
    ToolContext,
    ToolError,
    ToolOutput,
)
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from codetether_tool_websearch.services import Hit, Service

SETUP = (
    "A person can set a service up: a key with `codetether auth login brave --force --no-test` (or tavily), or a "
    'SearXNG server as base_url in the settings [plugins."tools:websearch"].'
)


class Params(Struct):
    """What to look for."""

    query: Annotated[str, Meta(min_length=1, max_length=400, description="Words to search for")]
    max_results: Annotated[int, Meta(ge=1, le=20, description="Results at most")] = 5


class WebSearchSettings(Struct, frozen=True):
    """Which service is asked."""

    service: Annotated[
        Literal["auto", "searxng", "brave", "tavily", "duckduckgo"],
        Meta(
            description="auto: the first of searxng, brave and tavily that is set up, else duckduckgo"
        ),
    ] = "auto"
    base_url: Annotated[
        str, Meta(description="Address of a SearXNG server that answers JSON; may be private")
    ] = ""


class WebSearch(Tool[Params]):
    """Asks one service: a query is never sent to a second one because the first failed."""

    api = 1
    Settings = WebSearchSettings
    params = Params
    effect = Effect.NETWORK

    def title(self, params: Params) -> str:
        """The tool and the query."""
        return f"{self.name} {params.query}"

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The hits. Raises ToolError: INVALID_ARGUMENT, TIMEOUT, EXECUTION_FAILED with how to set a service up."""
        from codetether_web import labelled

        query = " ".join(params.query.split())
        if not query:
            raise ToolError("The query is empty.", "INVALID_ARGUMENT")
        service = await self._service()
        try:
            hits = (await service.search(query, params.max_results))[: params.max_results]
        except ToolError as error:
            raise ToolError(f"{service.name}: {error.text}\n{SETUP}", error.code) from None
        text = labelled(_listed(hits), service.name) if hits else f"No results ({service.name})."
        return ToolOutput(
            text,
            summary=f"{len(hits)} {'result' if len(hits) == 1 else 'results'} ({service.name})",
            meta={"count": len(hits), "service": service.name},
        )

    async def _service(self) -> Service:
        from codetether_tool_websearch import services

        settings = self.settings
        wanted = settings.service
        if wanted == "searxng" and not settings.base_url:
            raise ToolError(f"searxng: no base_url is set.\n{SETUP}")
        if settings.base_url and wanted in ("auto", "searxng"):
            return services.SearXng(settings.base_url)
        for name, cls in (("brave", services.Brave), ("tavily", services.Tavily)):
            if wanted in ("auto", name) and (key := await self._key(name, needed=wanted == name)):
                return cls(key)
        return services.DuckDuckGo()

    async def _key(self, name: str, *, needed: bool) -> str:
        """The service's key, or nothing where none is kept and none is needed."""
        secrets = self.kernel.secrets()
        try:
            if secrets is not None and (needed or await secrets.configured()):
                document = await secrets.get(name)
                if key := str(document.get("api_key") or ""):
                    return key
        except SecretMissing:
            pass
        except CodetetherError as error:
            raise ToolError(f"{name}: its key cannot be read: {error.message}") from None
        if needed:
            raise ToolError(f"{name}: there is no key for it.\n{SETUP}")
        return ""


def _listed(hits: list[Hit]) -> str:
    from codetether.api import one_line

    return "\n".join(
        f"{number}. {one_line(hit.title, 200)}\n   {one_line(hit.url)}"
        + (f"\n   {one_line(hit.snippet, 400)}" if hit.snippet else "")
        for number, hit in enumerate(hits, 1)
    )
