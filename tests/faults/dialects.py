"""Each language a provider speaks: how its vendor answers, event by event, and what the vendor refuses to be asked."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import anthropic_events
import anthropic_judge
import bedrock_judge
import google_judge
import openai_judge
import responses_events
from codetether.testing import Received, chat_events, reply
from codetether.testing.http import head, response
from codetether_wire import Outgoing
from strict_chat import chat_faults


class Speaker(NamedTuple):
    """A provider and its language. `events` are the bytes of an answer, cut where the vendor cuts; `judge` raises
    AssertionError (or the error of the vendor's types) for a request the vendor would refuse.
    """

    provider: str
    model: str
    content_type: str
    events: Callable[[Any], list[bytes]]
    judge: Callable[[Received], None]

    @property
    def ref(self) -> str:
        return f"{self.provider}/{self.model}"

    def head(self, **headers: str) -> bytes:
        return head(headers=headers, content_type=self.content_type)

    def says(self, said: Any) -> list[bytes]:
        """The steps of a whole answer."""
        return [self.head(), *self.events(said)]


def refusal(status: int, message: str = "no", **headers: str) -> bytes:
    """An error in a form that every dialect reads."""
    body = json.dumps({"error": {"message": message, "type": "", "code": ""}})
    return response(body, status=status, headers=headers)


# --- chat completions ---
def judge_chat(sent: Received) -> None:
    openai_judge.judge_chat(sent.json)
    assert chat_faults(sent.json) == []


# --- Responses ---
def judge_responses(sent: Received) -> None:
    openai_judge.judge_responses(sent.json)


def responses_answer(said: Any) -> list[bytes]:
    answer = reply(said)
    items: list[Any] = []
    if answer.thoughts:
        items.append(responses_events.reasoning(answer.thoughts, index=len(items)))
    if answer.text:
        items.append(responses_events.message(answer.text, index=len(items)))
    for asked in answer.calls:
        item = responses_events.call(asked.name, asked.json, index=len(items))
        items.append({**item, "call_id": asked.id or f"call_{uuid.uuid4().hex}"})
    more = {}
    if answer.reason in ("length", "content_filter"):
        reason = {"length": "max_output_tokens"}.get(answer.reason, answer.reason)
        more = {"status": "incomplete", "incomplete_details": {"reason": reason}}
    return [responses_events.sse(row) for row in responses_events.rows(*items, **more)]


# --- Messages ---
ANTHROPIC_REASONS = {
    "stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal",
}  # fmt: skip


def anthropic_answer(said: Any) -> list[bytes]:
    answer = reply(said)
    rows: list[Any] = [anthropic_events.begin(), anthropic_events.PING]
    blocks = 0
    if answer.thoughts:
        rows += anthropic_events.thought(0, *halves(answer.thoughts), signature="c2ln")
        blocks += 1
    if answer.text:
        rows += anthropic_events.text(blocks, *halves(answer.text))
        blocks += 1
    for number, asked in enumerate(answer.calls, blocks):
        label = asked.id or f"toolu_{uuid.uuid4().hex}"
        rows += anthropic_events.call(number, asked.name, *halves(asked.json), label=label)
    rows += anthropic_events.end(ANTHROPIC_REASONS[answer.reason])
    return [anthropic_events.sse(row) for row in rows]


def judge_anthropic(sent: Received) -> None:
    betas = sent.headers.get("anthropic-beta", "")
    given = {"anthropic-beta": betas} if betas else {}
    anthropic_judge.judge_request(Outgoing(sent.path, sent.body, given))


# --- Gemini ---
GOOGLE_REASONS = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}


def google_answer(said: Any) -> list[bytes]:
    answer = reply(said)
    parts: list[Any] = [{"text": half, "thought": True} for half in halves(answer.thoughts)]
    parts += [{"text": half} for half in halves(answer.text)]
    signature: dict[str, str] = {"thoughtSignature": "c2lnbmF0dXJl"}
    for asked in answer.calls:
        called = {"id": asked.id or f"f{uuid.uuid4().hex}", "name": asked.name}
        parts.append({"functionCall": called | {"args": json.loads(asked.json)}, **signature})
        signature = {}  # the first call of a step has it
    rows = [google_judge.chunk(part) for part in parts]
    rows.append(google_judge.chunk(finish=GOOGLE_REASONS.get(answer.reason, "STOP")))
    return [google_judge.sse(row) for row in rows]


def judge_google(sent: Received) -> None:
    google_judge.vendor_check(sent.json)
    google_judge.page_check(sent.json)


# --- Converse ---
CONVERSE_REASONS = {
    "stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens",
    "content_filter": "content_filtered",
}  # fmt: skip


def converse_answer(said: Any) -> list[bytes]:
    answer = reply(said)
    blocks: list[Any] = []
    if answer.thoughts:
        pieces: list[Any] = [{"text": half} for half in halves(answer.thoughts)]
        blocks.append(("thought", *pieces, {"signature": "c2ln"}))
    if answer.text:
        blocks.append(("text", *halves(answer.text)))
    blocks += [("call", asked.name, *halves(asked.json)) for asked in answer.calls]
    counts = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 18, "cacheReadInputTokens": 3}
    events: list[bytes] = bedrock_judge.answer(
        *blocks, stop=CONVERSE_REASONS[answer.reason], usage=counts
    )
    return events


def judge_converse(sent: Received) -> None:
    bedrock_judge.vendor_check(sent.path, sent.json)
    bedrock_judge.page_check(sent.json)


def halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [half for half in (text[:middle], text[middle:]) if half]


SSE = "text/event-stream"
SEALED = json.dumps({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "X"})
DIALECTS = {
    "chat": Speaker("moonshotai", "kimi-k2.5", SSE, chat_events, judge_chat),
    "responses": Speaker("openai", "gpt-5.6", SSE, responses_answer, judge_responses),
    "anthropic": Speaker(
        "anthropic", "claude-sonnet-5-5", SSE, anthropic_answer, judge_anthropic
    ),
    "google": Speaker("google", "gemini-3.8-flash", SSE, google_answer, judge_google),
    "converse": Speaker(
        "bedrock", "claude-sonnet-4.6", "application/vnd.amazon.eventstream",
        converse_answer, judge_converse,
    ),
}  # fmt: skip
