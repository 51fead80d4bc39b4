"""Gates: commands whose exit code decides whether work is good. The model does not.

`detect` finds a project's checks, `check` runs them confined and says what is new against a baseline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_gates.checking import Report, Runner, baseline, check
    from codetether_gates.detecting import Detected, detect
    from codetether_gates.failures import identities
    from codetether_gates.gate import KINDS, Gate, Verdict
    from codetether_gates.touching import guarded, touched

_WHERE = {
    "checking": "Report Runner baseline check",
    "detecting": "Detected detect",
    "failures": "identities",
    "gate": "KINDS Gate Verdict",
    "touching": "guarded touched",
}

__all__ = [
    "KINDS",
    "Detected",
    "Gate",
    "Report",
    "Runner",
    "Verdict",
    "baseline",
    "check",
    "detect",
    "guarded",
    "identities",
    "touched",
]

__getattr__ = lazy(globals(), _WHERE)
