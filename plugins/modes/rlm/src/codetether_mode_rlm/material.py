"""The texts a person names: files, directories, standard input."""

from __future__ import annotations

import stat
import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from codetether.api import UsageError

if TYPE_CHECKING:
    from codetether_rlm.sources import Source

NOTHING = "name files with -f, a directory with --dir, or pipe text in with --content -"


@asynccontextmanager
async def material(args: Namespace, place: Path) -> AsyncIterator[list[Source]]:
    """The sources the flags name; what was piped in is kept below `place` until the end. Raises CodetetherError."""
    from codetether_rlm.sources import Source, from_directory, name_of, spooled

    for path in args.files:
        _check(path)
    named = {path: Source(name_of(str(path)), path.absolute()) for path in args.files}
    for folder in args.dirs:
        for each in await from_directory(folder, pattern=args.pattern):
            assert each.path is not None
            path = folder / each.path
            named[path] = msgspec.structs.replace(each, name=name_of(str(path)))
    found = [*named.values()]  # named twice, it is one all the same
    if args.content == "-":
        piped = await spooled(sys.stdin.fileno(), "standard input", place)
        assert piped.file is not None
        with piped.file:
            yield [*found, piped]
        return
    if args.content is not None:
        found.append(Source("content", data=args.content.encode("utf-8", "surrogateescape")))
    if not found:
        raise UsageError("there is nothing to look at", NOTHING)
    yield found


def _check(path: Path) -> None:
    """Raises UsageError for what cannot be looked at."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a directory", "use --dir")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is not a regular file", "pipe it in: --content -")
