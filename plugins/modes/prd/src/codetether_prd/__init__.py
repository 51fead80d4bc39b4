"""Product requirements documents (prd.json): read, made, checked, brought up to date. Unknown keys are kept.

For the tool that makes one and the mode that works by one. Names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_prd.checking import Findings, check, report
    from codetether_prd.document import (
        Document,
        Known,
        PrdError,
        branch_for,
        from_parts,
        parse,
        passed,
        updated,
    )
    from codetether_prd.story import FileExists, Shell, Step, Story, Url

_WHERE = {
    "checking": "Findings check report",
    "document": "Document Known PrdError branch_for from_parts parse passed updated",
    "story": "FileExists Shell Step Story Url",
}

__all__ = [
    "Document",
    "FileExists",
    "Findings",
    "Known",
    "PrdError",
    "Shell",
    "Step",
    "Story",
    "Url",
    "branch_for",
    "check",
    "from_parts",
    "parse",
    "passed",
    "report",
    "updated",
]

__getattr__ = lazy(globals(), _WHERE)
