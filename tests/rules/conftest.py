"""The scripts of core/dev are the rules; the tests here run them and prove that they catch what they are for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "core/dev"))


@pytest.fixture(scope="session")
def workspace():
    """Every member as its folder says."""
    from workspace import Workspace

    return Workspace(ROOT)


@pytest.fixture(scope="session")
def tracked():
    """The files of the repository: committed, or new and not ignored."""
    import subprocess

    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]
