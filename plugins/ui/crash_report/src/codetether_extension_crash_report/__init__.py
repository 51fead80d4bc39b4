"""Crash reports: each crash of the program leaves a redacted report in a file of the user's. With consent, and to an
address the user gave, one waiting report is sent at each start, beside the work. Nothing is sent otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import msgspec
from codetether.api import (
    Extension,
    Finding,
    Kernel,
    Session,
    SessionEvent,
    SessionStarted,
    hookimpl,
)
from msgspec import Meta

if TYPE_CHECKING:
    from codetether_extension_crash_report.spool import Spool

ENABLE = (
    "to send them: codetether config set telemetry.crash_report_endpoint=URL "
    "and telemetry.crash_reporting=true"
)


class CrashSettings(msgspec.Struct, frozen=True):
    """What is sent, and where. Only your own settings count here, never those of a project."""

    crash_reporting: Annotated[
        bool, Meta(description="You agree that crash reports are sent to crash_report_endpoint")
    ] = False
    crash_report_endpoint: Annotated[
        str, Meta(description="Where reports are sent: an https address, or http on this machine")
    ] = ""
    crash_report_secret: Annotated[
        str, Meta(description="The document in Vault whose api_key is sent along as a bearer token")
    ] = ""


class CrashReport(Extension):
    """Watches for the exception that ends the program, and adds to what Python does with it."""

    api = 1
    Settings = CrashSettings
    _tried = False
    _sending = False

    @hookimpl
    def codetether_ready(self, kernel: Kernel) -> None:
        """From now on a crash is reported."""
        from codetether_extension_crash_report.watch import watch

        watch(self)

    @hookimpl
    def codetether_observe(self, event: SessionEvent, session: Session) -> None:
        """Send one waiting report beside the first session, if that is wanted."""
        if isinstance(event, SessionStarted) and not self._tried:
            self._tried = True
            if self.endpoint:
                self._sending = True
                session.beside(self._send)

    async def _send(self) -> None:
        from codetether_extension_crash_report.sending import send_one

        try:
            await send_one(self.kernel, self.spool, self)
        finally:
            self._sending = False

    @hookimpl
    def codetether_doctor(self) -> Iterable[Finding]:
        """How many reports wait, and whether they are sent."""
        waiting = len(self.spool.waiting())
        if not waiting:
            return []
        sent = f"sent to {self.endpoint}, one at each start" if self.endpoint else "sent nowhere"
        text = f"{waiting} in {self.spool.folder}; {sent}"
        return [Finding("ok" if self.endpoint else "warning", self.key, text, self._hint())]

    @property
    def spool(self) -> Spool:
        """Where reports are kept."""
        from codetether_extension_crash_report.spool import Spool

        return Spool(self.kernel.dirs.data / "crash-reports")

    @property
    def endpoint(self) -> str:
        """Where reports may be sent; empty without the user's own consent and address."""
        if not self.settings.crash_reporting or not self._from_user("crash_reporting"):
            return ""
        if not self._from_user("crash_report_endpoint"):
            return ""
        return str(self.settings.crash_report_endpoint).strip()

    def _from_user(self, name: str) -> bool:
        """Whether no project has said so: a repository must not decide where a person's reports go."""
        config = self.kernel.config
        origin = config.origin("plugins", self.key, name)
        own = (str(config.dirs.file), "command line")
        return origin in own or origin.startswith("environment ")

    def note(self) -> str:
        """What becomes of a report, for the person who sees the crash."""
        return "it is sent at the next start" if self.endpoint else f"nothing is sent; {ENABLE}"

    def _hint(self) -> str:
        return "" if self.endpoint else f"read and delete them, or {ENABLE}"
