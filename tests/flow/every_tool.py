"""How a model would call every tool there is, on a small shop in Python."""

from __future__ import annotations

import json
import re
import sys
from typing import NamedTuple

from codetether.testing import ByteServer, Call, Reply
from codetether.testing.http import response

APP = '''"""Prices."""


def total(prices: list[float]) -> float:
    """Add all prices."""
    return sum(prices)


def average(prices: list[float]) -> float:
    """The mean of all prices."""
    return total(prices) / len(prices)
'''
TEST = """from shop import average, total

assert total([1, 2]) == 3
assert average([1, 3]) == 2
"""
PATCH = """--- a/shop.py
+++ b/shop.py
@@ -9,3 +9,5 @@
 def average(prices: list[float]) -> float:
     \"\"\"The mean of all prices.\"\"\"
+    if not prices:
+        return 0.0
     return total(prices) / len(prices)
"""
PAGE = "<html><body><h1>Prices</h1><p>A price is a number.</p></body></html>"
FOUND = {"results": [{"title": "Prices", "url": "https://prices.test/", "content": "About prices"}]}
SKILL = "---\nname: release\ndescription: How releases are made here\n---\nRun the tests first.\n"
STORY = {"id": "US-001", "title": "Empty list", "acceptance_criteria": ["average([]) is 0"]}


class Step(NamedTuple):
    """One call, and words its result holds."""

    tool: str
    arguments: dict
    says: str


def session_steps(web):
    """The session: looking, changing, running, planning, others. `web` is the address of a loopback server."""
    edit = {"path": "shop.py", "old_string": "Add all prices.", "new_string": "Add prices."}
    more = [
        {"path": "shop.py", "old_string": "The mean of all prices.", "new_string": "The mean."},
        {"path": "README.md", "old_string": "A shop", "new_string": "A small shop"},
    ]
    inner = [{"tool": name, "args": json.dumps(args)}
             for name, args in (("list_dir", {}), ("glob", {"pattern": "*.md"}))]  # fmt: skip
    return [
        Step("list_dir", {}, "shop.py"),
        Step("glob", {"pattern": "**/*.py"}, "test_shop.py"),
        Step("grep", {"pattern": "def average"}, "shop.py"),
        Step("read_file", {"path": "shop.py"}, "def total"),
        Step("codesearch", {"query": "mean of all prices"}, "average"),
        Step("lsp", {"operation": "definition", "path": "test_shop.py", "symbol": "average", "line": 1}, "shop.py:9"),
        Step("rlm", {"query": "What does the shop add?", "paths": ["shop.py"]}, "It adds prices."),
        Step("skill", {"name": "release"}, "Run the tests first."),
        Step("webfetch", {"url": f"{web}/prices"}, "A price is a number."),
        Step("websearch", {"query": "prices"}, "https://prices.test/"),
        Step("batch", {"calls": inner}, "2 done, 0 failed"),
        Step("todo_write", {"action": "add", "content": "handle an empty list"}, "Added todo: t1"),
        Step("todo_read", {}, "handle an empty list"),
        Step("plan_enter", {"goal": "handle an empty list"}, "read-only"),
        Step("plan_exit", {"plan": "1. Patch average\n2. Run the tests"}, "carry out the plan"),
        Step("apply_patch", {"patch": PATCH}, "shop.py"),
        Step("edit", edit, "Edited shop.py"),
        Step("multiedit", {"edits": more}, "Made 2 edits in 2 files"),
        Step("write_file", {"path": "notes/done.md", "content": "Done.\n"}, "done.md"),
        Step("undo", {"action": "list"}, "notes/done.md"),
        Step("prd", {"action": "save", "project": "shop", "feature": "averages", "stories": [STORY]}, "prd.json"),
        Step("bash", {"command": f"{sys.executable} test_shop.py && git add -A && git commit -qm work && git log --format=%s"}, "work\nfiles"),
        Step("bash", {"command": "sleep 300", "background": True}, "[b1: running"),
        Step("bash_output", {"kill": True}, "[b1: killed]"),
        Step("task", {"description": "Count the tests", "prompt": "SUB-AGENT: count the tests"}, "Two tests."),
        Step("swarm", {"task": "Say what the shop does."}, "completed"),
        Step("ralph", {"action": "status"}, "0 of 1 stories pass"),
    ]  # fmt: skip


class Model:
    """The one model behind the session, its sub-agents and its modes: told apart by what they are asked."""

    def __init__(self, steps):
        self.steps = steps

    def __call__(self, asked):
        system = next((m["content"] for m in asked["messages"] if m["role"] == "system"), "")
        first = next(str(m["content"]) for m in asked["messages"] if m["role"] == "user")
        if 'FINAL("answer")' in system:
            return Reply('FINAL("It adds prices.")')
        if "You plan work" in first:
            part = {"name": "look", "instruction": "Look at the shop.", "specialty": "", "dependencies": [],
                    "priority": 0, "files": [], "writes": False}  # fmt: skip
            return Reply(json.dumps({"subtasks": [part]}))
        if "SUB-AGENT" in first:
            return Reply("Two tests.")
        if "use every tool" not in first:
            return Reply("It adds prices.")
        answers = [m for m in asked["messages"] if m["role"] == "tool"]
        if len(answers) == len(self.steps):
            return Reply("I used every tool.")
        tool, arguments, _ = self.steps[len(answers)]
        if tool == "bash_output":
            said = str(answers[-1]["content"])  # of the background command
            arguments = {**arguments, "id": re.search(r"\[(b\d+):", said)[1]}
        return Reply("", calls=(Call(tool, arguments),))


class Web(ByteServer):
    """A page, and a search service."""

    def steps(self, request):
        if request.path.startswith("/search"):
            return [response(json.dumps(FOUND))]
        return [response(PAGE, content_type="text/html")]
