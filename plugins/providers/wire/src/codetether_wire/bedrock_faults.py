"""Bedrock's refusals: an exception with a name, in the header of an HTTP error or inside the stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from codetether_wire.faults import WireFault, classify
from codetether_wire.waits import retry_after

# name of the exception, in lower case without the word "exception": (kind, may the same request be sent again)
_KINDS: dict[str, tuple[str, bool]] = {
    "throttling": ("rate_limit", True),
    "toomanyrequests": ("rate_limit", True),
    "servicequotaexceeded": ("rate_limit", False),
    "serviceunavailable": ("overloaded", True),
    "internalserver": ("overloaded", True),
    "internalfailure": ("overloaded", True),
    "modelstreamerror": ("overloaded", True),
    "modelerror": ("overloaded", True),
    "modelnotready": ("overloaded", True),
    "modeltimeout": ("timeout", True),
    "requesttimeout": ("timeout", True),
    "accessdenied": ("auth", False),
    "unrecognizedclient": ("auth", False),
    "invalidsignature": ("auth", False),
    "incompletesignature": ("auth", False),
    "missingauthenticationtoken": ("auth", False),
    "invalidclienttokenid": ("auth", False),
    "expiredtoken": ("auth", False),
    "requestexpired": ("auth", False),
    "optinrequired": ("auth", False),
}
_HINTS = (
    ("on-demand throughput", "name an inference profile, such as us. or eu. before the model's id: codetether models"),
    ("model access", "ask for access to this model in the Bedrock console"),
    ("access to the model", "ask for access to this model in the Bedrock console"),
    ("not authorized to perform", "the key's policy must allow bedrock:InvokeModelWithResponseStream"),
    ("signature expired", "is the clock of this machine right?"),
    ("signature not yet current", "is the clock of this machine right?"),
    ("model identifier is invalid", "is the model's name right for this region? see: codetether models"),
)  # fmt: skip


def refused(status: int, body: bytes, headers: Mapping[str, str]) -> WireFault | None:
    """The fault of an HTTP error; None when no exception is named."""
    name = headers.get("x-amzn-errortype", "").partition(":")[0]
    document = _decoded(body)
    if not name and isinstance(document, Mapping):
        name = str(document.get("__type") or "").rpartition("#")[2]
    return fault_named(name, body, status, headers) if name else None


def fault_named(
    name: str, body: bytes, status: int = 0, headers: Mapping[str, str] | None = None
) -> WireFault:
    """The fault for an exception called `name`; `body` is its JSON."""
    document = _decoded(body)
    message, original = "", 0
    if isinstance(document, Mapping):
        message = str(document.get("message") or document.get("Message") or "")
        if document.get("originalMessage"):
            message = f"{message} {document['originalMessage']}".strip()
        if isinstance(document.get("originalStatusCode"), int):
            original = document["originalStatusCode"]
    told = message or name or f"HTTP {status}"
    hint = next((hint for words, hint in _HINTS if words in message.lower()), "")
    more: dict[str, Any] = {
        "status": status or original,
        "retry_after": retry_after(headers or {}),
        "hint": hint,
    }
    key = name.lower().removesuffix("exception")
    known = _KINDS.get(key) or _KINDS.get(key.removesuffix("error"))
    if known is not None:
        return WireFault.of(known[0], told, retry=known[1], **more)
    # A request that is too long is a ValidationException like any other mistake: its words decide.
    found = classify(status or 400, told, name, headers)
    if hint:
        return WireFault(msgspec.structs.replace(found.fault, hint=hint), retry=found.retry)
    return found


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
