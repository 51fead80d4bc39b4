"""Whole programs: codetether as a child process, with a home, a git repository and a model server of the test's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from place import Place


@pytest.fixture
def place(home, tmp_path):
    """A home and a repository; nothing started in it may be left when the test ends."""
    place = Place(home, tmp_path.resolve() / "work")
    yield place
    place.assert_nothing_left()
