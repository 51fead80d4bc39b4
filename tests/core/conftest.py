"""The histories that the dialects' tests use are those that `repair` is tried with."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "providers"))
