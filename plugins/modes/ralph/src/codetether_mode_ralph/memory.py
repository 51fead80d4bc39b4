"""What outlives every session: the document and the progress file. Only this writes them, in the user's tree."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import trio
from codetether.api import CodetetherError, write_atomic
from codetether_prd import Document, PrdError, parse, passed

LARGEST = 4_000_000  # bytes of a document
DIGEST = 6_000  # characters of the progress file that an agent is told
NOTES = 1_500  # characters of an agent's notes that are kept


def load(path: Path) -> Document:
    """The document at `path`. Raises CodetetherError naming the file and the place in it."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        hint = "codetether ralph create-prd makes one"
        raise CodetetherError(f"{path} cannot be read: {error.strerror}", hint) from None
    if len(data) > LARGEST:
        raise CodetetherError(f"{path} is larger than {LARGEST:,} bytes")
    try:
        return parse(data)
    except PrdError as error:
        raise CodetetherError(f"{path}: {error.message}") from None


class Memory:
    """The document `prd` and the file `progress`."""

    def __init__(self, prd: Path, progress: Path) -> None:
        self.prd = prd
        self.progress = progress
        self._lock = trio.Lock()

    async def mark(self, story: str) -> None:
        """Write into the document that a story passes; the rest of it stays as it is now, not as we read it first.

        Raises CodetetherError when it cannot be read or written.
        """
        async with self._lock:
            await trio.to_thread.run_sync(self._mark, story)

    def _mark(self, story: str) -> None:
        document = load(self.prd)
        if any(each.id == story and each.passes for each in document.known.user_stories):
            return
        try:
            write_atomic(self.prd, passed(document, story).text().encode())
        except OSError as error:
            raise CodetetherError(f"{self.prd} cannot be written: {error.strerror}") from None

    async def note(self, head: str, body: str) -> None:
        """Append a block to the progress file, unless it has one with the same head. Raises CodetetherError."""
        async with self._lock:
            await trio.to_thread.run_sync(self._note, head, body)

    def _note(self, head: str, body: str) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            fd = os.open(self.progress, flags, 0o666)
        except OSError as error:
            raise CodetetherError(f"{self.progress}: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # another run may keep its notes in the same file
            size = os.fstat(fd).st_size
            start = max(size - LARGEST, 0)
            known = os.pread(fd, LARGEST, start)
            line = f"## {head}".encode()
            if line in known.splitlines():
                return
            gap = (
                b"" if not known or known.endswith(b"\n\n") else b"\n" * (2 - known.endswith(b"\n"))
            )
            left = gap + line + b"\n\n" + body.strip().encode("utf-8", "replace") + b"\n"
            while left:
                left = left[os.write(fd, left) :]
            os.fsync(fd)
        except OSError as error:
            raise CodetetherError(f"{self.progress}: {error.strerror}") from None
        finally:
            os.close(fd)

    async def digest(self) -> str:
        """The last of the progress file."""
        return await trio.to_thread.run_sync(self._digest)

    def _digest(self) -> str:
        try:
            with self.progress.open("rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - 4 * DIGEST, 0))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        if len(text) <= DIGEST:
            return text.strip()
        blocks = text[-DIGEST:].partition("\n## ")
        return f"[earlier notes are left out]\n\n## {blocks[2]}".strip() if blocks[1] else blocks[0]
