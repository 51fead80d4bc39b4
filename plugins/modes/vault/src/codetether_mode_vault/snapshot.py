"""A copy of everything the private Vault has stored, still sealed with its unseal key."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import trio
from codetether.api import CodetetherError, write_atomic

from codetether_mode_vault.house import House
from codetether_mode_vault.talk import ask, ordered


async def backup(house: House, target: Path, *, force: bool) -> int:
    """Write a raft snapshot to `target`, mode 0600, whole or not at all; its size. Raises CodetetherError."""
    if not force and await trio.to_thread.run_sync(target.exists):
        raise CodetetherError(
            f"{target} exists", "choose another name, or add --force to replace it"
        )
    keeper = (await trio.to_thread.run_sync(house.read, house.ids)).get("keeper") or {}
    logged = await ordered(house, "POST", "auth/approle/login", keeper)
    token = str(logged["auth"]["client_token"])
    reply = await ask(house, "GET", "sys/storage/raft/snapshot", token=token)
    if reply.status != 200 or not await trio.to_thread.run_sync(whole, reply.data):
        raise CodetetherError(
            f"the private Vault gave no whole snapshot ({reply.status})", f"look at {house.log}"
        )
    try:
        await trio.to_thread.run_sync(write_atomic, target, reply.data, 0o600)
    except OSError as error:
        raise CodetetherError(
            f"{target} cannot be written: {error.strerror}", "choose another place"
        ) from None
    return len(reply.data)


def whole(data: bytes) -> bool:
    """Whether a snapshot holds its parts and their checksums agree. Blocking."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            parts = {
                member.name: file.read()
                for member in archive
                if (file := archive.extractfile(member)) is not None
            }
    except (tarfile.TarError, OSError, EOFError):
        return False
    listed = parts.get("SHA256SUMS", b"").decode("ascii", "replace").splitlines()
    lines = [line.split(maxsplit=1) for line in listed]
    sums = {name: told for told, name in (line for line in lines if len(line) == 2)}
    return "state.bin" in sums and all(
        hashlib.sha256(parts.get(name, b"")).hexdigest() == told for name, told in sums.items()
    )
