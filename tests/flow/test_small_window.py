"""Fifty turns with a model whose window they do not fit: shortened for the model, never in the transcript (F13, F14)."""

from __future__ import annotations

import json
import sys

import pytest
import trio
from codetether.events import ProviderFault
from codetether.testing import Call, Reply, response
from place import Strict, assert_answered, results_of


@pytest.fixture
def repository(place):
    place.write(a_dot_txt="one\n")
    return place


MANY = """
import sys, trio
from pathlib import Path
from codetether.kernel import Kernel

async def main():
    async with Kernel.load(".") as kernel:
        async with kernel.open_session(directory=Path(".").resolve(), model="local/scripted") as session:
            for number in range(50):
                finished = await session.prompt(f"turn {number}: the word is word-{number}")
                print(finished.reason, finished.text, finished.error, flush=True)

trio.run(main)
"""
FEW = '[plugins]\nonly = ["modes", "providers", "sandboxes", "ui", "extensions", "tools:read_file", "tools:bash", "tools:grep"]'
WINDOW = 9_000  # tokens at 4 bytes; system text and tools take a third


class Small(Strict):
    """A model with a window: what is longer is refused. `told`: it says how large the window is."""

    def __init__(self, *, told):
        super().__init__(self._says)
        self.told, self.refused, self.sizes = told, 0, []

    def steps(self, request):
        if request.method == "GET" and request.path.endswith("/models"):
            more = {"max_model_len": WINDOW} if self.told else {}
            return [response(json.dumps({"data": [{"id": "scripted", "object": "model", **more}]}))]
        return super().steps(request)

    def _says(self, asked):
        if "tools" not in asked:
            return "SUMMARY: files were read."
        size = len(json.dumps(asked)) // 4
        if size > WINDOW:
            self.refused += 1
            message = (
                f"This model's maximum context length is {WINDOW} tokens, you asked for {size}"
            )
            return Reply(fault=ProviderFault("context", message, 400))
        self.sizes.append(size)
        last = asked["messages"][-1]
        if last["role"] == "tool":
            return "I saw it."
        return Reply("", calls=(Call("read_file", {"path": "big.txt"}),))


@pytest.mark.parametrize("told", [True, False])
async def test_fifty_turns_in_a_small_window(repository, told):
    repository.set(FEW)
    repository.write(big_dot_txt="".join(f"line {n} of a big file\n" for n in range(120)))
    async with Small(told=told) as server:
        repository.url = server.url + (",http://127.0.0.1:9" if told else "")
        done = await trio.run_process(
            [sys.executable, "-c", MANY], capture_stdout=True, capture_stderr=True, check=False,
            cwd=repository.work, env=repository.env(),
        )  # fmt: skip
        lines = done.stdout.decode().splitlines()
        assert lines == ["done I saw it. "] * 50, done.stderr.decode()
        assert (server.refused == 0) is told, "who is told the window does not run into it"
        (path,) = repository.session_files()
        again = await repository.exec("-s", path.stem, "and after all that?")
        assert (again.code, again.out) == (0, "I saw it.\n"), again.err
    messages = repository.messages()
    assert len(messages) == 51 * 4, "nothing was taken from the transcript"
    assert_answered(messages)
    assert all("line 119" in result["text"] for result in results_of(messages))
    kinds = [record["kind"] for record in repository.records()]
    assert 2 <= kinds.count("compaction") <= 25
    said = "\n".join(m["content"] for m in server.asked[-1]["messages"] if m["role"] == "user")
    assert all(f"word-{number}" in said for number in range(50)), (
        "what the person said is never left out"
    )
    assert server.asked[-1]["messages"][0] == server.asked[0]["messages"][0]
    assert max(server.sizes) <= WINDOW


async def test_what_cannot_be_shortened_fails_with_advice(repository):
    """At most two attempts, then the truth (F13)."""
    async with Small(told=False) as server:
        repository.url = server.url
        done = await repository.exec("x" * 40_000)
    assert done.code == 1
    assert "cannot be shortened" in done.err
    assert "larger context" in done.err
    assert server.refused <= 3
