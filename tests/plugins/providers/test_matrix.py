"""The table of abilities in docs/providers.md says what was seen here, provider by provider, and nothing else."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "core" / "dev"))
sys.path.insert(0, str(Path(__file__).parents[2] / "flow"))
sys.path.insert(0, str(Path(__file__).parents[2] / "faults"))

from abilities import NOT_HTTP, observed, providers
from provider_matrix import PAGE, line, page_with, seen_lines


@pytest.mark.parametrize("name", sorted(providers()))
async def test_the_table_says_what_is_seen(name, kernel):
    """Run by core/dev/provider_matrix.py the row is written down; else it is compared with the page."""
    row = await observed(kernel, name)
    assert row["streams"], row
    assert row["tools"], row
    if into := os.environ.get("PROVIDER_MATRIX"):
        Path(into, f"{name}.json").write_text(json.dumps(row))
    else:
        hint = "write the page anew: python core/dev/provider_matrix.py"
        assert seen_lines().get(name) == line(name, row), hint


def test_the_page_holds_every_provider_and_only_those():
    if "PROVIDER_MATRIX" not in os.environ:
        page = PAGE.read_text("utf-8")
        assert list(seen_lines()) == sorted(providers())
        assert page == page_with(page, seen_lines())
        for name, where in NOT_HTTP.items():
            assert f"`{name}`" in page
            assert where in page
