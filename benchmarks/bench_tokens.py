"""Tokens of what every request begins with: the system text and the schemas of all installed tools.

Estimated at 3.5 bytes a token, which is on the high side for English and JSON: vendors' vocabularies are fetched at
run time and counting must not need a network.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import msgspec
import trio


async def _texts(work: Path) -> tuple[str, str, str]:
    from codetether.kernel import Kernel

    async with (
        Kernel.load(work) as kernel,
        kernel.open_session(directory=work, model="scripted/demo") as session,
    ):
        every = session.toolbox.schemas
        few = [schema for schema in every if schema.name in CORE]
        return session.system, *(msgspec.json.encode(schemas).decode() for schemas in (few, every))


CORE = [
    "bash",
    "edit",
    "glob",
    "grep",
    "list_dir",
    "read_file",
    "todo_read",
    "todo_write",
    "write_file",
]


def measure() -> list[tuple[str, str, str, bool]]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        system, core, schemas = (_tokens(text) for text in trio.run(_texts, Path(folder)))
    told = f"{system + core} (system {system}, schemas {core}), estimated"
    return [
        (
            "tokens of system text and schemas of the nine first tools",
            "<= 5,000",
            told,
            system + core <= 5000,
        ),
        (
            "tokens of the schemas of all installed tools",
            "<= 7,000",
            f"{schemas}, estimated",
            schemas <= 7000,
        ),
    ]


def _tokens(text: str) -> int:
    return round(len(text.encode()) / 3.5)


if __name__ == "__main__":
    sys.exit(print(measure()))
