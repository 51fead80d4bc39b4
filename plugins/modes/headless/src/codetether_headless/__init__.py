"""What `exec`, `run` and `demo` have in common: the flags of a prompt, what goes with it, and one prompt to its end.

Names load on first use: `--help` needs the flags only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_headless.drive import drive
    from codetether_headless.job import Job, Outcome, farewell
    from codetether_headless.material import CUT, Cut, Material, add_mentions, read_material
    from codetether_headless.prompting import Wanted, positive_count, prompt_arguments, run_prompt

_WHERE = {
    "drive": "drive",
    "job": "Job Outcome farewell",
    "material": "CUT Cut Material add_mentions read_material",
    "prompting": "Wanted positive_count prompt_arguments run_prompt",
}

__all__ = [
    "CUT",
    "Cut",
    "Job",
    "Material",
    "Outcome",
    "Wanted",
    "add_mentions",
    "drive",
    "farewell",
    "positive_count",
    "prompt_arguments",
    "read_material",
    "run_prompt",
]

__getattr__ = lazy(globals(), _WHERE)
