"""Gates: commands whose exit code decides whether work is good. The model does not.

`detect` finds a project's checks, `check` runs them confined and says what is new against a baseline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_gates.checking import Report, Runner, baseline, check, measure
    from codetether_gates.detecting import Detected, detect
    from codetether_gates.failures import identities
    from codetether_gates.gate import KINDS, Gate, Measured, Verdict
    from codetether_gates.touching import guarded, steers, touched

_WHERE = {
    "checking": "Report Runner baseline check measure",
    "detecting": "Detected detect",
    "failures": "identities",
    "gate": "KINDS Gate Measured Verdict",
    "touching": "guarded steers touched",
}

__all__ = [
    "KINDS",
    "Detected",
    "Gate",
    "Measured",
    "Report",
    "Runner",
    "Verdict",
    "baseline",
    "check",
    "detect",
    "guarded",
    "identities",
    "measure",
    "steers",
    "touched",
]

__getattr__ = lazy(globals(), _WHERE)
