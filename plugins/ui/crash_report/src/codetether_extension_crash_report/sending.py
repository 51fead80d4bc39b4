"""Sending one report: to the user's address only, within eight seconds, following nobody elsewhere."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import trio
from codetether.api import CodetetherError, SecretMissing, write_atomic

from codetether_extension_crash_report.report import Report, now

if TYPE_CHECKING:
    from codetether_extension_crash_report import CrashReport
    from codetether_extension_crash_report.spool import Spool

SECONDS = 8.0
SCHEMA, SOURCE = "codetether.crash.v1", "codetether-agent"
NEVER = frozenset({400, 413, 415, 422})  # the same bytes will be refused again


class Envelope(msgspec.Struct, frozen=True):
    """What is sent."""

    sent_at: str
    install_id: str
    report: Report
    schema: str = SCHEMA
    source: str = SOURCE


async def send_one(kernel: Any, spool: Spool, plugin: CrashReport) -> None:
    """Send the oldest report that waits; what fails is tried again at the next start. Raises nothing of its own."""
    try:
        if await trio.to_thread.run_sync(spool.waiting):
            with spool.alone() as alone, trio.move_on_after(SECONDS):
                if alone:
                    await _send(kernel, spool, plugin)
    except (OSError, CodetetherError):
        return


async def _send(kernel: Any, spool: Spool, plugin: CrashReport) -> None:
    endpoint = checked(plugin.endpoint)
    for path in await trio.to_thread.run_sync(spool.waiting):
        data = await trio.to_thread.run_sync(spool.read, path)
        try:
            report = msgspec.json.decode(data, type=Report)
        except (msgspec.DecodeError, msgspec.ValidationError):
            await trio.to_thread.run_sync(spool.done, path)
            continue
        install = await trio.to_thread.run_sync(_install_id, Path(kernel.dirs.data))
        headers = await _headers(kernel, plugin, report, install)
        body = msgspec.json.encode(Envelope(now(), install, report))
        status = await _post(kernel, endpoint, body, headers)
        if 200 <= status < 300:
            await trio.to_thread.run_sync(spool.done, path)
        elif status in NEVER:
            await trio.to_thread.run_sync(spool.refused, path)
        return


def checked(endpoint: str) -> str:
    """The address, if reports may go there. Raises CodetetherError."""
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
    except ValueError:
        raise CodetetherError("crash_report_endpoint is not an address") from None
    here = host in ("localhost", "127.0.0.1", "::1")
    if (
        not host
        or parts.username
        or not (parts.scheme == "https" or (parts.scheme == "http" and here))
    ):
        raise CodetetherError("crash_report_endpoint must be an https address")
    return endpoint


async def _headers(
    kernel: Any, plugin: CrashReport, report: Report, install: str
) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Connection": "close",
        "User-Agent": f"codetether/{report.app_version}",
        "X-CodeTether-Schema": SCHEMA,
        "X-CodeTether-Source": SOURCE,
        "X-CodeTether-Install-Id": install,
        "X-CodeTether-Report-Id": report.report_id,
        "X-CodeTether-App-Version": report.app_version,
    }
    if name := plugin.settings.crash_report_secret:
        secrets = kernel.secrets()
        if secrets is None:
            raise SecretMissing(f"no place for secrets holds {name}")
        document = await secrets.get(name)
        kernel.redact.add(str(document.get("api_key", "")))
        headers["Authorization"] = f"Bearer {document.get('api_key', '')}"
    return headers


async def _post(kernel: Any, endpoint: str, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer, whose body nobody reads; 0 when there was none."""
    from codetether_wire import NetworkError, pool_of

    with trio.move_on_after(SECONDS):
        try:
            response = await pool_of(kernel).ask("POST", endpoint, headers, body, connect=SECONDS)
        except NetworkError:
            return 0
        await response.aclose()
        return response.status_code
    return 0


def _install_id(data: Path) -> str:
    """A random name of this installation, made when something is first sent."""
    file = data / "telemetry" / "install_id"
    try:
        return str(uuid.UUID(file.read_text("ascii").strip()))
    except (OSError, ValueError):
        fresh = str(uuid.uuid4())
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(file, fresh.encode(), 0o600)
        return fresh
