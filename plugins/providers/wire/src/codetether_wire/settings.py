"""The settings every provider on the wire has."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class WireSettings(msgspec.Struct, frozen=True):
    """Limits of a provider's calls, in seconds."""

    connect_timeout: Annotated[float, Meta(gt=0, description="Seconds to reach the server")] = 10.0
    idle_timeout: Annotated[
        float,
        Meta(gt=0, description="Seconds without anything meaningful before a call is given up"),
    ] = 120.0
    total_timeout: Annotated[
        float,
        Meta(gt=0, description="Seconds one model call may take, waits between tries not counted"),
    ] = 1800.0
    max_wait: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds all waits of one call may add up to before it fails",
            extra_json_schema={"env": "CODETETHER_MAX_WAIT"},
        ),
    ] = 120.0
    unattended: Annotated[
        bool,
        Meta(
            description="Nobody is waiting: ride out failures of an hour and more",
            extra_json_schema={"env": "CODETETHER_UNATTENDED"},
        ),
    ] = False
    trust_env: Annotated[
        bool, Meta(description="Use the proxy and certificate variables of the environment")
    ] = False


class Patience(msgspec.Struct, frozen=True):
    """How long a call goes on trying. `tries` calls in all, `wait` seconds of waiting in all, `longest` for one wait the
    vendor asks for, `restarts` of an answer that was already partly streamed.
    """

    tries: int
    wait: float
    longest: float
    restarts: int = 3


def patience(settings: WireSettings) -> Patience:
    """Interactive: `max_wait` (120 s), and a try for each 10 s of it. Unattended: two hours, so that an hour's outage is over before the last
    wait begins; a vendor that asks for more than one hour is not waited for.
    """
    if settings.unattended:
        return Patience(tries=400, wait=max(settings.max_wait, 7200.0), longest=3600.0)
    tries = max(10, int(settings.max_wait / 10))
    return Patience(tries=tries, wait=settings.max_wait, longest=settings.max_wait)
