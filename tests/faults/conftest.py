"""Whole turns of a session against vendors that fail byte by byte, in every dialect."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

# The vendors' own judges and streams are shared with the dialects' own tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "flow"))
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "providers"))
sys.path.insert(0, str(Path(__file__).parent))

from dialects import DIALECTS


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request):
    """Each language in turn, with a provider that speaks it."""
    return DIALECTS[request.param]


@pytest.fixture
def leaping_clock(monkeypatch):
    """Time leaps to the next thing that waits. Nothing runs in threads meanwhile: the clock cannot see those, and would
    leap to the end of the test while one of them writes a file.
    """

    async def here(function, *args, **_how):
        await trio.lowlevel.checkpoint()
        return function(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", here)
    return MockClock(autojump_threshold=0)
