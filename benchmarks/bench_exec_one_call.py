"""`codetether exec` with one tool call against a loopback model that answers at once: wall time, CPU, memory."""

from __future__ import annotations

import subprocess
import sys

from loopback import model
from measuring import CODETETHER, PYTHON, empty_home, interleaved, peak_memory

SERVER = """
import sys, trio
from codetether.testing import ScriptedServer, call
def answer(asked):
    return "It says hello." if asked["messages"][-1]["role"] == "tool" else call("read_file", path="hello.txt")
async def main():
    async with ScriptedServer(answer) as server:
        print(server.url, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
trio.run(main)
"""


def measure() -> list[tuple[str, str, str, bool]]:
    with model(SERVER) as url, empty_home() as (home, env):
        work = home / "work"
        work.mkdir()
        (work / "hello.txt").write_text("hello\n")
        env["CODETETHER_LOCAL_BASE_URL"] = f"{url}/v1"
        argv = [
            PYTHON,
            CODETETHER,
            "exec",
            "--model",
            "local/scripted",
            "-C",
            str(work),
            "read hello.txt",
        ]
        said = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
        assert "It says hello." in said, said
        seen = interleaved({"bare": [PYTHON, "-c", "pass"], "exec": argv}, 21, env)
        peak = max(peak_memory(argv, env, str(work)) for _ in range(5))
    cpu, wall = ((run - bare) * 1000 for run, bare in zip(seen["exec"], seen["bare"], strict=True))
    megabytes = peak / 1e6
    return [
        (
            "`exec`, one tool call, loopback model: wall beyond bare python",
            "<= 300 ms",
            f"{wall:.0f} ms",
            wall <= 300,
        ),
        ("the same: CPU time beyond bare python", "<= 300 ms", f"{cpu:.0f} ms", cpu <= 300),
        (
            "the same: peak memory of the process tree (PSS)",
            "<= 60 MB",
            f"{megabytes:.1f} MB",
            megabytes <= 60,
        ),
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))
