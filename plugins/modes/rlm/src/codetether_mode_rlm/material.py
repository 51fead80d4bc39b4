"""The texts a person names: files, directories, standard input."""

from __future__ import annotations

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
    from codetether_rlm.sources import Source, from_directory, spooled

    found = [Source(str(path), path.absolute()) for path in args.files]
    for path in args.files:
        if path.is_dir():
            raise UsageError(f"{path} is a directory", "use --dir")
        if not path.exists():
            raise UsageError(f"there is no file {path}")
    for folder in args.dirs:
        found += [
            msgspec.structs.replace(each, name=str(folder / each.name))
            for each in await from_directory(folder, pattern=args.pattern)
        ]
    found = [*{each.name: each for each in found}.values()]  # named twice, it is one all the same
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
