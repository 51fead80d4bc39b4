"""What Google's own client says of a request, the rules its types cannot say, and pieces of answers that it can read."""

from __future__ import annotations

import json
import re

from google.genai import types

DATA = {"text", "functionCall", "functionResponse", "inlineData"}
USAGE = {
    "promptTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": 30, "cachedContentTokenCount": 60,
    "toolUsePromptTokenCount": 5, "totalTokenCount": 155,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
}  # fmt: skip


# --- requests ---
def vendor_check(sent):
    """Google's pydantic types read it all, forbid what they do not know, and write the same JSON again."""
    shapes = {
        "systemInstruction": types.Content,
        "toolConfig": types.ToolConfig,
        "generationConfig": types.GenerationConfig,
    }
    for key, value in sent.items():
        rows = value if isinstance(value, list) else [value]
        shape = shapes.get(key) or {"contents": types.Content, "tools": types.Tool}[key]
        for row in rows:
            read = shape.model_validate_json(json.dumps(row))
            again = read.model_dump(mode="json", by_alias=True, exclude_none=True)
            assert unpadded(again) == unpadded(row)


def unpadded(value):
    """Base64 may be written in two alphabets."""
    if isinstance(value, dict):
        return {
            k: re.sub(r"[-_]", lambda m: {"-": "+", "_": "/"}[m[0]], v)
            if k in ("thoughtSignature", "data")
            else unpadded(v)
            for k, v in value.items()
        }
    return [unpadded(v) for v in value] if isinstance(value, list) else value


def page_check(sent):
    """What the types do not say: order of turns, every call answered at once and in place, no empty content."""
    contents = sent["contents"]
    assert contents[0]["role"] == "user"
    assert contents[-1]["role"] == "user"
    expected = []
    for content in contents:
        assert set(content) == {"role", "parts"}
        assert content["parts"]
        for part in content["parts"]:
            assert len(DATA & set(part)) == 1
        calls = [p["functionCall"] for p in content["parts"] if "functionCall" in p]
        answers = [p["functionResponse"] for p in content["parts"] if "functionResponse" in p]
        assert [(a["id"], a["name"]) for a in answers] == expected
        if answers:
            assert len(answers) == len(content["parts"])
        assert content["role"] == "model" or not calls
        expected = [(c["id"], c["name"]) for c in calls]
        for name in (*(c["name"] for c in calls), *(a["name"] for a in answers)):
            assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}", name)
    assert not expected


# --- answers ---
def chunk(*parts, finish=None, usage=USAGE, **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    row = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-x", **more}
    types.GenerateContentResponse.model_validate_json(json.dumps(row))
    return row


def sse(row):
    return f"data: {json.dumps(row)}\r\n\r\n".encode()
