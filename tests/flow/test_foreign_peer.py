"""exec against llama.cpp's own server: a call made by its grammar, run, answered, and its own template and tokenizer."""

from __future__ import annotations

import importlib.util
import json
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
from codetether.testing.http import receive
from place import assert_answered, calls_of, results_of, text_of
from strict_chat import chat_faults

PEERS = Path(__file__).parents[1] / "peers" / "conftest.py"
SENTENCE = "A tiny model says hello."
spec = importlib.util.spec_from_file_location("peers_conftest", PEERS)
peers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peers)
llama_server = peers.llama_server


class Between:
    """Passes every byte on, and asks for a call where the model would not think of one: it is a table of bigrams."""

    def __init__(self, url):
        self.to, self.asked = urlsplit(url), []

    async def serve(self, client):
        async with client:
            request = await receive(client)
            body = request.body
            if request.path.endswith("/chat/completions"):
                asked = request.json
                self.asked.append(asked)
                if asked["messages"][-1]["role"] != "tool" and asked.get("tools"):
                    asked = asked | {"tool_choice": "required"}
                body = json.dumps(asked).encode()
            head = f"{request.method} {request.path} HTTP/1.1\r\nhost: {self.to.netloc}\r\nconnection: close\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            server = await trio.open_tcp_stream(self.to.hostname, self.to.port)
            async with server:
                await server.send_all(head.encode() + body)
                async for piece in server:
                    await client.send_all(piece)


@asynccontextmanager
async def between(url):
    way = Between(url)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, way.serve, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        way.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        yield way
        nursery.cancel_scope.cancel()


@pytest.fixture
def repository(place):
    place.set('[plugins]\nonly = ["modes", "providers", "ui", "sandboxes", "tools:list_dir"]\n')
    place.write(a_dot_txt="one\n")
    return place


async def test_a_call_is_made_run_and_answered(repository, llama_server):
    async with llama_server() as url, between(url) as way:
        repository.url = way.url
        done = await repository("exec", "-m", "local/tiny", "--format", "json", "look around")
        again = await repository("exec", "-c", "--agent", "explore", "and again")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["text"], result["reason"], result["steps"]) == (SENTENCE, "done", 2)
    assert result["usage"]["input"] > 100
    assert result["usage"]["output"] > 5
    assert (again.code, again.out) == (0, f"{SENTENCE}\n"), again.err
    assert [fault for asked in way.asked for fault in chat_faults(asked)] == []
    messages = repository.messages()
    assert_answered(messages)
    assert [call["name"] for call in calls_of(messages)] == ["list_dir", "list_dir"]
    assert "a.txt" in results_of(messages)[0]["text"], results_of(messages)[0]
    assert text_of(messages[-1]) == SENTENCE
    assert all(m["usage"]["input"] > 0 for m in messages if m["role"] == "assistant")


async def test_without_tools_and_without_anything_between(repository, llama_server):
    async with llama_server() as url:
        repository.url = url
        done = await repository("run", "-m", "local/tiny", "hello")
        models = await repository("models", "local", "--json")
    assert (done.code, done.out) == (0, f"{SENTENCE}\n"), done.err
    assert [(m["id"], m["context"]) for m in json.loads(models.out)] == [("tiny", 4096)]


async def test_more_than_fits_is_said_in_plain_words(repository, llama_server):
    async with llama_server() as url:
        repository.url = url
        done = await repository("exec", "-m", "local/tiny", "word " * 6000)
    assert done.code == 1
    assert "does not fit local/tiny" in done.err
    assert "Traceback" not in done.err
