"""Files on the broker, laid there as the makers' object store does it. All of it runs in asyncio.

That store itself would leave the pieces of a file that was not put to its end, and would go on being sent, for as long as
the connection lasts, what it was no longer to get.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import nats.errors
import nats.js.errors
from codetether.api import CodetetherError
from nats.js import api

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from nats.js.object_store import ObjectStore

PIECE = 128 * 1024  # bytes
SILENCE = 30.0  # seconds after which a piece that did not come is not there
MADE_UP = (
    nats.errors.BadSubjectError, nats.js.errors.BadObjectMetaError, nats.js.errors.BadRequestError,
)  # fmt: skip # what comes of words about a file that no client of ours said


class TooLarge(Exception):
    """A file is larger than it may be."""


class Files:
    """Those in one bucket."""

    def __init__(self, client: Client, js: JetStreamContext, store: ObjectStore, name: str) -> None:
        self._client = client
        self._js = js
        self._store = store
        self._name = name
        self._stream = f"OBJ_{name}"

    async def put(self, name: str, path: Path) -> None:
        """Store a file under a name that was not used before."""
        pieces = secrets.token_hex(11)
        try:
            info = await self._put_pieces(name, pieces, path)
            key = base64.urlsafe_b64encode(name.encode()).decode()
            await self._js.publish(f"$O.{self._name}.M.{key}", json.dumps(info.as_dict()).encode())
        except BaseException:
            with suppress(nats.errors.Error, OSError):
                if self._client.is_connected:
                    await self._js.purge_stream(self._stream, subject=self._pieces(pieces))
            raise

    async def _put_pieces(self, name: str, pieces: str, path: Path) -> api.ObjectInfo:
        loop, digest = asyncio.get_running_loop(), hashlib.sha256()
        size = many = 0
        while piece := await loop.run_in_executor(None, _read, path, size):
            await self._js.publish(self._pieces(pieces), piece)
            digest.update(piece)
            size, many = size + len(piece), many + 1
        text = base64.urlsafe_b64encode(digest.digest()).decode()
        return api.ObjectInfo(
            name, self._name, pieces, size, datetime.now(UTC).isoformat(), many, f"SHA-256={text}",
            options=api.ObjectMetaOptions(max_chunk_size=PIECE),
        )  # fmt: skip

    async def get(self, name: str, path: Path, largest: int) -> None:
        """Write a stored file to `path`. Raises TooLarge, also when it is larger than it says; NotFoundError when some of it
        is not there.
        """
        try:
            info = await self._store.get_info(name)
            if (info.size or 0) > largest:
                raise TooLarge
            await self._get_pieces(str(info.nuid), info.size or 0, path)
        except MADE_UP:
            raise nats.js.errors.NotFoundError from None

    async def _get_pieces(self, pieces: str, size: int, path: Path) -> None:
        loop = asyncio.get_running_loop()
        coming = await self._js.subscribe(
            self._pieces(pieces), stream=self._stream, ordered_consumer=True
        )
        try:
            await loop.run_in_executor(None, _write, path, b"", "wb")
            while size > 0:
                piece = (await coming.next_msg(SILENCE)).data
                size -= len(piece)
                if size < 0:
                    raise TooLarge
                await loop.run_in_executor(None, _write, path, piece, "ab")
        except nats.errors.TimeoutError:
            raise nats.js.errors.NotFoundError from None
        finally:
            with suppress(nats.errors.Error, OSError):
                await coming.unsubscribe()

    async def drop(self, names: Sequence[str]) -> None:
        """Take stored files away, or leave them to their age: whoever asks for it does not wait."""
        for name in names:
            with suppress(nats.errors.Error, OSError):
                await self._store.delete(name)

    def _pieces(self, word: str) -> str:
        return f"$O.{self._name}.C.{word}"


def _read(path: Path, start: int) -> bytes:
    """Opened for each piece: a file that is closed while a thread is at it may be another one to that thread."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(PIECE)
    except OSError as error:
        raise _trouble(error) from None


def _write(path: Path, data: bytes, mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(data)
    except OSError as error:
        raise _trouble(error) from None


def _trouble(error: OSError) -> CodetetherError:
    """Not the broker's, which would be waited for."""
    return CodetetherError(f"a file here cannot be used: {error.strerror or error}")
