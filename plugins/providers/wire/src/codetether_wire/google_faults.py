"""Google's refusals: `{"error": {code, status, message, details}}`, alone or in a list, with or without HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from codetether_wire.faults import WireFault, classify, error_text
from codetether_wire.waits import retry_after

_BY_STATUS = {
    "UNAUTHENTICATED": "auth",
    "PERMISSION_DENIED": "auth",
    "RESOURCE_EXHAUSTED": "rate_limit",
    "UNAVAILABLE": "overloaded",
    "INTERNAL": "overloaded",
    "ABORTED": "overloaded",
    "DEADLINE_EXCEEDED": "timeout",
}
_RETRIED = frozenset({"rate_limit", "overloaded", "timeout"})
_PER_DAY = "a daily quota is used up: wait for the next day, or raise it in Google AI Studio"
_PLACE = "this place or account may not use the Gemini API free of charge: set up billing in Google AI Studio"


def refused(status: int, body: bytes, headers: Mapping[str, str]) -> WireFault | None:
    """The fault of an error body; None when it holds no error of Google's."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return fault_of(document, status, headers)


def fault_of(
    document: Any, status: int = 0, headers: Mapping[str, str] | None = None
) -> WireFault | None:
    """The fault of a decoded error document. `status` 0: it came inside a stream; its own code counts."""
    if isinstance(document, list):
        document = document[0] if document else None
    error = document.get("error") if isinstance(document, Mapping) else None
    if not isinstance(error, Mapping):
        return None
    message, code = error_text(document)
    number = status or (error["code"] if isinstance(error.get("code"), int) else 0)
    details = [row for row in error.get("details") or () if isinstance(row, Mapping)]
    if any(row.get("reason") == "API_KEY_INVALID" for row in details):
        return WireFault.of("auth", message, status=number)  # it comes with status 400
    if "input token count" in message and "exceeds" in message:
        return WireFault.of("context", message, status=number, hint="shorten the conversation")
    kind = _BY_STATUS.get(str(error.get("status")))
    if kind is None:
        return _hinted(classify(number, message or f"HTTP {number}", code, headers), message)
    asked = _delay(details)
    wait = retry_after(headers or {}) if asked is None else asked
    more: dict[str, Any] = {"status": number, "retry_after": wait}
    if kind == "rate_limit" and _is_daily(details):
        return WireFault.of(kind, message, hint=_PER_DAY, **more)
    return WireFault.of(kind, message, retry=kind in _RETRIED, **more)


def _hinted(fault: WireFault, message: str) -> WireFault:
    if "location is not supported" in message or "billing enabled" in message:
        return WireFault(msgspec.structs.replace(fault.fault, hint=_PLACE))
    return fault


def _delay(details: list[Mapping[str, Any]]) -> float | None:
    """Seconds of a google.rpc.RetryInfo, written such as "37s" or "0.5s"."""
    for row in details:
        text = row.get("retryDelay")
        if isinstance(text, str) and text.endswith("s"):
            try:
                seconds = float(text[:-1])
            except ValueError:
                continue
            if 0 <= seconds < float("inf"):
                return seconds
    return None


def _is_daily(details: list[Mapping[str, Any]]) -> bool:
    return any("PerDay" in quota for quota in _quotas(details))


def _quotas(details: list[Mapping[str, Any]]) -> Iterator[str]:
    for row in details:
        for violation in row.get("violations") or ():
            if isinstance(violation, Mapping):
                yield str(violation.get("quotaId", ""))
