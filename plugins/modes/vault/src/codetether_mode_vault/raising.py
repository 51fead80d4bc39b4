"""`vault up`, step by step: each may be the last before the machine stops, and the next `up` goes on from there."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable

import trio
from codetether.api import CodetetherError

from codetether_mode_vault import process
from codetether_mode_vault.founding import found, write_facts
from codetether_mode_vault.house import House
from codetether_mode_vault.talk import ACTIVE, UNINITIALISED, ask

ANSWERING = 20.0
STARTS = 3
SEALED = 503


async def raise_up(house: House, tell: Callable[[str], None]) -> bool:
    """The private Vault, running and ready; False when it was already. Raises CodetetherError with what to do."""
    bao = await trio.to_thread.run_sync(process.program)
    async with house.turn():
        if house.finished and not house.restoring.exists() and await _is_well(house):
            await trio.to_thread.run_sync(write_facts, house)
            return False
        await process.stop(house)  # one that is not well, or whose set-up was cut off
        empty = await trio.to_thread.run_sync(_prepare, house, tell)
        tell("starting")
        state = await started(house, bao)
        if house.finished and state == UNINITIALISED:
            await process.stop(house)
            if empty:  # what the server made there a moment ago would be in the way of `restore`
                await trio.to_thread.run_sync(shutil.rmtree, house.data)
            raise CodetetherError(
                f"the data of the private Vault is gone from {house.data}",
                f"bring it back: codetether vault restore FILE; or move {house.folder} away to begin anew",
            )
        if not house.finished:
            await found(house, tell)
        await trio.to_thread.run_sync(write_facts, house)
        return True


async def _is_well(house: House) -> bool:
    alive = await trio.to_thread.run_sync(process.running, house)
    return bool(alive) and (await ask(house, "GET", "sys/health")).status == ACTIVE


def _prepare(house: House, tell: Callable[[str], None]) -> bool:
    """An unfinished one is put aside (nobody was ever given a way in); a finished one must have its key.

    True when there was no data, so that the folder made here is all there is.
    """
    if house.finished and not house.key.exists():
        raise CodetetherError(
            f"the key that opens the private Vault is missing: {house.key}",
            f"bring it back from a backup, or move {house.folder} away to begin anew",
        )
    if not house.finished and house.agent.exists():
        raise CodetetherError(
            f"{house.ids} is missing, though the private Vault was in use",
            f"bring it back from a backup, or move {house.folder} away to begin anew",
        )
    if not house.finished or house.restoring.exists():
        house.put_aside(tell)
        house.restoring.unlink(missing_ok=True)
    if not house.key.exists():
        house.write(house.key, secrets.token_bytes(32))
    empty = not house.data.exists()
    house.data.mkdir(mode=0o700, exist_ok=True)
    return empty


async def started(house: House, bao: str) -> int:
    """Start it and wait until it answers; the status of its health. Another may take its ports: then try others."""
    for again in reversed(range(STARTS)):
        await process.start(house, bao)
        status = await _answer(house)
        if status in (ACTIVE, UNINITIALISED):
            return status
        taken = process.address_taken(house)
        why = process.why_ended(house)
        await process.stop(house)
        if not (taken and again):
            break
    if status == SEALED:
        raise CodetetherError(
            "the private Vault stays sealed: its key does not fit its data",
            f"bring {house.key} back from the backup that belongs to {house.data}",
        )
    raise CodetetherError(f"the private Vault does not start: {why}", f"look at {house.log}")


async def _answer(house: House) -> int:
    status = 0
    with trio.move_on_after(ANSWERING):
        while status not in (ACTIVE, UNINITIALISED):
            status = (await ask(house, "GET", "sys/health")).status
            if not await trio.to_thread.run_sync(process.running, house):
                return 0
            if status == SEALED and await trio.to_thread.run_sync(process.cannot_unseal, house):
                return SEALED
            await trio.sleep(0.05)
    return status
