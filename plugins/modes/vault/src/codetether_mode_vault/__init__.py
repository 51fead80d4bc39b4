"""`codetether vault`: a private OpenBao for people who have no Vault. It goes on running when we end."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import CodetetherError, Finding, Mode, Output, one_line

if TYPE_CHECKING:
    from codetether_mode_vault.house import House

KEEP = "unseal-key, ids.json and recovery-key"


class VaultMode(Mode):
    """The mode. `up` is idempotent; nothing here deletes what is stored."""

    api = 1

    def arguments(self, parser: ArgumentParser) -> None:
        """One action; none is `status`."""
        parser.set_defaults(action="status", json=False)
        actions = parser.add_subparsers(metavar="ACTION")
        action = actions.add_parser("up", help="start the private Vault, and set it up at first")
        action.set_defaults(action="up")
        action = actions.add_parser("down", help="stop it; what it stores stays")
        action.set_defaults(action="down")
        action = actions.add_parser("status", help="tell whether keys can be read, and if not why")
        action.set_defaults(action="status")
        action.add_argument("--json", action="store_true", help="print JSON")
        action = actions.add_parser("backup", help="write a copy of all it stores, still sealed")
        action.set_defaults(action="backup")
        action.add_argument("file", metavar="FILE", type=Path, help="where to")
        action.add_argument("--force", action="store_true", help="replace FILE if there is one")
        action = actions.add_parser("restore", help="bring it back from such a copy")
        action.set_defaults(action="restore")
        action.add_argument("file", metavar="FILE", type=Path, help="what `backup` wrote")

    async def run(self, args: Namespace) -> int:
        """Do the action. Raises CodetetherError with what to do instead."""
        actions = {
            "up": self._up,
            "down": self._down,
            "status": self._status,
            "backup": self._backup,
            "restore": self._restore,
        }
        return await actions[args.action](args)

    @property
    def _house(self) -> House:
        from codetether_mode_vault.house import House

        dirs = self.kernel.dirs
        return House(dirs.data / "vault", dirs.config / "vault.json")

    async def _up(self, args: Namespace) -> int:
        from codetether_mode_vault.raising import raise_up

        house = self._house
        new = await raise_up(house, _tell)
        _tell("ready" if new else "already running")
        if os.environ.get("VAULT_ADDR"):
            _tell("VAULT_ADDR is set, so that Vault is used and not this one")
        _tell("next: codetether auth login PROVIDER")
        return 0

    async def _down(self, args: Namespace) -> int:
        from codetether_mode_vault.process import stop

        house = self._house
        if not await trio.to_thread.run_sync(house.folder.exists):
            _tell("there is none")
            return 0
        async with house.turn():
            ended = await stop(house)
        _tell("stopped" if ended else "it does not run")
        return 0

    async def _status(self, args: Namespace) -> int:
        secrets = self.kernel.secrets()
        configured = secrets is not None and await secrets.configured()
        findings = [*await self._server(configured), *await self._secrets()]
        output = Output(sys.stdout)
        if args.json:
            await output.write(msgspec.json.encode(findings) + b"\n")
        else:
            for finding in findings:
                hint = f"\n         {one_line(finding.hint)}" if finding.hint else ""
                await output.write(f"{finding.level:8} {one_line(finding.text)}{hint}\n")
        bad = any(finding.level == "error" for finding in findings)
        return 1 if bad or not configured else 0

    async def _server(self, configured: bool) -> list[Finding]:
        """The private server itself; nothing when there is none and keys are kept elsewhere."""
        from codetether_mode_vault.process import running
        from codetether_mode_vault.talk import ask

        house = self._house
        if not house.finished:
            cut = await trio.to_thread.run_sync(house.data.exists)
            if configured and not cut:
                return []
            text = "the set-up was cut off" if cut else "there is no private Vault"
            return [self._warning(text, "run: codetether vault up")]
        pid = await trio.to_thread.run_sync(running, house)
        if not pid:
            text = "the private Vault does not run"
            return [self._warning(text, "start it: codetether vault up")]
        health = await ask(house, "GET", "sys/health")
        if health.status != 200:
            state = "is sealed" if health.status == 503 else f"is not well ({health.status})"
            text = f"the private Vault (process {pid}) {state}"
            hint = f"start it again: codetether vault up; or look at {house.log}"
            return [Finding("error", self.key, text, hint)]
        version = one_line(str(health.body.get("version", "?")))
        text = f"the private Vault runs: OpenBao {version}, process {pid}"
        return [Finding("ok", self.key, text)]

    def _warning(self, text: str, hint: str) -> Finding:
        return Finding("warning", self.key, text, hint)

    async def _secrets(self) -> list[Finding]:
        """Whether keys can be read, from whatever Vault is used."""
        secrets = self.kernel.secrets()
        if secrets is None:
            return [
                Finding(
                    "error",
                    self.key,
                    "no plugin reads keys",
                    "install codetether-secrets-vault, or switch it on",
                )
            ]
        return list(await secrets.check())

    async def _backup(self, args: Namespace) -> int:
        from codetether_mode_vault.process import running
        from codetether_mode_vault.snapshot import backup

        house = self._house
        if not await trio.to_thread.run_sync(running, house):
            raise CodetetherError("the private Vault does not run", "start it: codetether vault up")
        size = await backup(house, args.file, force=args.force)
        _tell(f"{size} bytes written to {one_line(str(args.file))}")
        _tell(
            f"to use it, {KEEP} of {one_line(str(house.folder))} are needed too; keep them elsewhere"
        )
        return 0

    async def _restore(self, args: Namespace) -> int:
        from codetether_mode_vault.restoring import restore

        await restore(self._house, args.file, _tell)
        _tell("ready")
        return 0


def _tell(text: str) -> None:
    print(f"vault: {text}", file=sys.stderr, flush=True)
