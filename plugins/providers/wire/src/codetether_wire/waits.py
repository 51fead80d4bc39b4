"""How long a vendor asks us to wait, in every form seen."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait, or None when the vendor said nothing that can be used. `now` is Unix time, for tests.

    Reads `retry-after-ms`, then `retry-after` as seconds (also fractional) or as an HTTP date. Negative, infinite and
    unreadable values are ignored; a huge value is returned as it is, since the caller must give up, not come back early.
    """
    millis = _number(headers.get("retry-after-ms", ""))
    if millis is not None:
        return millis / 1000
    text = headers.get("retry-after", "").strip()
    seconds = _number(text)
    return _date(text, time.time() if now is None else now) if seconds is None else seconds


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _date(text: str, now: float) -> float | None:
    if not text or text[0] in "+-." or text[0].isdigit():
        return None
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # "-0000" or no zone: HTTP dates are GMT
            from datetime import UTC

            moment = moment.replace(tzinfo=UTC)
        wait = moment.timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return wait if wait >= 0 else None
