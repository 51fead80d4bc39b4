"""The fallback strategies, each with what only it finds."""

from __future__ import annotations

import pytest
from codetether.errors import ToolError
from codetether_editing import apply_edit

CODE = """\
class Shop:
    def total(self, items):
        result = 0
        for item in items:
            result += item.price
        return result

    def count(self, items):
        return len(items)
"""


def edit(text, old, new, **how):
    outcome = apply_edit(text.encode(), old, new, **how)
    return outcome.strategy, outcome.data.decode()


def test_line_trimmed():
    text = CODE.replace("result = 0\n", "result = 0   \n")
    strategy, after = edit(
        text,
        "        result = 0\n        for item in items:\n",
        "        result = 1\n        for item in items:\n",
    )
    assert strategy == "line-trimmed"
    assert after == text.replace("result = 0   \n", "result = 1\n")


def test_line_trimmed_at_the_end_of_a_file_without_a_last_newline():
    assert edit("a\nlast", "last\n", "new\n") == ("line-trimmed", "a\nnew")


def test_indentation_flexible_indents_the_replacement():
    strategy, after = edit(
        CODE,
        "for item in items:\n    result += item.price\n",
        "for item in items:\n    if item:\n        result += item.price\n",
    )
    assert strategy == "indentation-flexible"
    assert after == CODE.replace(
        "            result += item.price\n",
        "            if item:\n                result += item.price\n",
    )


def test_indentation_flexible_the_other_way():
    strategy, after = edit("a:\n  b\n  c\n", "      b\n      c", "      b\n        d\n      c")
    assert (strategy, after) == ("indentation-flexible", "a:\n  b\n    d\n  c\n")


def test_spaces_become_the_tabs_of_the_file():
    text = "func f() {\n\tif x {\n\t\ty()\n\t}\n}\n"
    strategy, after = edit(
        text,
        "    if x {\n        y()\n    }",
        "    if x {\n        for {\n            y()\n        }\n    }",
    )
    assert strategy == "whitespace-normalised"
    assert after == "func f() {\n\tif x {\n\t\tfor {\n\t\t\ty()\n\t\t}\n\t}\n}\n"


def test_whitespace_normalised():
    strategy, after = edit("x  =   1\ny = 2\n", "x = 1\ny =  2", "x = 3\ny = 2")
    assert (strategy, after) == ("whitespace-normalised", "x = 3\ny = 2\n")


def test_block_anchor():
    old = (
        "    def total(self, items):\n        result = 0\n        for item in itemz:\n"
        "            result += item.price\n        return result\n"
    )
    strategy, after = edit(CODE, old, "    def total(self, items):\n        return sum(items)\n")
    assert strategy == "block-anchor"
    assert after == (
        "class Shop:\n    def total(self, items):\n        return sum(items)\n\n"
        "    def count(self, items):\n        return len(items)\n"
    )


def test_block_anchor_refuses_what_is_not_alike():
    old = "    def total(self, items):\n        one\n        two\n        three\n        return result\n"
    with pytest.raises(ToolError) as caught:
        edit(CODE, old, "x")
    assert caught.value.code == "NOT_FOUND"


def test_trimmed_boundary():
    strategy, after = edit("a = f(1)\nb = 2\n", "\n\nf(1)\n", "\n\ng(1)\n")
    assert (strategy, after) == ("trimmed-boundary", "a = g(1)\nb = 2\n")


def test_removing_whole_lines_leaves_no_empty_line():
    strategy, after = edit("a\n    b\n    c\nd\n", "b\nc\n", "")
    assert (strategy, after) == ("indentation-flexible", "a\nd\n")


@pytest.mark.parametrize(
    "strategy", ["line-trimmed", "indentation-flexible", "whitespace-normalised"]
)
def test_loose_matches_must_be_unique(strategy):
    block = {
        "line-trimmed": "x \ny\n",
        "indentation-flexible": "  x\n  y\n",
        "whitespace-normalised": "x  z\ny\n",
    }
    old = "x z\ny\n" if strategy == "whitespace-normalised" else "x\ny\n"
    text = block[strategy] + "-\n" + block[strategy]
    with pytest.raises(ToolError) as caught:
        edit(text, old, "n\n")
    assert caught.value.code == "AMBIGUOUS_MATCH"
    assert caught.value.meta["lines"] == [1, 4]
    found, after = edit(text, old, "n\n", replace_all=True)
    assert found == strategy
    assert after.split() == ["n", "-", "n"]


def test_a_stricter_match_wins_over_many_looser_ones():
    text = "  x\n  y\nx\ny \n"
    strategy, after = edit(text, "x\ny\n", "z\n")
    assert (strategy, after) == ("line-trimmed", "  x\n  y\nz\n")
