"""What answers is no model: a hotel's log-in page, an error dressed as success, a bomb (F15)."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from codetether.testing import ByteServer, response
from codetether.testing.http import head
from stand import KEY, session_at

PAGE = f"<html><head><title>Log in to the hotel</title></head><body>{KEY} {'<p>x</p>' * 50_000}</body></html>"
END = "Done."


def bomb(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b": " + b"\0" * (1 << 20) + b"\n"
    return b"".join(packer.compress(piece) for _ in range(size)) + packer.flush()


def error(message="the prompt was no good", kind="invalid_request_error"):
    return json.dumps({"error": {"message": f"{message} {KEY}", "type": kind, "code": 400}})


SSE = {"content_type": "text/event-stream"}
CASES = {
    "a page": (lambda d: response(PAGE, content_type="text/html"), "Log in to the hotel"),
    "a page that says 403": (
        lambda d: response(PAGE, status=403, content_type="text/html"), "Log in to the hotel",
    ),
    "a page in the stream's type": (lambda d: d.head() + PAGE.encode(), ""),
    "an error that says 200": (lambda d: response(error()), "the prompt was no good"),
    "an error in a list": (lambda d: response(f"[{error()}]"), ""),
    "a picture": (lambda d: response(b"\x89PNG" * 1000, content_type="image/png"), "image/png"),
    "JSON of another kind": (lambda d: response('{"detail": "odd"}'), ""),
    "half a document": (lambda d: response('{"choices": [{"mess'), ""),
    "nothing": (lambda d: response(b""), ""),
    "nothing in the stream": (lambda d: d.head(), ""),
    "a type no one has": (lambda d: head(content_type="x" * 5000 + "/y") + b"z", "instead of a model"),
    "brotli": (lambda d: d.head(**{"content-encoding": "br"}) + b"x", "content-encoding"),
    "broken gzip": (lambda d: d.head(**{"content-encoding": "gzip"}) + b"\x1f\x8bxxxxxxxxx", "gzip"),
    "a bomb": (lambda d: d.head(**{"content-encoding": "gzip"}) + bomb(80), ""),
    "a bomb in an error": (
        lambda d: response(bomb(80), status=400, headers={"content-encoding": "gzip"}), "",
    ),
    "an event without end": (lambda d: d.head() + b"data: " + b"x" * 3_000_000, ""),
    "a header without end": (lambda d: b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", ""),
    "no HTTP": (lambda d: b"SSH-2.0-OpenSSH_9.2\r\n", ""),
    "nested": (lambda d: response('{"error": ' + "[" * 5000 + "]" * 5000 + "}"), ""),
    "escapes": (lambda d: response("\x1b]0;owned\x07\x1b[2J", status=400, content_type="text/plain"), ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_f15_is_a_fault_that_names_what_came(tmp_path, dialect, case, leaping_clock, caplog):
    made, words = CASES[case]
    async with ByteServer(lambda request: [made(dialect)]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            done = await session.prompt("go")
            faults = list(session.host.faults)
    assert done.reason == "error"
    assert done.error.startswith(f"{dialect.ref}: ")
    assert words in done.error
    assert "Traceback" not in done.error
    assert "internal error" not in done.error
    assert len(done.error) < 700
    assert done.error.isprintable()
    assert faults == []
    assert KEY not in repr(session.heard.all()) + caplog.text


async def test_f15_an_error_in_the_middle_of_the_words(tmp_path, dialect, leaping_clock):
    """What was said is kept and marked; nothing is made of the error but what it says."""
    from bedrock_judge import exception

    begun = dialect.events("Half of it and more.")[:-2]
    if dialect.provider == "bedrock":
        spoilt = exception("validationException", {"message": f"no good {KEY}"})
    elif dialect.provider == "anthropic":
        row = {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": f"no good {KEY}"},
        }
        spoilt = b"event: error\ndata: " + json.dumps(row).encode() + b"\n\n"
    elif dialect.provider == "openai":
        row = {
            "type": "error",
            "code": "invalid_prompt",
            "message": f"no good {KEY}",
            "sequence_number": 9,
        }
        spoilt = b"event: error\ndata: " + json.dumps(row).encode() + b"\n\n"
    else:
        spoilt = b"data: " + error("no good").encode() + b"\n\n"
    async with ByteServer([[dialect.head(), *begun, spoilt]]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            done = await session.prompt("go")
    assert (done.reason, session.messages[-1].interrupted) == ("error", True)
    assert session.messages[-1].text
    assert "no good" in done.error
    assert KEY not in done.error + repr(session.messages)


async def test_f15_packed_as_asked_is_read(tmp_path, dialect):
    packed = gzip.compress(b"".join(dialect.events(END)))
    async with ByteServer([[dialect.head(**{"content-encoding": "gzip"}), packed]]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            assert (await session.prompt("go")).text == END
