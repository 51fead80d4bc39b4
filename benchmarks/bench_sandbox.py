"""What confinement adds to a command: `true` through each confining sandbox that works here, against bare."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import trio

ROUNDS = 60
MOST_MS = 25


async def _seconds(argv: object, sandbox: object | None, policy: object, cwd: str) -> float:
    from codetether.api import Launch, clean_env, run_process

    start = time.perf_counter()
    launch = Launch(argv, cwd, clean_env())
    if sandbox is not None:
        launch = sandbox.wrap(launch, policy)
    done = await run_process(
        launch.argv, cwd=cwd, env=launch.env, pass_fds=launch.pass_fds, timeout=10
    )
    if not done.ok:
        raise RuntimeError(done.errors)
    return time.perf_counter() - start


async def _measured(folder: Path) -> list[tuple[str, str, str, bool]]:
    from codetether.api import SandboxPolicy
    from codetether.kernel import Kernel

    work = folder / "work"
    (work / ".git/hooks").mkdir(parents=True)
    (work / ".git/config").touch()
    policy = SandboxPolicy(
        (str(work),),
        (str(Path.home() / ".ssh"),),
        tuple(f"{work}/.git/{name}" for name in ("hooks", "config")),
    )
    async with Kernel.load(work) as kernel:
        sandboxes = {
            each.name: each
            for each in kernel.host.load_all("sandboxes")
            if each.level > "S0" and (await each.probe()).level != "error"
        }
        times = {name: [] for name in ("bare", *sandboxes)}
        for _ in range(ROUNDS):
            for name, taken in times.items():
                taken.append(await _seconds(("true",), sandboxes.get(name), policy, str(work)))
    took = {name: statistics.median(taken) * 1000 for name, taken in times.items()}
    return [
        (
            f"`true` in sandbox {name}",
            f"<= {MOST_MS} ms wall",
            f"{took[name]:.1f} ms (bare {took['bare']:.1f} ms)",
            took[name] <= MOST_MS,
        )
        for name in sandboxes
    ] or [
        ("`true` in a sandbox", f"<= {MOST_MS} ms wall", "no confining sandbox works here", False)
    ]


def measure() -> list[tuple[str, str, str, bool]]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(_measured, Path(folder))
