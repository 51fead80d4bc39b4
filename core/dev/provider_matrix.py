"""Write the table in docs/providers.md from what the tests see each provider do: `python core/dev/provider_matrix.py`.

The tests (tests/plugins/providers/test_matrix.py) try each ability against a loopback server; with PROVIDER_MATRIX set
they write down what they saw, else they compare it with the page.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "providers.md"
TEST = ROOT / "tests" / "plugins" / "providers" / "test_matrix.py"
START, END = "<!-- seen: begin -->", "<!-- seen: end -->"
COLUMNS = (
    "language", "default model", "streams", "reasoning shown", "reasoning sent back", "tools", "pictures", "tokens",
    "of these cached", "schema", "cache steered", "lists models", "secret",
)  # fmt: skip


def line(name: str, row: Mapping[str, Any]) -> str:
    """One provider as a line of the table."""
    return f"| `{name}` | {' | '.join(_cell(column, row[column]) for column in COLUMNS)} |"


def _cell(column: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(f"`{field.strip()}`" for each in value for field in each.split(","))
    is_name = column in ("default model", "pictures") and " " not in value
    return f"`{value}`" if is_name else str(value)


def page_with(page: str, lines: Mapping[str, str]) -> str:
    """The page with its table written anew; what people wrote stays."""
    head = [f"| provider | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    table = "\n".join([*head, *(lines[name] for name in sorted(lines))])
    before, _, rest = page.partition(START)
    return f"{before}{START}\n\n{table}\n\n{END}{rest.partition(END)[2]}"


def seen_lines() -> dict[str, str]:
    """The lines of the page's table, by provider."""
    seen = PAGE.read_text("utf-8").partition(START)[2].partition(END)[0]
    rows = [row for row in seen.splitlines() if row.startswith("| `")]
    return {row.split("`")[1]: row for row in rows}


def main() -> int:
    """Run the tests, write the page. The exit code of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", str(TEST)],
            cwd=ROOT,
            env={**os.environ, "PROVIDER_MATRIX": folder},
            check=False,
        )
        if done.returncode == 0:
            found = {p.stem: json.loads(p.read_text("utf-8")) for p in Path(folder).glob("*.json")}
            lines = {name: line(name, row) for name, row in found.items()}
            PAGE.write_text(page_with(PAGE.read_text("utf-8"), lines), "utf-8")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
