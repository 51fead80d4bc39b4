"""What the quick commands import, to the module: one more and they cost twice as much. No clock is read here."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import io, os, sys  # a bare interpreter has loaded os
before = set(sys.modules)
kept, sys.stdout = sys.stdout, io.StringIO()
from codetether.__main__ import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
sys.stdout = kept
print(code, *sorted(set(sys.modules) - before))
"""
QUICK = {"codetether", "codetether.__main__"}
LISTS = QUICK | {"codetether.catalog", "codetether.listing", "codetether.layers"}


def loaded(*words, env=()):
    """The exit code, and the modules loaded beyond a bare interpreter (without site, so that the set is exact)."""
    import os

    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-S", "-c", CODE, *words],
        env={**os.environ, "PYTHONPATH": path, **dict(env)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, *modules = done.stdout.split()
    return int(code), set(modules)


@pytest.mark.parametrize("words", [["--version"], ["-V"]])
def test_the_version_needs_nothing(words):
    assert loaded(*words) == (0, QUICK)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"], ["-h"], ["help"], ["plugins", "list"], ["plugins"], ["tools", "list"], ["tools"],
        ["-p", "no:tools:bash", "tools", "list"],
    ],
)  # fmt: skip
def test_lists_need_the_catalog_only(words):
    assert loaded(*words) == (0, LISTS)


def test_json_adds_json_only():
    code, modules = loaded("plugins", "list", "--json")
    assert code == 0
    assert {name for name in modules if name.startswith("codetether")} == LISTS
    assert "json" in modules
    assert not {"typing", "argparse", "importlib.metadata", "msgspec", "trio", "pluggy"} & modules


def test_no_plugin_is_imported_to_list_it():
    _, modules = loaded("plugins", "list")
    assert not {name for name in modules if name.startswith("codetether_")}
