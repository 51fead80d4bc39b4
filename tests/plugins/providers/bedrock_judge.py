"""AWS's own model of Bedrock, as botocore ships it: it validates and writes requests, and reads event streams."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from functools import cache
from urllib.parse import quote

from botocore.eventstream import EventStream
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator


@cache
def operation(name):
    model = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
    return model.operation_model(name)


# --- requests ---
def vendor_check(path, body):
    """The request satisfies AWS's model, patterns included, and is byte for byte what botocore would say."""
    model, action = re.fullmatch(r"/model/([^/]+)/(converse(?:-stream)?)", path).groups()
    shape = operation("ConverseStream" if action == "converse-stream" else "Converse")
    unquoted = re.sub("%([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), model)
    params = {"modelId": unquoted, **_with_bytes(body, shape.input_shape)}
    report = ParamValidator().validate(params, shape.input_shape)
    assert not report.has_errors(), report.generate_report()
    _check_patterns(params, shape.input_shape)
    request = create_serializer("rest-json").serialize_to_request(params, shape)
    assert json.loads(request["body"]) == body
    assert request["url_path"] == f"/model/{quote(unquoted, safe='-_.~')}/{action}"
    assert path == request["url_path"]


def _with_bytes(value, shape):
    """JSON as botocore takes it: blobs as bytes."""
    if shape.type_name == "structure" and isinstance(value, dict) and shape.members:
        return {
            key: _with_bytes(inner, shape.members[key]) if key in shape.members else inner
            for key, inner in value.items()
        }
    if shape.type_name == "list":
        return [_with_bytes(inner, shape.member) for inner in value]
    if shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    return value


def _check_patterns(value, shape):
    """ParamValidator leaves patterns, upper limits and enums to the server."""
    if shape.type_name == "structure" and shape.members:
        for key, inner in value.items():
            _check_patterns(inner, shape.members[key])
    elif shape.type_name == "list":
        for inner in value:
            _check_patterns(inner, shape.member)
    elif shape.type_name == "string":
        meta = shape.metadata
        assert len(value) <= meta.get("max", len(value)), (shape.name, value)
        assert not meta.get("enum") or value in meta["enum"], (shape.name, value)
        if shape.name in ("ToolUseId", "ToolName"):
            pattern = shape._shape_model["pattern"]
            assert re.fullmatch(pattern, value), (shape.name, value)


def page_check(body):
    """What the model does not say: turns, every call answered at once and in order, no blank text, tools declared."""
    messages = body["messages"]
    roles = [message["role"] for message in messages]
    assert roles == (["user", "assistant"] * len(roles))[: len(roles)]
    assert roles[-1] == "user"
    expected, seen = [], set()
    for message in messages:
        content = message["content"]
        assert content
        for block in content:
            assert len(block) == 1
            assert block.get("text", "x").strip()
        kinds = [next(iter(block)) for block in content]
        if message["role"] == "user":
            answers = [b["toolResult"] for b in content if "toolResult" in b]
            assert [a["toolUseId"] for a in answers] == expected
            assert kinds[: len(answers)] == ["toolResult"] * len(answers)
        else:
            expected = [b["toolUse"]["toolUseId"] for b in content if "toolUse" in b]
            assert not seen & set(expected)
            assert len(set(expected)) == len(expected)
            seen |= set(expected)
            assert "cachePoint" not in kinds
            assert kinds[-1] != "reasoningContent"
    assert not seen or body["toolConfig"]["tools"]
    assert json.dumps(body).count('"cachePoint"') <= 4


# --- answers ---
def frame(payload, **headers):
    """One message of an AWS event stream. `headers` with dots for dashes and the colon left out."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = b""
    for name, value in headers.items():
        key, text = b":" + name.replace("_", "-").encode(), value.encode()
        head += bytes([len(key)]) + key + b"\x07" + struct.pack("!H", len(text)) + text
    prelude = struct.pack("!II", 16 + len(head) + len(data), len(head))
    whole = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + data
    return whole + struct.pack("!I", zlib.crc32(whole))


def event(kind, payload):
    return frame(payload, event_type=kind, content_type="application/json", message_type="event")


def exception(kind, payload):
    return frame(
        payload, exception_type=kind, content_type="application/json", message_type="exception"
    )


class _Raw:
    def __init__(self, data):
        self._data = data

    def stream(self):
        yield self._data


def read_by_aws(data):
    """The events as boto3 would give them. Raises EventStreamError for an exception in the stream."""
    model = operation("ConverseStream")
    shape = model.output_shape.members["stream"]
    parser = create_parser("rest-json")._event_stream_parser
    return list(EventStream(_Raw(data), shape, parser, "ConverseStream"))


def answer(*blocks, stop="end_turn", usage=None):
    """The events of an answer, one bytes object each. Blocks: (kind, pieces...); see the tests."""
    out = [event("messageStart", {"role": "assistant"})]
    for index, (kind, *pieces) in enumerate(blocks):
        if kind == "call":
            name, *pieces = pieces
            start = {"toolUse": {"toolUseId": f"tooluse_{index}", "name": name}}
            out.append(event("contentBlockStart", {"start": start, "contentBlockIndex": index}))
        for piece in pieces:
            delta = {
                "text": lambda p: {"text": p},
                "call": lambda p: {"toolUse": {"input": p}},
                "thought": lambda p: {"reasoningContent": p},
            }[kind](piece)
            out.append(event("contentBlockDelta", {"delta": delta, "contentBlockIndex": index}))
        out.append(event("contentBlockStop", {"contentBlockIndex": index}))
    out.append(event("messageStop", {"stopReason": stop}))
    counts = usage or {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
    out.append(event("metadata", {"usage": counts, "metrics": {"latencyMs": 7}}))
    return out
