"""What tests of modes share lies beside them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def at(tmp_path, monkeypatch):
    """Makes a project with stories, and goes there."""
    from ralphs import project

    def make(*stories, **how):
        where = project(tmp_path / "repo", *stories, **how)
        monkeypatch.chdir(where)
        return where

    return make
