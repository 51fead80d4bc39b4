"""Run every benchmark and write its table into README.md: `uv run python benchmarks/run.py [NAME ...]`.

Each figure is a ratio to, or a difference from, something measured in the same run, because machines are noisy.
"""

from __future__ import annotations

import importlib
import platform
import sys
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
NAMES = (
    "startup", "exec_one_call", "deltas", "dialects", "parallel", "steps", "resume", "tokens", "imports", "secrets",
    "sandbox", "edit", "patch", "swarm", "nats", "ralph", "rlm", "search", "codesearch", "lsp", "tui",
)  # fmt: skip
START, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main(names: list[str]) -> int:
    sys.path.insert(0, str(HERE))
    rows: list[tuple[str, str, str, bool]] = []
    for name in names or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"bench_{name}").measure()
    table = "\n".join(
        ["| What | Target | Measured | |", "| --- | --- | --- | --- |"]
        + [
            f"| {what} | {target} | {measured} | {'✓' if ok else '✗'} |"
            for what, target, measured, ok in rows
        ]
    )
    print(table)
    if not names:
        machine = f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}, {_cpu()}"
        readme = HERE / "README.md"
        before, _, rest = readme.read_text("utf-8").partition(START)
        after = rest.partition(END)[2]
        text = f"{before}{START}\n\n{table}\n\nMeasured {date.today().isoformat()} on {machine}.\n\n{END}{after}"  # noqa: DTZ011
        readme.write_text(text, "utf-8")
    return 0 if all(ok for *_, ok in rows) else 1


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
