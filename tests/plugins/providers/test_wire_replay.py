"""What of an earlier answer goes back as it came."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
from codetether.api import Message, Request, Secrets, Text, Thought, ToolCall, ToolResult
from codetether.testing import ByteServer, make_kernel
from codetether.testing.http import head
from codetether_wire import ChatDialect, ResponsesDialect, Traits
from codetether_wire.replay import CallIds
from hypothesis import given
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter
from responses_events import call, message, reasoning, stream
from vendor_histories import histories, repaired

USER = Message("user", (Text("hi"),))
SEALED = json.dumps({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "X"})
DETAILS = '[{"type": "reasoning.text", "text": "hm"}]'


def said(*parts, model=""):
    return Message("assistant", parts, model=model)


@pytest.mark.parametrize(
    ("model", "label", "sent"),
    [
        ("kimi/k2", "functions.bash:0", "functions.bash:0"),
        ("other/k2", "functions.bash:0", "c1"),
        ("kimi2/k2", "functions.bash:0", "c1"),
        ("kimi/k2", "", "c1"),
        ("kimi/k2", "ü", "c1"),
        ("kimi/k2", "x" * 65, "c1"),
    ],
)
def test_a_vendor_gets_its_own_ids_back(model, label, sent):
    history = (USER, said(ToolCall("c1", "bash", "{}", label), model=model))
    result = Message("tool", (ToolResult("c1", "bash", "x"),))
    request = Request("k2", (*history, result))
    chat = json.loads(ChatDialect().outgoing(request, Traits(), "kimi").body)["messages"]
    assert chat[1]["tool_calls"][0]["id"] == chat[2]["tool_call_id"] == sent
    items = json.loads(ResponsesDialect().outgoing(request, Traits(), "kimi").body)["input"]
    assert items[1]["call_id"] == items[2]["call_id"] == sent


def test_an_id_given_twice_is_sent_once():
    calls = [ToolCall(f"c{n}", "bash", "{}", "terminal_46") for n in range(3)]
    ids = CallIds([said(*calls, model="kimi/k2")], "kimi")
    assert [ids.of(call.id) for call in calls] == ["terminal_46", "c1", "c2"]


@given(histories("kimi"))
def test_ids_are_unique_and_a_longer_history_changes_none(history):
    whole = repaired(history)
    names = [call.id for one in whole for call in one.calls]
    sent = CallIds(whole, "kimi")
    assert len({sent.of(name) for name in names}) == len(names)
    assert all(0 < len(sent.of(name)) <= 64 for name in names)
    for end in range(len(whole)):
        part = CallIds(whole[:end], "kimi")
        for one in whole[:end]:
            assert all(part.of(call.id) == sent.of(call.id) for call in one.calls)


@pytest.mark.parametrize(("model", "goes_back"), [("a/m", True), ("", True), ("a/other", False)])
def test_a_seal_goes_back_to_its_model_only(model, goes_back):
    sealed = Request("m", (USER, said(Thought("", SEALED, "a"), Text("so"), model=model), USER))
    keep = Traits(replay="encrypted_content")
    assert (b"encrypted_content" in _input(ResponsesDialect(), sealed, keep)) is goes_back
    detailed = Request("m", (USER, said(Thought("", DETAILS, "a"), Text("so"), model=model), USER))
    keep = Traits(replay="reasoning_details")
    assert (b"reasoning_details" in _input(ChatDialect(), detailed, keep)) is goes_back
    opaque = Request("m", (USER, said(Thought("", "S", "a"), Text("so"), model=model), USER))
    keep = Traits(replay="reasoning_opaque")
    assert (b"reasoning_opaque" in _input(ChatDialect(), opaque, keep)) is goes_back


def _input(dialect, request, traits):
    body = json.loads(dialect.outgoing(request, traits, "a").body)
    return json.dumps(body.get("input", body.get("messages"))).encode()


def test_open_reasoning_goes_back_whatever_model_it_was():
    request = Request("m", (USER, said(Thought("hm", "", "a"), Text("so"), model="a/other"), USER))
    assert b"hm" in _input(ChatDialect(), request, Traits(replay="reasoning_content"))


@pytest.mark.parametrize("opaque", [SEALED, "{", "S"])
def test_what_another_dialect_kept_is_no_detail(opaque):
    request = Request("m", (USER, said(Thought("", opaque, "a"), Text("so")), USER))
    assert b"reasoning_details" not in _input(
        ChatDialect(), request, Traits(replay="reasoning_details")
    )


class Memory(Secrets):
    api = 1
    document: ClassVar[dict[str, str]] = {}

    async def get(self, provider):
        return self.document

    async def providers(self):
        return ["openai"]

    async def check(self):
        return []


async def test_a_session_by_responses(tmp_path):
    """Two calls, their results, a resume: everything the vendor sees keeps to its types, and its seals come back."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.txt").write_text("hello\n")
    look = stream(
        reasoning("I look", index=0),
        message("Let me see.", index=1, phase="commentary"),
        call("read_file", '{"path": "a.txt"}', index=2),
        call("read_file", '{"path": "none.txt"}', index=3),
    )
    say = stream(reasoning(index=0, encrypted="SECOND"), message("It says hello.", index=1))
    replies = [look, say, stream(message("As I said."))]
    async with ByteServer([[head() + reply] for reply in replies]) as server:
        Memory.document = {"api_key": "sk-canary-session", "base_url": f"{server.url}/v1"}
        async with make_kernel(
            tmp_path,
            plugins=["providers:openai", "tools:read_file", "sandboxes:none"],
            extra={"secrets:memory": Memory},
            settings={"default_model": "openai/gpt-5.4"},
        ) as kernel:
            async with kernel.open_session(directory=tmp_path / "work") as session:
                done = await session.prompt("What does a.txt say?")
                assert (done.reason, done.text) == ("done", "It says hello.")
                assert done.usage.cached == 128
                name = session.id
            async with kernel.open_session(directory=tmp_path / "work", resume=name) as session:
                assert (await session.prompt("Again")).text == "As I said."
    judge = TypeAdapter(ResponseCreateParamsStreaming)
    for sent in server.requests:
        judge.validate_python(sent.json)
        assert sent.json["tools"][0]["name"] == "read_file"
        assert "canary" not in sent.body.decode()
    last = server.requests[2].json["input"]
    assert [item.get("encrypted_content") for item in last if item["type"] == "reasoning"] == [
        "SEALED",
        "SECOND",
    ]
    calls = [item["call_id"] for item in last if item["type"] == "function_call"]
    assert calls == ["call_2", "call_3"]
    outputs = [item for item in last if item["type"] == "function_call_output"]
    assert [item["call_id"] for item in outputs] == calls
    assert "hello" in outputs[0]["output"]
    phases = [item["phase"] for item in last if item.get("role") == "assistant"]
    assert phases == ["commentary", "final_answer"]
    keys = {sent.json["prompt_cache_key"] for sent in server.requests}
    assert len(keys) == 1
