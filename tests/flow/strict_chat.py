"""What a strict chat-completions vendor refuses, read from their documents; it knows nothing of codetether.repair."""

from __future__ import annotations

import json

ROLES = {"system", "developer", "user", "assistant", "tool"}


def chat_faults(body):
    """What is wrong with a request, as it came over the wire."""
    faults, pending, seen = [], [], set()
    messages = body.get("messages") or []
    talk = [m for m in messages if m["role"] not in ("system", "developer")]
    if not talk or talk[0]["role"] != "user":
        faults.append("a user speaks first")
    if talk and talk[-1]["role"] == "assistant":
        faults.append("the last word must not be the model's")
    before = None
    for message in messages:
        role = message["role"]
        if role not in ROLES:
            faults.append(f"unknown role {role}")
        if role == "tool":
            if not pending or pending.pop(0) != message.get("tool_call_id"):
                faults.append("a tool message answers the next call that waits")
            if not message.get("content"):
                faults.append("empty tool message")
            before = role
            continue
        if pending:
            faults.append(f"calls without results: {pending}")
            pending = []
        if role == before and role in ("user", "assistant"):
            faults.append(f"two {role} messages in a row")
        calls = message.get("tool_calls") or []
        if not message.get("content") and not calls:
            faults.append(f"empty {role} message")
        for call in calls:
            if not call["id"] or call["id"] in seen:
                faults.append(f"call id {call['id']!r} is empty or not its own")
            if not isinstance(_loads(call["function"]["arguments"]), dict):
                faults.append("arguments are no object")
            seen.add(call["id"])
            pending.append(call["id"])
        before = role
    faults += [f"calls without results: {pending}"] * bool(pending)
    names = [tool["function"]["name"] for tool in body.get("tools", [])]
    if len(set(names)) != len(names):
        faults.append("two tools of one name")
    return faults


def _loads(text):
    try:
        return json.loads(text)
    except ValueError:
        return None
