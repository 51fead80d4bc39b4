"""Where the private Vault lives: its folder, its files, and whose turn it is to change them."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio
from codetether.api import CodetetherError, write_atomic

PATIENCE = 60.0


class House(msgspec.Struct, frozen=True):
    """The files of the private Vault. All are the user's alone (folder 0700, files 0600).

    `folder`/raft is OpenBao's own data; `key` opens it, so it must be kept with every backup; `ids` holds the AppRole
    of the agent and of the keeper, who may take a snapshot; it is written last, so its presence says that the set-up
    was finished. `facts`, in the configuration, says where the server is; plugins read it when VAULT_ADDR is not set.
    """

    folder: Path
    facts: Path

    @property
    def data(self) -> Path:
        return self.folder / "raft"

    @property
    def key(self) -> Path:
        return self.folder / "unseal-key"

    @property
    def ids(self) -> Path:
        return self.folder / "ids.json"

    @property
    def agent(self) -> Path:
        return self.folder / "agent.json"

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def pid(self) -> Path:
        return self.folder / "pid"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def settings(self) -> Path:
        return self.folder / "server.hcl"

    @property
    def restoring(self) -> Path:
        return self.folder / "restoring"

    @property
    def finished(self) -> bool:
        """Whether the set-up was ever finished."""
        return self.ids.exists()

    def make(self) -> None:
        """The folder, for its owner only."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    def put_aside(self, tell: Callable[[str], None]) -> None:
        """Move away data whose set-up or restoring was cut off; nobody has stored anything in it."""
        if self.data.exists():
            aside = self.data.with_name(f"raft.unfinished-{time.time_ns()}")
            tell(f"what was cut off is put aside: {aside}")
            self.data.rename(aside)

    def write(self, path: Path, value: Any) -> None:
        """`value` as JSON, or bytes as they are, into a file of mode 0600, whole or not at all."""
        data = value if isinstance(value, bytes) else msgspec.json.encode(value)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, data, 0o600)

    def read(self, path: Path) -> dict[str, Any]:
        """The JSON object in `path`. Raises CodetetherError when there is none."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError):
            raise CodetetherError(
                f"{path} is missing or damaged", f"bring it back from a backup of {self.folder}"
            ) from None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Nobody else starts, sets up or stops the server meanwhile. Raises CodetetherError after a minute."""
        import fcntl

        await trio.to_thread.run_sync(self.make)
        fd = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with trio.move_on_after(PATIENCE) as scope:
                while not _locked(fcntl, fd):  # noqa: ASYNC110 - a lock of another process tells nobody
                    await trio.sleep(0.05)
            if scope.cancelled_caught:
                raise CodetetherError(
                    "another codetether is busy with the private Vault", "try again when it is done"
                )
            yield
        finally:
            os.close(fd)  # also gives the lock back


def _locked(fcntl: Any, fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
