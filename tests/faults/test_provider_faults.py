"""Which faults of providers there are, and that each has a test here: a test is named for its fault, `test_f05_...`.

All are turns of a session (kernel, provider, byte server) in every dialect where that makes a difference; what the wire
does below a session is in tests/plugins/providers/test_wire_*.py. F60 has no crash reporter to speak of yet; F61 is in
tests/plugins/providers/test_vault*.py.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FAULTS = {
    "f01": "a limit that says how long, in every form",
    "f02": "overload for three minutes and for an hour; fifty agents at once",
    "f03": "a key that is refused",
    "f04": "a request that is refused",
    "f05": "a stream that is cut",
    "f06": "a stream that ends too early, in good order",
    "f07": "a stream that says nothing more",
    "f08": "a stream in odd pieces",
    "f09": "a call in an answer that was cut",
    "f10": "a call that makes no sense",
    "f11": "calls of one id, of another's, of none",
    "f12": "a call that was never answered",
    "f13": "a conversation that is too long",
    "f14": "a result that is too long",
    "f15": "an answer that is none",
    "f16": "a key where it must not be",
    "f17": "a redirect",
    "f18": "many calls side by side",
    "f59": "secrets of the whole program",
    "f62": "a machine that has nothing to give",
}


def named():
    """Every test function of this folder."""
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_a_test(fault):
    assert [name for name in named() if name.startswith(f"test_{fault}_")], FAULTS[fault]


def test_each_number_used_is_in_the_table():
    used = {
        name.split("_")[1] for name in named() if name.startswith("test_f") and name[6:8].isdigit()
    }
    assert used == set(FAULTS)
