"""What `exec`, `run` and `demo` have in common: the flags of a prompt, what goes with it, and one prompt to its end.

Names load on first use: `--help` needs the flags only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codetether_headless.drive import drive
    from codetether_headless.job import Job, Outcome, farewell
    from codetether_headless.material import Material, read_material
    from codetether_headless.prompting import Wanted, positive_count, prompt_arguments, run_prompt

_WHERE = {
    "drive": "drive",
    "job": "Job Outcome farewell",
    "material": "Material read_material",
    "prompting": "Wanted positive_count prompt_arguments run_prompt",
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = [
    "Job",
    "Material",
    "Outcome",
    "Wanted",
    "drive",
    "farewell",
    "positive_count",
    "prompt_arguments",
    "read_material",
    "run_prompt",
]


def __getattr__(name: str) -> Any:
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"codetether_headless has no {name!r}")
    value = getattr(import_module(f"codetether_headless.{module}"), name)
    globals()[name] = value
    return value
