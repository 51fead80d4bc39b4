"""Servers that nobody here wrote, each in a child process that ends with the test."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

HERE = Path(__file__).parent
MARK = b"peer at "


@pytest.fixture
def llama_server(tmp_path):
    """`async with llama_server(key="") as url:` is llama.cpp's HTTP server over a model of one sentence."""
    return partial(_serve, tmp_path)


@asynccontextmanager
async def _serve(folder, key=""):
    argv = [sys.executable, str(HERE / "llama_server.py"), str(folder), key]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    async with trio.open_nursery() as nursery:
        child = await nursery.start(
            partial(trio.run_process, argv, check=False, **pipes, **_ending())
        )
        said = b""
        with trio.fail_after(30):
            while MARK not in said or not said.partition(MARK)[2].count(b"\n"):
                more = await child.stdout.receive_some()
                assert more, f"the server ended: {said[-2000:].decode(errors='replace')}"
                said += more
        nursery.start_soon(_drain, child.stdout)
        yield said.partition(MARK)[2].partition(b"\n")[0].strip().decode()
        await child.stdin.aclose()
        with trio.move_on_after(3):
            await child.wait()
        nursery.cancel_scope.cancel()
    assert child.returncode is not None


def _ending():
    async def kill(process):
        process.kill()

    return {"deliver_cancel": kill}


async def _drain(stream):
    async for _ in stream:
        pass
