"""What providers share: connections, event streams, retries, and the dialects vendors speak.

A provider plugin is a class of a few lines over `WireProvider`, a `models.json`, and a dialect. Names load on first
use; what speaks HTTP loads with the first request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_wire.anthropic_messages import AnthropicDialect
    from codetether_wire.anthropic_provider import AnthropicProvider
    from codetether_wire.bedrock import ConverseDialect
    from codetether_wire.bedrock_stream import Frame
    from codetether_wire.body import Inflater, read_bounded
    from codetether_wire.catalogue import Catalogue, Entry, Traits
    from codetether_wire.chat import ChatDialect
    from codetether_wire.connection import Broken, NetworkError, NotReached, Response, Unsendable
    from codetether_wire.dialect import Decoder, Dialect, Outgoing, SseDecoder
    from codetether_wire.endpoint import Endpoint, endpoint_from_secret
    from codetether_wire.faults import WireFault, classify, excerpt
    from codetether_wire.gate import Gate
    from codetether_wire.google import GoogleDialect
    from codetether_wire.pool import Pool, pool_of
    from codetether_wire.provider import WireProvider
    from codetether_wire.responses import ResponsesDialect
    from codetether_wire.settings import WireSettings
    from codetether_wire.sse import Event, SseParser
    from codetether_wire.waits import retry_after

_WHERE = {
    "anthropic_messages": "AnthropicDialect",
    "anthropic_provider": "AnthropicProvider",
    "bedrock": "ConverseDialect",
    "bedrock_stream": "Frame",
    "body": "Inflater read_bounded",
    "catalogue": "Catalogue Entry Traits",
    "chat": "ChatDialect",
    "connection": "Broken NetworkError NotReached Response Unsendable",
    "dialect": "Decoder Dialect Outgoing SseDecoder",
    "endpoint": "Endpoint endpoint_from_secret",
    "faults": "WireFault classify excerpt",
    "gate": "Gate",
    "google": "GoogleDialect",
    "pool": "Pool pool_of",
    "provider": "WireProvider",
    "responses": "ResponsesDialect",
    "waits": "retry_after",
    "settings": "WireSettings",
    "sse": "Event SseParser",
}

__all__ = [
    "AnthropicDialect",
    "AnthropicProvider",
    "Broken",
    "Catalogue",
    "ChatDialect",
    "ConverseDialect",
    "Decoder",
    "Dialect",
    "Endpoint",
    "Entry",
    "Event",
    "Frame",
    "Gate",
    "GoogleDialect",
    "Inflater",
    "NetworkError",
    "NotReached",
    "Outgoing",
    "Pool",
    "Response",
    "ResponsesDialect",
    "SseDecoder",
    "SseParser",
    "Traits",
    "Unsendable",
    "WireFault",
    "WireProvider",
    "WireSettings",
    "classify",
    "endpoint_from_secret",
    "excerpt",
    "pool_of",
    "read_bounded",
    "retry_after",
]

__getattr__ = lazy(globals(), _WHERE)
