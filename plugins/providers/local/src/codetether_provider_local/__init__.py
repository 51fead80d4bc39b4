"""A model server on this machine: found by itself, or named by a setting. Needs no key."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import trio
from codetether.api import CodetetherError, ModelInfo, ProviderStatus
from codetether_wire import Endpoint, Traits, WireProvider, WireSettings
from codetether_wire.endpoint import address, endpoint_from_secret, is_loopback
from msgspec import Meta

from codetether_provider_local.servers import FOUND_AT, PROBE_PATH, facts

PROBE_SECONDS = 0.15
REMOTE_SECONDS = 2.0
HINT = "start Ollama, llama.cpp's llama-server, LM Studio or vLLM, or set CODETETHER_LOCAL_BASE_URL to the server's address"


class LocalSettings(WireSettings, frozen=True):
    """Which servers, and more patience than for a vendor: reading a long prompt takes minutes on a small machine."""

    base_url: Annotated[
        str | list[str],
        Meta(
            description="Address of the server, or several; empty: those found on this machine",
            extra_json_schema={"env": "CODETETHER_LOCAL_BASE_URL"},
        ),
    ] = ""
    model: Annotated[str, Meta(description="Default model; empty: the first the server lists")] = ""
    idle_timeout: Annotated[
        float,
        Meta(gt=0, description="Seconds without anything meaningful before a call is given up"),
    ] = 600.0
    total_timeout: Annotated[
        float, Meta(gt=0, description="Seconds one model call may take in all")
    ] = 7200.0


class Server(msgspec.Struct, frozen=True):
    """A server that answered, and the models it lists, as its own rows."""

    base_url: str
    rows: dict[str, dict[str, Any]]


class Local(WireProvider):
    """Ollama, llama.cpp, LM Studio or vLLM. Only loopback addresses are tried unless `base_url` names others."""

    api = 1
    keyless = True
    Settings = LocalSettings
    found_at: Sequence[str] = FOUND_AT

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self._found: list[Server] | None = None
        self._looking = trio.Lock()
        self._told: dict[str, ModelInfo] = {}
        self._secret: Endpoint | None = None

    # --- where ---
    async def endpoint(self, model: str, *, fresh: bool = False) -> Endpoint:
        """The server that lists `model`. One address in the settings is used without asking it anything.

        Raises CodetetherError when no server is there.
        """
        named = self._named()
        url = named[0] if len(named) == 1 else (await self._server_of(model)).base_url
        return await self._with_key(url) if fresh else self._keyed(url)

    async def renewed(self) -> bool:
        """A server that wants a key gets the one stored under `local`, if there is one."""
        secrets = self.kernel.secrets()
        if secrets is None:
            return False
        try:
            return bool((await secrets.get(self.name)).get("api_key"))
        except CodetetherError:
            return False

    async def _with_key(self, url: str) -> Endpoint:
        secret = await self.secret(fresh=True)
        self._secret = endpoint_from_secret(
            secret, provider=self.name, base_url=url, redact=self.kernel.redact
        )
        return self._keyed(url)

    def _keyed(self, url: str) -> Endpoint:
        """The key goes to the address it is stored for, or to this machine; nowhere else."""
        known = self._secret
        if known is not None and (known.base_url == url or is_loopback(url)):
            return Endpoint(url, known.headers)
        return Endpoint(url, {})

    def _named(self) -> list[str]:
        given = self.settings.base_url
        urls = [given] if isinstance(given, str) else list(given)
        return [
            _with_version(address(part)) for url in urls for part in url.split(",") if part.strip()
        ]

    # --- what is there ---
    async def status(self) -> ProviderStatus:
        """Usable when a server answers and lists a model."""
        try:
            servers = await self.servers()
        except CodetetherError as exc:
            return ProviderStatus(usable=False, why=exc.message, hint=exc.hint)
        models = [model for server in servers for model in server.rows]
        if not models:
            asked = ", ".join(self._named())
            nobody = f"no server answers at {asked}" if asked else "no server answers"
            why = nobody if not servers else "the server has no model loaded"
            return ProviderStatus(
                usable=False, why=why, hint=HINT if not servers else "pull or load a model there"
            )
        chosen = self.settings.model or next((m for m in models if not _embeds(m)), models[0])
        return ProviderStatus(usable=True, model=chosen)

    async def models(self) -> Sequence[ModelInfo]:
        """Every model of every server, with what the servers tell about them. Raises CodetetherError without a server."""
        servers = await self.servers()
        if not servers:
            raise CodetetherError("no local model server answers", HINT)
        owner = {model: server for server in reversed(servers) for model in server.rows}
        wanted = list(dict.fromkeys(model for server in servers for model in server.rows))
        async with trio.open_nursery() as nursery:
            for model in wanted:
                nursery.start_soon(self._ask, owner[model], model)
        return [self._told[model] for model in wanted]

    async def model(self, model_id: str) -> ModelInfo:
        """Facts from the server that lists the model. With one address in the settings nothing is asked: the model is
        taken as named, its facts unknown until `models` was called.
        """
        if model_id not in self._told and len(self._named_or_none()) != 1:
            with suppress(CodetetherError):
                await self._ask(await self._server_of(model_id), model_id)
        return self._told.get(model_id) or ModelInfo(id=model_id, provider=self.name)

    def known(self, model_id: str) -> ModelInfo:
        """What was told so far."""
        return self._told.get(model_id) or ModelInfo(id=model_id, provider=self.name)

    def traits(self, model_id: str) -> Traits:
        """Pictures are sent unless the server said that the model cannot see."""
        traits = super().traits(model_id)
        blind = self.known(model_id).images is False
        return msgspec.structs.replace(traits, images=False) if blind else traits

    def _named_or_none(self) -> list[str]:
        try:
            return self._named()
        except CodetetherError:
            return []

    async def _ask(self, server: Server, model_id: str) -> None:
        if model_id not in self._told:
            row = server.rows.get(model_id, {"id": model_id})
            self._told[model_id] = await facts(
                self, self._keyed(server.base_url), row, self._patience(server.base_url)
            )

    # --- looking ---
    async def servers(self) -> list[Server]:
        """The servers that answer, asked once per process, all at the same time. Raises CodetetherError for an address
        in the settings that is not one.
        """
        async with self._looking:
            if not self._found:
                named = self._named()
                urls = named or list(self.found_at)
                answers: list[Server | None] = [None] * len(urls)
                async with trio.open_nursery() as nursery:
                    for place, url in enumerate(urls):
                        nursery.start_soon(self._probe, url, answers, place)
                self._found = [server for server in answers if server is not None]
            return self._found

    async def _probe(self, url: str, answers: list[Server | None], place: int) -> None:
        seconds = self._patience(url)
        try:
            document = await self.fetch(self._keyed(url), PROBE_PATH, seconds=seconds)
            rows = document["data"] if isinstance(document, dict) else None
            if isinstance(rows, list):
                models = {
                    str(row["id"]): row for row in rows if isinstance(row, dict) and row.get("id")
                }
                answers[place] = Server(url, models)
        except (CodetetherError, KeyError):
            return

    def _patience(self, url: str) -> float:
        return PROBE_SECONDS if is_loopback(url) else REMOTE_SECONDS

    async def _server_of(self, model: str) -> Server:
        servers = await self.servers()
        if not servers:
            raise CodetetherError("no local model server answers", HINT)
        return next((server for server in servers if model in server.rows), servers[0])


def _with_version(url: str) -> str:
    """`http://host:port` is what people copy; the dialect lives under /v1."""
    return url if url.partition("://")[2].partition("/")[2] else f"{url}/v1"


def _embeds(model: str) -> bool:
    return "embed" in model.lower()
