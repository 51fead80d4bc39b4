"""The base of provider plugins: a class attribute here, a data file there, and the rest is done."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from codetether.api import (
    CodetetherError,
    ModelInfo,
    Provider,
    ProviderStatus,
    Request,
    SecretMissing,
    Secrets,
    StreamEvent,
)

from codetether_wire.catalogue import Catalogue, Traits, listed_models
from codetether_wire.dialect import Dialect, Outgoing
from codetether_wire.endpoint import Endpoint, endpoint_from_secret
from codetether_wire.gate import Gate
from codetether_wire.settings import WireSettings

LISTING_SECONDS = 10.0


class WireProvider(Provider):
    """A vendor reached by HTTP. A plugin sets `base_url` and puts `models.json` beside its module; it overrides
    `dialect_for`, `headers`, `endpoint`, `signed`, `listing` or `listed` where its vendor differs.

    `auth` is the header line the key goes in; `organization` the header of the secret's `organization` ("" when
    the vendor knows none: then it is sent to nobody); `models_path` what is asked for the list of models ("" when the
    vendor has none).
    """

    Settings: ClassVar[type[msgspec.Struct]] = WireSettings
    base_url: ClassVar[str] = ""
    auth: ClassVar[str] = "Authorization: Bearer {key}"
    organization: ClassVar[str] = ""
    models_path: ClassVar[str] = "/models"

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self.gate = Gate()
        self._traits: dict[str, Traits] = {}
        self._known: dict[str, ModelInfo] = {}

    # --- what a plugin may override ---
    def dialect_for(self, model: str) -> Dialect:
        """The language `model` is spoken to in; by its Traits when not overridden."""
        return _responses() if self.traits(model).dialect == "responses" else _chat()

    def headers(self, request: Request) -> Mapping[str, str]:
        """Headers this request needs beside the endpoint's."""
        return {}

    async def endpoint(self, model: str, *, fresh: bool = False) -> Endpoint:
        """Where requests for `model` go. `fresh`: what was read before was refused; read it again.

        Raises CodetetherError (SecretMissing) with what to do.
        """
        secret = await self.secret(fresh=fresh)
        return endpoint_from_secret(
            secret,
            provider=self.name,
            base_url=self.base_url,
            auth=self.auth,
            organization=self.organization,
            redact=self.kernel.redact,
        )

    async def signed(
        self, endpoint: Endpoint, outgoing: Outgoing, method: str = "POST"
    ) -> Outgoing:
        """The request with what proves who sends it, for vendors that want each one signed. Raises CodetetherError."""
        return outgoing

    async def listing(self, endpoint: Endpoint) -> list[ModelInfo]:
        """What the vendor lists now. Raises CodetetherError, or anything for an answer that cannot be read."""
        return self.listed(await self.fetch(endpoint, self.models_path))

    def listed(self, document: Any) -> list[ModelInfo]:
        """The models in the vendor's answer to `models_path`. May raise anything for an answer it cannot read."""
        return listed_models(document, self.name)

    # --- the port ---
    async def status(self) -> ProviderStatus:
        """Usable when the secret is there and can be sent. Nothing is asked of the vendor."""
        try:
            await self.endpoint("")
        except CodetetherError as exc:
            return ProviderStatus(
                usable=False, model=self.default_model, why=exc.message, hint=exc.hint
            )
        return ProviderStatus(usable=True, model=self.default_model)

    async def models(self) -> Sequence[ModelInfo]:
        """The vendor's list (kept on disk for a day) with the facts of models.json; without a key or a network, an older
        list or models.json alone. Raises CodetetherError when there is none of these.
        """
        try:
            listed = await self._listing()
        except CodetetherError:
            found = self.catalogue.merged(self.catalogue.remembered(stale=True))
            if not found:
                raise
            return found
        return self.catalogue.merged(listed)

    async def model(self, model_id: str) -> ModelInfo:
        """Facts from models.json and the list on disk; the vendor is not asked."""
        return self.known(model_id)

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[StreamEvent]]:
        """The answer as it comes; see Provider.stream."""
        from codetether_wire.answer import Answer

        return aclosing(Answer(self, request).events())

    async def aclose(self) -> None:
        """Close the connections. The kernel calls this at its end."""
        from codetether_wire.pool import pool_of

        await pool_of(self.kernel).aclose()

    # --- facts ---
    @cached_property
    def catalogue(self) -> Catalogue:
        """models.json beside the plugin's module, and the list on disk."""
        module = sys.modules[type(self).__module__].__file__
        data = Path(module).with_name("models.json") if module else None
        return Catalogue.load(
            self.name, data, Path(self.kernel.dirs.cache) / "models" / f"{self.name}.json"
        )

    @property
    def default_model(self) -> str:
        """The model used when none is named."""
        return self.catalogue.data.default

    def known(self, model_id: str) -> ModelInfo:
        """Facts about a model without asking anyone."""
        found = self._known.get(model_id)
        if found is None:
            found = self.catalogue.info(model_id, self._on_disk.get(model_id))
            self._known[model_id] = found
        return found

    def traits(self, model_id: str) -> Traits:
        """How to ask a model, with what was learnt from its refusals. One that cannot see is sent no pictures."""
        traits = self._traits.get(model_id)
        if traits is None:
            traits = self._traits[model_id] = self.catalogue.traits(model_id)
        blind = traits.images and self.known(model_id).images is False
        return msgspec.structs.replace(traits, images=False) if blind else traits

    def adapt(self, model_id: str, message: str) -> bool:
        """Learn from a refusal. True when the request would now be another."""
        changed = self.dialect_for(model_id).adapt(self.traits(model_id), message)
        if changed is not None:
            self._traits[model_id] = changed
        return changed is not None

    @cached_property
    def _on_disk(self) -> dict[str, ModelInfo]:
        remembered = self.catalogue.remembered(stale=True) or []
        return {model.id: model for model in remembered}

    async def _listing(self) -> list[ModelInfo] | None:
        if not self.models_path:
            return None
        endpoint = await self.endpoint("")
        remembered = self.catalogue.remembered(endpoint.base_url)
        if remembered is not None:
            return remembered
        try:
            models = await self.listing(endpoint)
        except (TypeError, ValueError, KeyError, AttributeError) as exc:
            raise CodetetherError(
                f"{self.name}: its list of models cannot be read ({exc})"
            ) from exc
        self.catalogue.remember(endpoint.base_url, models)
        self.__dict__.pop("_on_disk", None)
        self._known.clear()
        return models

    async def fetch(
        self, endpoint: Endpoint, path: str, *, seconds: float = LISTING_SECONDS, post: Any = None
    ) -> Any:
        """The JSON at `path`, asked for once (POSTed when `post` is given). Raises CodetetherError."""
        from codetether_wire.fetch import fetch_json

        body = b"" if post is None else msgspec.json.encode(post)
        outgoing = Outgoing(path, body)
        return await fetch_json(
            self, endpoint, outgoing, "GET" if post is None else "POST", seconds
        )

    # --- secrets ---
    @property
    def key_hint(self) -> str:
        """What to do about a key that is missing or refused."""
        return f"store a valid key with: codetether auth login {self.name}"

    async def secret(self, *, fresh: bool = False) -> Mapping[str, Any]:
        """The secret document. Raises CodetetherError (SecretMissing) with what to do."""
        secrets: Secrets | None = self.kernel.secrets()
        if secrets is None:
            raise SecretMissing(
                f"{self.name} needs a key and no place for secrets is set up",
                "run: codetether vault up",
            )
        if fresh:
            secrets.forget(self.name)
        return await secrets.get(self.name)

    async def renewed(self) -> bool:
        """Whether reading the secret again after a refusal can help."""
        return self.kernel.secrets() is not None

    def redacted(self, text: str) -> str:
        """`text` without secrets."""
        told: str = self.kernel.redact.text(text)
        return told


def _chat() -> Dialect:
    from codetether_wire.chat import ChatDialect

    return ChatDialect()


def _responses() -> Dialect:
    from codetether_wire.responses import ResponsesDialect

    return ResponsesDialect()
