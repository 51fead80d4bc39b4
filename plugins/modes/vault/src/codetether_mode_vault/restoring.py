"""Bring a private Vault back from a snapshot and the small files that were kept beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio
from codetether.api import CodetetherError

from codetether_mode_vault import process
from codetether_mode_vault.founding import elected
from codetether_mode_vault.house import House
from codetether_mode_vault.raising import raise_up, started
from codetether_mode_vault.snapshot import whole
from codetether_mode_vault.talk import ordered, upload


async def restore(house: House, source: Path, tell: Callable[[str], None]) -> None:
    """Make the data anew from the snapshot `source`, and start it. Never over data that is there.

    `restoring` marks data that is not whole yet: killed in between, the next try puts it aside.
    Raises CodetetherError.
    """
    bao = await trio.to_thread.run_sync(process.program)
    async with house.turn():
        data = await trio.to_thread.run_sync(_read, house, source)
        await process.stop(house)
        await trio.to_thread.run_sync(house.put_aside, tell)
        house.write(house.restoring, {})
        house.data.mkdir(mode=0o700)
        tell("starting an empty one")
        await started(house, bao)
        made = await ordered(
            house, "PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}
        )
        await elected(house)
        tell("giving it the snapshot")
        reply = await upload(
            house, "sys/storage/raft/snapshot-force", data, str(made["root_token"])
        )
        if reply.status != 204:
            raise CodetetherError(
                f"the snapshot is not taken ({reply.status})",
                f"does {house.key.name} belong to it? Look at {house.log}",
            )
        await process.stop(house)  # it takes up what it was given when it starts
        house.restoring.unlink()
    await raise_up(house, tell)


def _read(house: House, source: Path) -> bytes:
    """The snapshot, when there is all that is needed and nothing in the way."""
    if house.data.exists() and not house.restoring.exists():
        raise CodetetherError(
            f"there is data of a private Vault already: {house.data}", "move it away first"
        )
    missing = [path.name for path in (house.key, house.ids) if not path.exists()]
    if missing:
        raise CodetetherError(
            f"{' and '.join(missing)} of the Vault that was backed up must be in {house.folder}",
            "put the copies you kept there, then try again",
        )
    try:
        data = source.read_bytes()
    except OSError as error:
        raise CodetetherError(f"{source} cannot be read: {error.strerror}", "") from None
    if not whole(data):
        raise CodetetherError(f"{source} is no whole snapshot", "take another one")
    return data
