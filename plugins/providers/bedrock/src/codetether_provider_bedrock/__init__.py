"""Models on Amazon Bedrock, by the Converse API: with a Bedrock API key, or with requests signed by an access key."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import CodetetherError, ModelInfo
from codetether_wire import (
    Catalogue,
    Dialect,
    Endpoint,
    Outgoing,
    WireProvider,
    endpoint_from_secret,
)
from codetether_wire.endpoint import address, check_headers, extra_headers

from codetether_provider_bedrock.naming import BedrockCatalogue, wire_id

if TYPE_CHECKING:
    from codetether_provider_bedrock.aws import Credentials

REGION = "us-east-1"


class Bedrock(WireProvider):
    """The secret holds `api_key`, or `access_key_id` and `secret_access_key` (and `session_token`); `region` says where
    (us-east-1). `base_url` is another address of the runtime, such as that of a VPC endpoint.
    """

    api = 1
    models_path = "/foundation-models"

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self._region = REGION
        self._credentials: Credentials | None = None

    def dialect_for(self, model: str) -> Dialect:
        """Converse, whatever the model."""
        from codetether_wire import ConverseDialect

        from codetether_provider_bedrock.aws import EventStream

        return ConverseDialect(EventStream, self.wire_id)

    def wire_id(self, model: str) -> str:
        """The id AWS knows a model by: an alias is looked up, an id stays as it is."""
        return wire_id(model, self._region, self._on_disk)

    # --- where, and who we are ---
    async def endpoint(self, model: str, *, fresh: bool = False) -> Endpoint:
        """The runtime of the secret's region. Raises CodetetherError when the secret lacks a key."""
        secret = await self.secret(fresh=fresh)
        self._region = _region(secret)
        base_url = str(secret.get("base_url") or _host("bedrock-runtime", self._region))
        if str(secret.get("api_key") or "").strip():
            self._credentials = None
            return endpoint_from_secret(
                secret, provider=self.name, base_url=base_url, redact=self.kernel.redact
            )
        self._credentials = self._access_key(secret)
        headers = extra_headers(secret.get("headers"), self.name)
        check_headers(headers, self.name, self.kernel.redact)
        return Endpoint(address(base_url), headers)

    def _access_key(self, secret: Mapping[str, Any]) -> Credentials:
        from codetether_provider_bedrock.aws import Credentials

        names = ("access_key_id", "secret_access_key", "session_token")
        access, private, token = (str(secret.get(name) or "").strip() for name in names)
        if not access or not private:
            raise CodetetherError(
                f"the secret of {self.name} has neither api_key nor access_key_id with secret_access_key",
                f"store it with: codetether auth login {self.name}",
            )
        if not (access + private + token).isascii() or not (access + private + token).isprintable():
            raise CodetetherError(
                f"the secret of {self.name} cannot be sent: it holds unprintable characters"
            )
        for value in (access, private, token):
            if value:
                self.kernel.redact.add(value)
        return Credentials(access, private, token or None)

    async def signed(
        self, endpoint: Endpoint, outgoing: Outgoing, method: str = "POST"
    ) -> Outgoing:
        """The request signed, when there is no API key. botocore is loaded here, beside the event loop."""
        from codetether_provider_bedrock.aws import load, signature

        signer = self._credentials is not None
        if ("botocore.auth" if signer else "botocore.eventstream") not in sys.modules:
            await trio.to_thread.run_sync(partial(load, signer=signer))
        if self._credentials is None:
            return outgoing
        url = endpoint.base_url + outgoing.path
        proof = signature(method, url, outgoing.body, self._credentials, self._region)
        return msgspec.structs.replace(outgoing, headers={**outgoing.headers, **proof})

    # --- what there is ---
    @cached_property
    def catalogue(self) -> Catalogue:
        """models.json, whose facts hold for every name of a model."""
        data = Path(sys.modules[__name__].__file__ or "").with_name("models.json")
        kept = Path(self.kernel.dirs.cache) / "models" / f"{self.name}.json"
        return BedrockCatalogue.load(self.name, data, kept)

    async def listing(self, endpoint: Endpoint) -> list[ModelInfo]:
        """Two questions to the control plane, which has an address of its own."""
        from codetether_provider_bedrock.listing import MODELS_PATH, PROFILES_PATH, listed

        control = msgspec.structs.replace(
            endpoint, base_url=endpoint.base_url.replace("//bedrock-runtime", "//bedrock", 1)
        )
        models = await self.fetch(control, MODELS_PATH)
        profiles = await self.fetch(control, PROFILES_PATH)
        return listed(models, profiles, self.name)


def _region(secret: Mapping[str, Any]) -> str:
    region = str(secret.get("region") or REGION).strip()
    if not re.fullmatch(r"[a-z]{2,4}(-[a-z]+)+-\d+", region):
        raise CodetetherError(
            f"the secret of bedrock names a region that is not an AWS region: {region[:60]!r}",
            "write it as us-east-1",
        )
    return region


def _host(service: str, region: str) -> str:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{service}.{region}.{domain}"
