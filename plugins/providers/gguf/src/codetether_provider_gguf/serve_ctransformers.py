"""The child that runs ctransformers: `python -P serve_ctransformers.py FD`. Nothing of this package is imported here.

ctransformers has no chat template and reads control pieces as text, so the conversation is rendered and cut into tokens
here: by the file's own template, in Jinja's sandbox, else in the form most models of its time were taught.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import queue
import re
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

HEADS = {
    "system": "",
    "user": "### Instruction:\n",
    "assistant": "### Response:\n",
    "tool": "### Input:\n",
}
STOPS = ("### Instruction:", "### Input:", "### Response:")


def main(number: int) -> None:
    """Load the model, say so, then answer one question after the other; end when the socket does."""
    ours = socket.socket(fileno=number)
    lines = ours.makefile("rb")
    wanted = json.loads(lines.readline())
    asked: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(lines, asked), daemon=True).start()

    def say(document: Any) -> None:
        ours.sendall(json.dumps(document).encode() + b"\n")

    try:
        talker = Talker(wanted)
        say({"ready": ""})
    except BaseException as exc:
        say({"failed": f"{exc}" or type(exc).__name__})
    while True:
        ask = asked.get()["ask"]
        try:
            for document in talker.answer(ask):
                say(document)
        except Exception as exc:
            say({"error": f"{type(exc).__name__}: {exc}"})


def _listen(lines: Any, asked: queue.Queue[Any]) -> None:
    while line := lines.readline():
        asked.put(json.loads(line))
    os._exit(0)


class Talker:
    """One loaded model."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        library: Any = importlib.import_module("ctransformers.llm")
        config = library.Config(
            threads=wanted["threads"],
            context_length=wanted["context"],
            gpu_layers=wanted["gpu_layers"],
        )
        # Naming the library spares a second of looking at the processor, which is done here in a line.
        self.model = library.LLM(wanted["path"], wanted["type"], config=config, lib=_library())
        # Beyond its own window an old model writes outside its memory, whatever it was told to use.
        self.context: int = min(wanted["context"], self.model.ctransformers_llm_context_length())
        self.template: str = wanted["template"]
        self.control: dict[str, int] = wanted["control"]
        self.marks = {"bos_token": wanted["bos"], "eos_token": wanted["eos"]}
        self.ends = {self.model.eos_token_id, *wanted["ends"]}

    def answer(self, ask: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The lines of an answer."""
        text, stops = self._render(ask["messages"])
        tokens = self._tokens(text)
        room = self.context - len(tokens)
        if room < 1:
            yield {
                "error": f"the conversation has {len(tokens)} tokens and the context window {self.context}",
                "kind": "context",
            }
            return
        limit = min(ask.get("max_output") or room, room)
        held, count, reason = "", 0, "stop"
        pending = bytearray()
        longest = max(map(len, stops), default=0)
        heat = ask.get("temperature")
        for token in self.model.generate(tokens, **({} if heat is None else {"temperature": heat})):
            if token in self.ends:
                break
            count += 1
            pending += self.model.detokenize([token], decode=False)
            piece, pending = _whole(pending)
            held += piece
            cut = min((at for stop in stops if (at := held.find(stop)) >= 0), default=-1)
            if cut >= 0:
                held = held[:cut]
                break
            if len(held) > longest:
                ready, held = held[: len(held) - longest], held[len(held) - longest :]
                yield {"text": ready}
            else:
                yield {"alive": True}
            if count >= limit:
                reason = "length"
                break
        if held:
            yield {"text": held}
        yield {"finish": reason, "input": len(tokens), "output": count}

    def _render(self, messages: list[dict[str, str]]) -> tuple[str, tuple[str, ...]]:
        if not self.template:
            parts = [f"{HEADS[m['role']]}{m['content']}" for m in messages]
            return "\n\n".join([*parts, HEADS["assistant"]]), STOPS
        sandbox: Any = importlib.import_module("jinja2.sandbox")
        world = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

        def refuse(why: str) -> None:
            raise ValueError(f"the model's chat template refuses the conversation: {why}")

        world.globals["raise_exception"] = refuse
        told = world.from_string(self.template).render(
            messages=messages, add_generation_prompt=True, **self.marks
        )
        return str(told), ()

    def _tokens(self, text: str) -> list[int]:
        """Control pieces by their number, the text between them by the model's tokenizer."""
        if not self.control:
            return self._tokenized(text, first=True)
        found: list[int] = []
        for part in re.split("|".join(f"({re.escape(p)})" for p in self.control), text):
            if part in self.control:
                found.append(self.control[part])
            elif part:
                found += self._tokenized(part, first=False)
        first = self.model.bos_token_id
        if first >= 0 and (not found or found[0] != first):
            found.insert(0, first)
        return found

    def _tokenized(self, text: str, *, first: bool) -> list[int]:
        """The library's own `tokenize` makes room for one token a character; some take several, beyond its array."""
        data = text.encode()
        room = (ctypes.c_int * (len(data) + 2))()
        return list(room[: self.model.ctransformers_llm_tokenize(data, first, room)])


def _whole(data: bytearray) -> tuple[str, bytearray]:
    """The text of `data`, without a character that is not all there yet."""
    for keep in range(4):
        try:
            return bytes(data[: len(data) - keep]).decode(), data[len(data) - keep :]
        except UnicodeDecodeError:
            continue
    return bytes(data).decode("utf-8", "replace"), bytearray()


def _library() -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:
        return None  # another system: let ctransformers look
    return "avx2" if "avx2" in flags else "avx" if "avx" in flags else "basic"


if __name__ == "__main__":
    main(int(sys.argv[1]))
