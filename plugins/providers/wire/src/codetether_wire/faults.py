"""Failures of network and vendor, sorted into what can be done about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from codetether.api import ProviderFault

from codetether_wire.waits import retry_after

MESSAGE_LIMIT = 500
_CONTEXT = (
    "context length",
    "context_length",
    "context window",
    "context size",
    "maximum context",
    "prompt is too long",
    "too many tokens",
    "input is too long",
    "request too large",
    "reduce the length",
    "exceeds the available context",
    "exceed_context",
    "exceed context limit",
    "request_too_large",
)
_SPENT = ("insufficient_quota", "billing", "credit balance", "out of credits", "payment required")
_OVERLOAD_TYPES = ("overloaded", "server_error", "api_error", "internal", "unavailable", "timeout")


class WireFault(Exception):
    """A call failed. `fault` is what is told; `retry` whether the same request may be sent again."""

    def __init__(self, fault: ProviderFault, *, retry: bool = False) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.retry = retry

    @classmethod
    def of(cls, kind: Any, message: str, *, retry: bool = False, **more: Any) -> WireFault:
        """A fault of `kind` (events.ErrorKind) in one line; `more` are fields of ProviderFault."""
        return cls(ProviderFault(kind=kind, message=message, **more), retry=retry)


def excerpt(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """`text` as one line of printable characters, at most `limit`. Redact before this: a cut secret is not found."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 8]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def page_title(html: str) -> str:
    """The title of an HTML page, or its beginning without tags."""
    found = re.search(r"<title[^>]*>([^<]{1,300})", html[:20_000], re.IGNORECASE)
    return excerpt(found[1] if found else re.sub(r"<[^>]{0,500}>", " ", html[:4000]), 200)


def error_text(document: Any) -> tuple[str, str]:
    """(message, code or type) of an error document in any vendor's form; ("", "") when there is none."""
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, Mapping):
        return "", ""
    error = document.get("error", document)
    if isinstance(error, str):
        return error, str(document.get("code") or document.get("type") or "")
    if not isinstance(error, Mapping):
        return "", ""
    message = (
        error.get("message")
        or error.get("detail")
        or document.get("message")
        or document.get("detail")
        or ""
    )
    words = [
        str(error[key]) for key in ("code", "type", "status") if error.get(key) not in (None, "")
    ]
    details = error.get("metadata")
    if isinstance(details, Mapping) and isinstance(
        details.get("raw"), str
    ):  # OpenRouter passes the vendor's own words
        message = f"{message}: {details['raw']}"
    return message if isinstance(message, str) else str(message), " ".join(words)


def classify(
    status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None
) -> WireFault:
    """The fault for an HTTP status (0: an error inside a stream, where `code` may hold the status)."""
    wait = retry_after(headers or {})
    words = f"{code} {message}".lower()
    number = status or next((int(w) for w in code.split() if w.isdigit() and len(w) == 3), 0)
    given: dict[str, Any] = {"status": number, "retry_after": wait}
    if any(word in words for word in _SPENT) or number == 402:
        hint = "the account has no credit left: see the vendor's billing page"
        return WireFault.of("rate_limit", message, hint=hint, **given)
    if number in (400, 413, 429, 0, 422, 500) and any(word in words for word in _CONTEXT):
        return WireFault.of("context", message, hint="shorten the conversation", **given)
    if (
        number in (401, 403)
        or "authentication" in code
        or "permission" in code
        or "invalid_api_key" in code
    ):
        return WireFault.of("auth", message, **given)
    if number == 429 or "rate_limit" in code or "resource_exhausted" in words:
        return WireFault.of("rate_limit", message, retry=True, **given)
    if number in (408, 425):
        return WireFault.of("timeout", message, retry=True, **given)
    if number >= 500 or any(word in code.lower() for word in _OVERLOAD_TYPES):
        return WireFault.of("overloaded", message, retry=number != 501, **given)
    if "content_filter" in code or "content_policy" in code or "moderation" in code:
        return WireFault.of("content", message, **given)
    if 400 <= number < 500 or "invalid" in code:
        hint = "is the model's name right? see: codetether models" if number == 404 else ""
        return WireFault.of("invalid", message, hint=hint, **given)
    return WireFault.of("other", message, **given)
