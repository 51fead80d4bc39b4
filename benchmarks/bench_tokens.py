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


async def _texts(work: Path) -> tuple[str, str]:
    from codetether.kernel import Kernel

    async with (
        Kernel.load(work) as kernel,
        kernel.open_session(directory=work, model="scripted/demo") as session,
    ):
        return session.system, msgspec.json.encode(session.toolbox.schemas).decode()


def measure() -> list[tuple[str, str, str, bool]]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        system, schemas = (
            round(len(text.encode()) / 3.5) for text in trio.run(_texts, Path(folder))
        )
    told = f"{system + schemas} (system {system}, schemas {schemas}), estimated"
    return [
        (
            "tokens of system text and schemas of the default tools",
            "<= 5,000",
            told,
            system + schemas <= 5000,
        )
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))
