"""A whole session with Anthropic's dialect on the wire: thoughts, calls, results, a resume, a cut answer."""

from __future__ import annotations

from typing import ClassVar

from anthropic_events import begin, call, end, sse, text, thought
from anthropic_judge import judge_request
from codetether.api import ProviderStatus, Secrets
from codetether.testing import ByteServer, make_kernel
from codetether.testing.http import head
from codetether_wire import Outgoing

LOOK = sse(
    begin(),
    *thought(0, "I look.", signature="c2ln"),
    *text(1, "Let me see."),
    *call(2, "read_file", '{"path": "a', '.txt"}', label="toolu_A"),
    *call(3, "read_file", '{"path": "none.txt"}', label="toolu_B"),
    *end("tool_use"),
)
SAY = sse(begin(), *thought(0, signature="aGlk"), *text(1, "It says hello."), *end())
AGAIN = sse(begin(), *text(0, "As I said."), *end())


class Memory(Secrets):
    """One secret, which a test sets."""

    api = 1
    document: ClassVar[dict[str, str]] = {}

    async def get(self, provider):
        return self.document

    async def providers(self):
        return ["anthropic"]

    async def check(self):
        return []


def judged(sent):
    beta = {"anthropic-beta": sent.headers["anthropic-beta"]}
    return judge_request(Outgoing(sent.path, sent.body, beta))


async def test_a_turn_with_calls_a_resume_and_a_cut(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.txt").write_text("hello\n")
    cut = AGAIN[: AGAIN.index(b"event: message_delta")]
    replies = [LOOK, SAY, cut, AGAIN]
    async with ByteServer([[head() + reply] for reply in replies]) as server:
        Memory.document = {"api_key": "sk-ant-x", "base_url": server.url}
        async with make_kernel(
            tmp_path,
            plugins=["providers:anthropic", "tools:read_file", "sandboxes:none"],
            extra={"secrets:memory": Memory},
            settings={"default_model": "anthropic/claude-opus-5-5"},
        ) as kernel:
            status = await kernel.provider("anthropic").status()
            assert status == ProviderStatus(usable=True, model="claude-sonnet-5-5")
            async with kernel.open_session(directory=tmp_path / "work") as session:
                done = await session.prompt("What does a.txt say?")
                assert (done.reason, done.text) == ("done", "It says hello.")
                assert done.usage.cached == 6000
                name = session.id
            async with kernel.open_session(directory=tmp_path / "work", resume=name) as session:
                assert (await session.prompt("Again")).text == "As I said."
    one, two, _, four = [judged(sent) for sent in server.requests]
    assert one["system"][0]["text"]
    content = two["messages"][1]["content"]
    assert content == [
        {"type": "thinking", "thinking": "I look.", "signature": "c2ln"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "toolu_A", "name": "read_file", "input": {"path": "a.txt"}},
        {"type": "tool_use", "id": "toolu_B", "name": "read_file", "input": {"path": "none.txt"}},
    ]
    found, missing = two["messages"][2]["content"]
    assert found["tool_use_id"] == "toolu_A"
    assert "hello" in found["content"][0]["text"]
    assert missing["is_error"]
    # Resumed from the disk and asked anew after the cut, what was said before is still the same.
    assert four["messages"][1]["content"] == content
    assert four["messages"][3]["content"][0] == {
        "type": "thinking",
        "thinking": "",
        "signature": "aGlk",
    }
    assert [m["role"] for m in four["messages"]] == ["user", "assistant"] * 2 + ["user"]
