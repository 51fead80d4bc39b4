"""`codetether models pull`: a model file from an address, or from a hub, into the models folder."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import trio
from codetether.api import CodetetherError, Mode, PluginError, UsageError
from msgspec import Meta

from codetether_mode_pull.source import source

if TYPE_CHECKING:
    from codetether_mode_pull.partial import Partial
    from codetether_mode_pull.progress import Progress

MAGICS = (b"GGUF", b"lmgg", b"fmgg", b"tjgg", b"algg")


class PullSettings(msgspec.Struct, frozen=True):
    """Where names lead, and whether the environment's proxies are used."""

    hub: Annotated[str, Meta(description="Where OWNER/REPOSITORY/NAME.gguf is looked up")] = (
        "https://huggingface.co"
    )
    trust_env: Annotated[
        bool, Meta(description="Use the proxy and certificate variables of the environment")
    ] = False


class Pull(Mode):
    """The mode. A download that was interrupted goes on where it ended."""

    api = 1
    Settings = PullSettings

    def arguments(self, parser: ArgumentParser) -> None:
        """What, and how it is proved."""
        parser.add_argument(
            "what", metavar="URL|NAME", help="https://…/NAME.gguf, or OWNER/REPOSITORY/NAME.gguf"
        )
        parser.add_argument("--sha256", metavar="HEX", help="the checksum the file must have")
        parser.add_argument("--name", default="", metavar="FILE", help="keep it under this name")
        parser.add_argument("--force", action="store_true", help="replace a file of this name")

    async def run(self, args: Namespace) -> int:
        """The path of the file on standard output, the rest on standard error. Raises CodetetherError."""
        wanted = (args.sha256 or "").strip().lower().removeprefix("sha256:")
        if wanted and not re.fullmatch(r"[0-9a-f]{64}", wanted):
            raise UsageError("--sha256 takes 64 hexadecimal digits")
        found = source(args.what, self.settings.hub, args.name)
        target = self._folder() / found.name
        if target.exists() and not args.force:
            raise UsageError(f"{target} is there already", "replace it with --force")
        try:
            await self._fetched(found.url, target, wanted)
        except OSError as exc:
            raise CodetetherError(f"{exc.filename or target}: {exc.strerror}") from None
        print(target, flush=True)
        return 0

    def _folder(self) -> Path:
        """The folder of the provider gguf, or where it would be."""
        provider = self._provider()
        folder: Path = provider.folder if provider else Path(self.kernel.dirs.data) / "models"
        return folder

    def _provider(self) -> Any:
        try:
            return self.kernel.provider("gguf")
        except PluginError:
            return None

    async def _fetched(self, url: str, target: Path, wanted: str) -> None:
        from codetether_wire import pool_of

        from codetether_mode_pull.download import Download
        from codetether_mode_pull.partial import Partial
        from codetether_mode_pull.progress import Progress

        partial, progress = Partial(target), Progress(target.name)
        try:
            await trio.to_thread.run_sync(partial.open)
            pool = pool_of(self.kernel)
            trust_env = self.settings.trust_env
            download = Download(pool, url, partial, progress, trust_env=trust_env)
            try:
                await download.run()
            finally:
                await pool.aclose()
            await self._proved(partial, progress, wanted or download.said)
            await trio.to_thread.run_sync(partial.finish)
        finally:
            progress.close()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial.close)

    async def _proved(self, partial: Partial, progress: Progress, wanted: str) -> None:
        """It is what was meant, and a model; else nothing of it is kept. Raises CodetetherError."""
        progress.word = "checking "
        progress.start(0, partial.length)
        digest = await trio.to_thread.run_sync(partial.digest, progress.at)
        try:
            if wanted and digest != wanted:
                raise CodetetherError(
                    f"the checksum is {digest}, not {wanted}",
                    "nothing was kept; is it the right file?",
                )
            if (await trio.to_thread.run_sync(_head, partial.path)) not in MAGICS:
                raise CodetetherError(
                    "what came is no model file", "nothing was kept; is the address right?"
                )
            if (provider := self._provider()) is not None:
                await provider.examine(partial.path)
        except CodetetherError:
            await trio.to_thread.run_sync(partial.discard)
            raise
        proof = "as expected" if wanted else "nobody said what it should be"
        progress.note(f"sha256 {digest} ({proof})")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)
