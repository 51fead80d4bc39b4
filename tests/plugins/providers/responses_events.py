"""Streams of the Responses API, built from the event models of OpenAI's own SDK: what these refuse, no vendor sends."""

from __future__ import annotations

import json
from copy import deepcopy

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

EVENT = TypeAdapter(ResponseStreamEvent)
BASE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_700_000_000,
    "model": "gpt-test",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 7},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 120,
}


def response(status="completed", **fields):
    return Response.model_validate({**BASE, "status": status, **fields}).model_dump(
        mode="json", exclude_unset=True
    )


def message(*texts, index=0, refusal=None, phase=None):
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    content += [{"type": "refusal", "refusal": refusal}] if refusal else []
    row = {
        "id": f"msg_{index}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": content,
    }
    return row | ({"phase": phase} if phase else {})


def reasoning(*summaries, index=0, encrypted="SEALED"):
    return {
        "id": f"rs_{index}",
        "type": "reasoning",
        "summary": [{"text": text, "type": "summary_text"} for text in summaries],
        "encrypted_content": encrypted,
    }


def call(name, arguments, index=0):
    return {
        "id": f"fc_{index}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{index}",
        "name": name,
        "arguments": arguments,
    }


def halves(text):
    middle = len(text) // 2
    return [half for half in (text[:middle], text[middle:]) if half]


def _message_events(item, at):
    where = {"item_id": item["id"], "output_index": at}
    empty = {**item, "content": [], "status": "in_progress"}
    yield {"type": "response.output_item.added", "output_index": at, "item": empty}
    for place, part in enumerate(item["content"]):
        here = {**where, "content_index": place}
        refused = part["type"] == "refusal"
        key = "refusal" if refused else "text"
        yield {"type": "response.content_part.added", **here, "part": {**part, key: ""}}
        name = "response.refusal" if refused else "response.output_text"
        for half in halves(part[key]):
            yield {
                "type": f"{name}.delta",
                **here,
                "delta": half,
                **({} if refused else {"logprobs": []}),
            }
        yield {
            "type": f"{name}.done",
            **here,
            key: part[key],
            **({} if refused else {"logprobs": []}),
        }
        yield {"type": "response.content_part.done", **here, "part": part}
    yield {"type": "response.output_item.done", "output_index": at, "item": item}


def _reasoning_events(item, at):
    where = {"item_id": item["id"], "output_index": at}
    empty = {**item, "summary": [], "encrypted_content": "NOT YET"}
    yield {"type": "response.output_item.added", "output_index": at, "item": empty}
    for place, part in enumerate(item["summary"]):
        here = {**where, "summary_index": place}
        yield {
            "type": "response.reasoning_summary_part.added",
            **here,
            "part": {**part, "text": ""},
        }
        for half in halves(part["text"]):
            yield {"type": "response.reasoning_summary_text.delta", **here, "delta": half}
        yield {"type": "response.reasoning_summary_text.done", **here, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", **here, "part": part}
    yield {"type": "response.output_item.done", "output_index": at, "item": item}


def _call_events(item, at):
    where = {"item_id": item["id"], "output_index": at}
    empty = {**item, "arguments": "", "status": "in_progress"}
    yield {"type": "response.output_item.added", "output_index": at, "item": empty}
    for half in halves(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **where, "delta": half}
    yield {
        "type": "response.function_call_arguments.done",
        **where,
        "name": item["name"],
        "arguments": item["arguments"],
    }
    yield {"type": "response.output_item.done", "output_index": at, "item": item}


_OF = {"message": _message_events, "reasoning": _reasoning_events, "function_call": _call_events}


def rows(*items, status="completed", usage=USAGE, **fields):
    """The events of a whole answer, as dicts that the SDK's models accept."""
    start = response("in_progress")
    made = [
        {"type": "response.created", "response": start},
        {"type": "response.in_progress", "response": start},
    ]
    for at, item in enumerate(items):
        made += _OF[item["type"]](item, at)
    end = response(status, output=list(items), **({"usage": usage} if usage else {}), **fields)
    made.append({"type": f"response.{status}", "response": end})
    return checked(made)


def checked(made):
    """The rows numbered and held against the SDK's models; each one a copy, for tests that hurt them."""
    made = deepcopy(made)
    for number, row in enumerate(made):
        row["sequence_number"] = number
        EVENT.validate_python(row)
    return made


def sse(row):
    return f"event: {row['type']}\ndata: {json.dumps(row)}\n\n".encode()


def stream(*items, **fields):
    """The bytes of a whole answer."""
    return b"".join(map(sse, rows(*items, **fields)))
