"""Every plugin that is installed keeps to the contract, whoever wrote it, and a kernel can load them all at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from codetether.catalog import scan
from codetether.testing import check_plugin, make_kernel

ROWS = scan()
OURS = [row for row in ROWS if row.dist.startswith("codetether-")]


def test_there_is_something_to_check():
    assert ROWS


@pytest.mark.parametrize("row", ROWS, ids=[row.key for row in ROWS])
def test_it_keeps_to_the_contract(row):
    check_plugin(row.name, f"codetether.{row.kind}")


async def test_all_load_into_one_kernel_without_a_fault(tmp_path):
    async with make_kernel(tmp_path) as kernel:
        for kind in {row.kind for row in ROWS}:
            kernel.host.load_all(kind)
        assert kernel.host.faults == []
        assert kernel.host.conflicts() == {}
        assert {plugin.key for plugin in kernel.host.loaded()} == {row.key for row in ROWS}


async def test_no_two_tools_answer_to_one_name(tmp_path):
    async with make_kernel(tmp_path) as kernel:
        tools = kernel.host.load_all("tools")
        names = [name for tool in tools for name in {tool.name, *tool.aliases}]
        assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("row", OURS, ids=[row.key for row in OURS])
def test_importing_it_has_no_side_effect(row):
    """No output, no thread, no event loop, no file: a plugin acts when it is called, not when it is imported."""
    module = row.value.partition(":")[0]
    code = (
        "import sys, threading, importlib\n"
        f"importlib.import_module({module!r})\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert 'asyncio' not in sys.modules or sys.modules['asyncio'].events._get_running_loop() is None\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
