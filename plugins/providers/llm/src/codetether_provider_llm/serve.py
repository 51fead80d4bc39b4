"""The child that runs llm: `PYTHON serve.py FD`, with whichever Python has llm and its plugins.

Nothing of CodeTether is imported here. llm's models are synchronous and their libraries large; in a child they can be
ended while they hang, and their memory is not ours. Tools are described to the model and never run here.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import queue
import socket
import sys
import threading
from typing import Any

OLDEST = "0.32"  # the first that takes whole conversations
LIMITS = ("max_tokens", "max_output_tokens", "max_completion_tokens", "num_predict")
CUT = ("length", "max_tokens", "MAX_TOKENS")


def main(number: int) -> None:
    """Load llm, say so, then answer one line after the other; end when the socket does."""
    sys.path[:] = [
        place for place in sys.path if place != os.path.dirname(os.path.abspath(__file__))
    ]
    ours = socket.socket(fileno=number)
    lines = ours.makefile("rb")
    asked: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(lines, asked), daemon=True).start()

    def say(document: Any) -> None:
        ours.sendall(json.dumps(document).encode() + b"\n")

    llm = _load(say)
    while True:
        wanted = asked.get()
        try:
            if "ask" in wanted:
                answer(llm, wanted["ask"], say)
            elif "facts" in wanted:
                say({"model": facts(llm, llm.get_model(wanted["facts"]))})
            else:
                say({"models": [facts(llm, model) for model in llm.get_models()]})
        except Exception as exc:
            say(trouble(llm, exc))


def _listen(lines: Any, asked: queue.Queue[Any]) -> None:
    while True:
        line = lines.readline()
        if not line:
            os._exit(0)
        asked.put(json.loads(line))


def _load(say: Any) -> Any:
    try:
        llm: Any = importlib.import_module("llm")
        importlib.import_module("llm.parts")
        llm.get_models()  # loads the plugins
    except ImportError as exc:
        old = "llm" in sys.modules and exc.name == "llm.parts"
        say({"failed": f"this llm is older than {OLDEST}" if old else str(exc)})
        os._exit(1)
    except BaseException as exc:
        say({"failed": f"{type(exc).__name__}: {exc}"})
        os._exit(1)
    say({"ready": True})
    return llm


def facts(llm: Any, model: Any) -> dict[str, Any]:
    """What is known about a model; `key` false: it needs one and llm has none."""
    needs = getattr(model, "needs_key", None)
    key = not needs or bool(
        model.key or llm.get_key(key_alias=needs, env_var=getattr(model, "key_env_var", None))
    )
    return {
        "id": model.model_id,
        "key": key,
        "needs": needs or "",
        "tools": bool(model.supports_tools),
        "images": any(kind.startswith("image/") for kind in model.attachment_types),
        "schema": bool(model.supports_schema),
    }


def answer(llm: Any, ask: dict[str, Any], say: Any) -> None:
    """One model call: its events, then its end."""
    model = llm.get_model(ask["model"])
    response = _prompted(llm, model, ask)
    for event in response.stream_events():
        if event.type == "text" and event.chunk:
            say({"text": event.chunk})
        elif event.type == "reasoning" and event.chunk:
            say({"thought": event.chunk})
        else:
            say({"alive": True})
    for call in response.tool_calls():
        arguments = json.dumps(call.arguments)
        say({"call": {"id": call.tool_call_id or "", "name": call.name, "arguments": arguments}})
    usage = response.usage()
    say({"finish": _reason(response), "input": usage.input, "output": usage.output})


def _reason(response: Any) -> str:
    """Why it ended, which llm does not say: what the vendor said is looked at where the plugin kept it."""
    said = response.response_json if isinstance(response.response_json, dict) else {}
    choice = (said.get("choices") or [{}])[0]
    reasons = [said.get("finish_reason"), said.get("stop_reason"), said.get("done_reason")]
    reasons.append(choice.get("finish_reason") if isinstance(choice, dict) else None)
    if any(reason in CUT for reason in reasons):
        return "length"
    return "tool_calls" if response.tool_calls() else "stop"


def _prompted(llm: Any, model: Any, ask: dict[str, Any]) -> Any:
    """The response object, not yet run."""
    history = _History(llm, model, ask["system"] or None)
    for message in ask["messages"]:
        if message["role"] == "assistant":
            history.answered(message)
        else:
            history.told(message)
    how: dict[str, Any] = {}
    if ask["tools"] and model.supports_tools:
        how["tools"] = [
            llm.Tool(name=t["name"], description=t["description"], input_schema=t["parameters"])
            for t in ask["tools"]
        ]
    if ask["schema"] and model.supports_schema:
        how["schema"] = ask["schema"]
    return history.prompt(options=_options(model, ask), **how)


class _History:
    """The conversation so far, as llm itself makes it of what it stored. Newer plugins read the messages, older ones the
    responses of the conversation and the prompt: all are there.
    """

    def __init__(self, llm: Any, model: Any, system: str | None) -> None:
        self._llm = llm
        self._parts: Any = importlib.import_module("llm.parts")
        self._model = model
        self._system = system
        self._conversation = model.conversation()
        parts = self._parts
        self._chain = (
            [parts.Message(role="system", parts=[parts.TextPart(text=system)])] if system else []
        )
        self._next()

    def _next(self) -> None:
        self._texts: list[str] = []
        self._attachments: list[Any] = []
        self._results: list[Any] = []

    def told(self, message: dict[str, Any]) -> None:
        """Something the model is told before its next answer."""
        if message["text"]:
            self._texts.append(message["text"])
        for image in message["images"]:
            data = base64.b64decode(image["data"])
            self._attachments.append(self._llm.Attachment(type=image["mime"], content=data))
        self._results += [
            self._llm.ToolResult(name=r["name"], output=r["text"], tool_call_id=r["id"])
            for r in message["results"]
        ]

    def answered(self, message: dict[str, Any]) -> None:
        """An answer the model has given."""
        parts, models = self._parts, importlib.import_module("llm.models")
        words = "\n\n".join(self._texts)
        told = self._chain + self._input(words)
        prompt = self._llm.Prompt(
            words,
            self._model,
            system=self._system,
            attachments=self._attachments,
            tool_results=self._results,
            messages=told,
            options=self._model.Options(),
        )
        response = self._llm.Response(prompt, self._model, False, conversation=self._conversation)
        calls = [
            {"name": c["name"], "arguments": json.loads(c["arguments"]), "tool_call_id": c["id"]}
            for c in message["calls"]
        ]
        response._chunks = [message["text"]]
        response._tool_calls = [models.ToolCall(**call) for call in calls]
        said = [parts.TextPart(text=message["text"])] if message["text"] else []
        said += [parts.ToolCallPart(**call) for call in calls]
        response._loaded_messages = [parts.Message(role="assistant", parts=said)]
        response._done = True
        self._conversation.responses.append(response)
        self._chain = [*told, *response._loaded_messages]
        self._next()

    def _input(self, words: str) -> list[Any]:
        parts = self._parts
        found = []
        if self._results:
            rows = [
                parts.ToolResultPart(name=r.name, output=r.output, tool_call_id=r.tool_call_id)
                for r in self._results
            ]
            found.append(parts.Message(role="tool", parts=rows))
        said = [parts.TextPart(text=words)] if words else []
        said += [parts.AttachmentPart(attachment=one) for one in self._attachments]
        return [*found, parts.Message(role="user", parts=said)] if said else found

    def prompt(self, **how: Any) -> Any:
        """The response to what was told last."""
        return self._conversation.prompt(
            "\n\n".join(self._texts) or None,
            attachments=self._attachments or None,
            tool_results=self._results or None,
            system=self._system,
            messages=self._chain,
            stream=bool(self._model.can_stream),
            **how,
        )


def _options(model: Any, ask: dict[str, Any]) -> dict[str, Any]:
    known = set(model.Options.model_fields)
    options = {name: value for name, value in ask["options"].items() if name in known}
    if ask["temperature"] is not None and "temperature" in known:
        options.setdefault("temperature", ask["temperature"])
    limit = next((name for name in LIMITS if name in known), "")
    if ask["max_output"] and limit:
        options.setdefault(limit, ask["max_output"])
    return options


def trouble(llm: Any, exc: Exception) -> dict[str, Any]:
    """An exception as a line: without llm's keys, and with the kind where it can be told."""
    text = f"{exc}" or type(exc).__name__
    try:
        secrets = [str(value) for value in llm.load_keys().values()]
    except Exception:
        secrets = []
    for value in secrets:
        text = text.replace(value, "***") if len(value) > 5 else text
    status = getattr(exc, "status_code", None)
    kinds = {401: "auth", 403: "auth", 429: "rate_limit", 400: "invalid", 404: "invalid"}
    kind = "other"
    if isinstance(status, int):
        kind = kinds.get(status, "overloaded" if status >= 500 else "other")
    if isinstance(exc, llm.NeedsKeyException):
        return {
            "error": text,
            "kind": "auth",
            "hint": "llm keeps keys of its own: llm keys set NAME",
        }
    if isinstance(exc, llm.UnknownModelError):
        return {"error": text.strip("'\""), "kind": "invalid", "hint": "see: codetether models llm"}
    if "context" in text.lower() and ("length" in text.lower() or "window" in text.lower()):
        kind = "context"
    name = type(exc).__name__
    return {"error": text if name in text else f"{name}: {text}", "kind": kind}


if __name__ == "__main__":
    main(int(sys.argv[1]))
