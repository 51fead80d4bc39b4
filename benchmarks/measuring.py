"""What the benchmarks share: interleaved runs of child processes, their CPU time, wall time and peak memory."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PYTHON = sys.executable
CODETETHER = str(Path(PYTHON).with_name("codetether"))
# Who has it set would measure the compiling of whatever was edited last.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def cpu_of(argv: Sequence[str], env: Mapping[str, str]) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of one run."""
    start = time.perf_counter()
    process = subprocess.Popen(
        argv,
        env=dict(env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{argv} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, wall


def interleaved(
    candidates: Mapping[str, Sequence[str]], rounds: int, env: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    """Median (CPU, wall) seconds of each candidate, all run in random order within every round."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name in random.sample(list(candidates), len(candidates)):
            seen[name].append(cpu_of(candidates[name], env))
    return {
        name: (statistics.median(c for c, _ in runs), statistics.median(w for _, w in runs))
        for name, runs in seen.items()
    }


@contextmanager
def empty_home():
    """A home with nothing in it, and an environment that points there."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        env = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("CODETETHER_", "VAULT_", "XDG_"))
        }
        yield home, env | {"HOME": folder, "LC_ALL": "C.UTF-8"}


def tree_memory(pid: int) -> int:
    """Bytes of memory that the process `pid` and its descendants have for themselves: the sum of their PSS."""
    total = 0
    todo = [pid]
    while todo:
        one = todo.pop()
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            todo += [int(c) for c in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except (OSError, ValueError):
            continue
        total += (
            sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            * 1024
        )
    return total


def peak_memory(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> int:
    """The highest `tree_memory` seen while `argv` ran, sampled every 4 ms."""
    process = subprocess.Popen(
        argv,
        env=dict(env),
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, tree_memory(process.pid))
        time.sleep(0.004)
    return peak
