"""What OpenAI's own SDK says of a request in either of its languages, and the rules its types cannot say."""

from __future__ import annotations

from itertools import pairwise

from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter

RESPONSES = TypeAdapter(ResponseCreateParamsStreaming)
CHAT = TypeAdapter(CompletionCreateParamsStreaming)


def judge_responses(sent):
    """Types; every call answered, in order; reasoning stands before what it led to; the model is to speak."""
    RESPONSES.validate_python(sent)
    calls = [item["call_id"] for item in sent["input"] if item["type"] == "function_call"]
    outputs = [item["call_id"] for item in sent["input"] if item["type"] == "function_call_output"]
    assert calls == outputs
    assert len(set(calls)) == len(calls)
    kinds = [(item["type"], item.get("role")) for item in sent["input"]]
    follows = [("message", "assistant"), ("function_call", None), ("reasoning", None)]
    for one, other in pairwise(kinds):
        if one == ("reasoning", None):
            assert other in follows
    assert kinds[-1] in [("message", "user"), ("function_call_output", None)]


def judge_chat(sent):
    """Types; every call answered at once, in order; no id twice."""
    CHAT.validate_python(sent)
    calls, waiting = [], []
    for message in sent["messages"]:
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
            continue
        assert not waiting
        waiting = [call["id"] for call in message.get("tool_calls", ())]
        calls += waiting
    assert len(set(calls)) == len(calls)
