"""The events of a Messages stream, to be put together."""

from __future__ import annotations

import json

START_USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 3000,
    "output_tokens": 1,
}


# --- streams ---
def sse(*rows):
    return "".join(f"event: {row['type']}\ndata: {json.dumps(row)}\n\n" for row in rows).encode()


def begin(usage=START_USAGE):
    return {
        "type": "message_start",
        "message": {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        },
    }


def block(index, kind, *deltas, **more):
    rows = [
        {"type": "content_block_start", "index": index, "content_block": {"type": kind, **more}}
    ]
    rows += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [*rows, {"type": "content_block_stop", "index": index}]


def text(index, *pieces):
    return block(
        index, "text", *({"type": "text_delta", "text": piece} for piece in pieces), text=""
    )


def thought(index, *pieces, signature="sig=="):
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    deltas.append({"type": "signature_delta", "signature": signature})
    return block(index, "thinking", *deltas, thinking="", signature="")


def call(index, name, *pieces, label="toolu_01", given=None):
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return block(index, "tool_use", *deltas, id=label, name=name, input=given or {})


def end(reason="end_turn", **usage):
    counts = {"output_tokens": 50, **usage}
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [
        {"type": "message_delta", "delta": delta, "usage": counts},
        {"type": "message_stop"},
    ]


PING = {"type": "ping"}
