"""A small JSON document from a provider's server: model lists and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import CodetetherError

from codetether_wire.body import BODY_LIMIT, read_bounded
from codetether_wire.dialect import Outgoing
from codetether_wire.endpoint import Endpoint
from codetether_wire.exchange import Deadlines, check_status, opened, wrong_type
from codetether_wire.faults import WireFault, excerpt
from codetether_wire.pool import pool_of

if TYPE_CHECKING:
    from codetether_wire.provider import WireProvider


async def fetch_json(
    provider: WireProvider, endpoint: Endpoint, outgoing: Outgoing, method: str, seconds: float
) -> Any:
    """The decoded answer. Raises CodetetherError, redacted, on any failure; never retries."""
    pool, trust_env = pool_of(provider.kernel), provider.settings.trust_env
    try:
        deadlines = Deadlines(seconds, trio.current_time() + seconds)
        outgoing = await provider.signed(endpoint, outgoing, method)
        async with opened(
            pool,
            endpoint,
            outgoing,
            deadlines,
            method=method,
            connect=seconds,
            trust_env=trust_env,
        ) as response:
            await check_status(response, deadlines)
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind and "json" not in kind and kind != "text/plain":
                await wrong_type(response, kind)
            body = b""
            with deadlines.scope() as scope:
                body = await read_bounded(response, BODY_LIMIT)
            if scope.cancelled_caught:
                raise deadlines.fault()
            return msgspec.json.decode(body)
    except WireFault as exc:
        message = excerpt(provider.redacted(f"{provider.name}: {exc.fault.message}"))
        raise CodetetherError(message, exc.fault.hint) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise CodetetherError(f"{provider.name}: the answer is not JSON ({exc})") from exc
