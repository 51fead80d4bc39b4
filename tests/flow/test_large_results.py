"""`exec` with a model whose window is told: what does not fit it is summarised by rlm, over the wire, in the sandbox."""

from __future__ import annotations

import json

import pytest
from codetether.testing import Reply, call, response
from place import Strict, results_of

WINDOW = 60_000
LOOK = "grep('ERROR')"
FOUND = 'FINAL("node 7 is full (line 20000)")'


class Told(Strict):
    """The session's model, and rlm's: it says how large its window is, and refuses what is larger."""

    def __init__(self):
        super().__init__(self._says)
        self.looked = []

    def steps(self, request):
        if request.method == "GET" and request.path.endswith("/models"):
            row = {"id": "scripted", "object": "model", "max_model_len": WINDOW}
            return [response(json.dumps({"data": [row]}))]
        return super().steps(request)

    def _says(self, asked):
        assert len(json.dumps(asked)) // 4 < WINDOW
        system = next(m["content"] for m in asked["messages"] if m["role"] == "system")
        if system.startswith("You answer a question about texts"):
            self.looked.append(asked["messages"][-1]["content"])
            return (LOOK, FOUND)[sum(m["role"] == "assistant" for m in asked["messages"])]
        if asked["messages"][-1]["role"] == "tool" or "run it" not in asked["messages"][-1]["content"]:  # fmt: skip
            return "It is node 7."
        return Reply("", calls=call("bash", command="cat big.log").calls)


@pytest.fixture
def repository(place):
    lines = [f"12:00:{n % 60:02} INFO request {n} done" for n in range(1, 30_001)]
    lines[19_999] = "12:00:00 ERROR node 7 is full"
    place.write(big_dot_log="\n".join(lines) + "\n")
    return place


async def test_a_result_and_an_attached_file_that_do_not_fit(repository):
    async with Told() as server:
        repository.url = (
            f"{server.url},http://127.0.0.1:9"  # with one address nothing is asked of it
        )
        ran = await repository.exec("--access-mode", "full", "run it", CODETETHER_SANDBOX="auto")
        attached = await repository.exec("why does it fail? @big.log", CODETETHER_SANDBOX="auto")
    assert (ran.code, ran.out) == (0, "It is node 7.\n"), ran.err
    [result] = results_of(repository.messages(repository.session_files()[0]))
    assert "tokens are too many for the model's window of 60,000" in result["text"]
    assert "node 7 is full (line 20000)" in result["text"]
    assert "rlm summarises it" in ran.err
    assert (attached.code, attached.out) == (0, "It is node 7.\n"), attached.err
    sent = server.asked[-1]["messages"][-1]["content"]
    assert "[This attached file big.log has" in sent
    assert "node 7 is full (line 20000)" in sent
    assert "20000: 12:00:00 ERROR node 7 is full" in server.looked[1]
    assert len(server.looked) == 4
