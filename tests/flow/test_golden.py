"""exec against a model server, all of it: what the server was asked, what was written down, what was shown.

`UPDATE_GOLDEN=1 pytest tests/flow/test_golden.py` writes golden/ anew; read the difference before you commit it.
"""

from __future__ import annotations

import json
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from codetether import __version__
from codetether.testing import Call, Reply
from codetether.words import Usage

ONLY = [
    "providers",
    "modes",
    "ui",
    "sandboxes",
    *(f"tools:{name}" for name in ("read_file", "grep", "edit", "bash")),
]
GOLDEN = Path(__file__).parent / "golden"
CODE = "def mean(numbers):\n    return sum(numbers) / len(numbers) + 1\n"
CHECK = "from stats import mean\n\nassert mean([1, 2, 3]) == 2\nprint('all good')\n"
TASK = "mean is one too high; fix it"
EDIT = {"path": "stats.py", "old_string": "len(numbers) + 1", "new_string": "len(numbers)"}
REPLIES = [
    Reply("I look first.", calls=(Call("read_file", {"path": "stats.py"}),), usage=Usage(1000, 40)),
    Reply("", calls=(Call("grep", {"pattern": "mean"}),), usage=Usage(1100, 10)),
    Reply("", thoughts="One too many.", calls=(Call("edit", EDIT),), usage=Usage(1200, 30)),
    Reply("Now the check.", calls=(Call("bash", {"command": "python3 check.py"}),), usage=Usage(1300, 20)),
    Reply("`mean` was one too high; it is right now, and check.py says so.", usage=Usage(1400, 20)),
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_sandbox(monkeypatch):
    """Which one works depends on the machine, and its level is shown."""
    monkeypatch.setenv("CODETETHER_SANDBOX", "none")


@pytest.fixture
def repository(place):
    place.set(f"[plugins]\nonly = {ONLY}\n")  # a tool more changes nothing here
    place.write(stats_dot_py=CODE, check_dot_py=CHECK, AGENTS_dot_md="Keep it short.\n")
    return place


async def fixed(place, form):
    async with place.model(*REPLIES) as server:
        done = await place.exec("--access-mode", "full", "--format", form, TASK)
    assert done.code == 0, done.err
    assert "+ 1" not in (place.work / "stats.py").read_text()
    return done, server.asked


class Plain:
    """Takes away what differs between two runs: ids (numbered as they come), times, paths."""

    def __init__(self, place):
        self.names = {}
        self.paths = {str(place.work): "WORK", str(place.home): "HOME"}

    def __call__(self, text):
        for path, name in self.paths.items():
            text = text.replace(path, name)
        text = re.sub(r"\b(s-\d{8}-\d{6}-[0-9a-f]{4})\b", self.numbered("SESSION"), text)
        text = re.sub(
            r"\b(prompt|msg|call|ask|summary)_[0-9a-f]{10}[0-9a-f]+\b", self.numbered(), text
        )
        text = re.sub(r'("(?:id|parent)":")([0-9a-f]{8,})(")', self.quoted, text)
        text = re.sub(r"\b\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME", text)
        text = re.sub(r"Date: \d{4}-\d\d-\d\d", "Date: TODAY", text)
        text = re.sub(r"System: \S+ \S+(?=\n|\\n)", "System: HERE", text)
        text = re.sub(r'("(?:seconds|ts)":\s*)\d+(?:\.\d+)?(?:e-?\d+)?', r"\1SECONDS", text)
        text = re.sub(r'("commit":")[0-9a-f]{40}', r"\1COMMIT", text)
        text = text.replace(f'"version":"{__version__}"', '"version":"VERSION"')
        return re.sub(r"\b\d+\.\d s\b", "0.0 s", text)

    def numbered(self, word=""):
        def number(match):
            kind = word or match[1]
            return self.names.setdefault(match[0], f"{kind}-{len(self.names) + 1}")

        return number

    def quoted(self, match):
        return (
            match[1] + self.names.setdefault(match[2], f"record-{len(self.names) + 1}") + match[3]
        )


def golden(name, text):
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8"), f"{name} differs; see the head of this file"


async def test_what_the_server_is_asked(repository):
    _, asked = await fixed(repository, "text")
    last = asked[-1] | {"tools": [signature(tool["function"]) for tool in asked[-1]["tools"]]}
    text = json.dumps(last, indent=1, ensure_ascii=False)
    golden("request.json", Plain(repository)(text) + "\n")


def signature(tool):
    """Descriptions have tests of their own."""
    names = tool["parameters"]["properties"]
    required = tool["parameters"]["required"]
    return f"{tool['name']}({', '.join(n if n in required else f'[{n}]' for n in names)})"


async def test_what_is_asked_grows_at_its_end_only(repository):
    """A vendor's cache needs the same bytes from the start: tools, system text, what was said."""
    _, asked = await fixed(repository, "text")
    for earlier, later in pairwise(asked):
        assert later["messages"][: len(earlier["messages"])] == earlier["messages"]
        assert len(later["messages"]) > len(earlier["messages"])
        rest = {key: value for key, value in later.items() if key != "messages"}
        assert rest == {key: value for key, value in earlier.items() if key != "messages"}
        assert list(later) == list(earlier)
    names = [tool["function"]["name"] for tool in asked[0]["tools"]]
    assert names == sorted(names)


async def test_another_process_asks_the_same(repository):
    """System text and tools do not depend on the process: hashes, dictionary order, directory order."""
    starts = []
    for seed in ("1", "2"):
        async with repository.model("hello") as server:
            assert (await repository.exec("hi", PYTHONHASHSEED=seed)).code == 0
        (request,) = server.asked
        request.pop("prompt_cache_key", None)
        starts.append(json.dumps(request))
    assert starts[0] == starts[1]


async def test_what_is_written_down(repository):
    await fixed(repository, "text")
    (path,) = repository.session_files()
    golden("transcript.jsonl", Plain(repository)(path.read_text("utf-8")))
    assert not path.with_suffix(".lock").exists()


@pytest.mark.parametrize("form", ["text", "json", "stream-json"])
async def test_what_is_shown(repository, form):
    done, _ = await fixed(repository, form)
    plain = Plain(repository)
    if form == "stream-json":
        done = done._replace(out=settled(done.out))
    shown = f"--- stdout ---\n{plain(done.out)}--- stderr ---\n{plain(done.err)}"
    golden(f"shown-{form}.txt", shown)


def settled(lines):
    """Events without what depends on how the network and the scheduler cut them: deltas joined, progress left out."""
    events = [json.loads(line) for line in lines.splitlines()]
    assert [event.pop("seq") for event in events] == list(range(1, len(events) + 1))
    kept = []
    for event in events:
        if event["type"] == "tool_progress":
            continue
        if kept and event["type"] == kept[-1]["type"] and event["type"].endswith("_delta"):
            kept[-1]["text"] += event["text"]
        else:
            kept.append(event)
    return "".join(
        json.dumps(event, separators=(",", ":"), ensure_ascii=False) + "\n" for event in kept
    )
