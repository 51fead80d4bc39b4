"""Tokens of what every request begins with: the system text and the schemas of all installed tools."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import msgspec
import tiktoken
import trio


async def _texts(work: Path) -> tuple[str, str]:
    from codetether.kernel import Kernel

    async with Kernel.load(work) as kernel, kernel.open_session(directory=work, model="scripted/demo") as session:
        return session.system, msgspec.json.encode(session.toolbox.schemas).decode()


def measure() -> list[tuple[str, str, str, bool]]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        system, schemas = trio.run(_texts, Path(folder))
    count = tokens(system), tokens(schemas)
    told = f"{sum(count)} (system {count[0]}, schemas {count[1]})"
    return [("tokens of system text and schemas of the default tools", "<= 5,000", told, sum(count) <= 5000)]


def tokens(text: str) -> int:
    """Counted with a published vocabulary when it is on this machine, else estimated at 3.5 characters each."""
    try:
        return len(tiktoken.get_encoding("o200k_base").encode(text))
    except Exception:  # noqa: BLE001 - its data file is fetched at run time
        return round(len(text) / 3.5)


if __name__ == "__main__":
    sys.exit(print(measure()))
