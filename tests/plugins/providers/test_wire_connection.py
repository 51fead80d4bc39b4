"""What servers say, byte by byte: however an answer is cut into pieces, it reads the same, and nothing endless is kept."""

from __future__ import annotations

import gzip
from functools import partial

import pytest
import trio
from codetether.testing import ByteServer, Fin
from codetether.testing.http import receive
from codetether_wire import Broken, Pool, Unsendable
from codetether_wire.connection import Incoming
from hypothesis import given
from hypothesis import strategies as st

SIZED = b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nX: 1\r\nx: 2\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\ncontent-type: a\r\nx: 1, 2\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2;more=1\r\nhe\r\n3\r\nllo\r\n0\r\ntrailer: t\r\n\r\n"
)
UNSIZED = b"HTTP/1.0 200 OK\r\ncontent-type: a\r\nx: 1, 2\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\ncontent-type: a\r\nx: 1, 2\r\n\r\n"


def read(said, cuts=()):
    """The answer that these bytes are, fed in pieces cut at `cuts`."""
    incoming = Incoming()
    for start, stop in zip([0, *cuts], [*cuts, len(said)], strict=True):
        if stop > start:
            incoming.feed(said[start:stop])
    if not incoming.has_ended:
        incoming.check()
        incoming.end()
    return incoming


@given(st.data(), st.sampled_from([SIZED, CHUNKED, UNSIZED, EMPTY]))
def test_however_it_is_cut(data, said):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=12)))
    answer = read(said, cuts)
    assert answer.status == (204 if said is EMPTY else 200)
    assert (answer.headers["content-type"], answer.headers["x"]) == ("a", "1, 2")
    assert b"".join(answer.pieces) == (b"" if said is EMPTY else b"hello")
    assert answer.keeps == (said is not UNSIZED)
    assert "trailer" not in answer.headers


@given(st.binary(max_size=300), st.integers(0, len(CHUNKED)))
def test_rubbish_is_told_as_such(rubbish, place):
    try:
        answer = read(CHUNKED[:place] + rubbish)
    except Broken:
        return
    assert answer.has_ended


@pytest.mark.parametrize("said", [SIZED, CHUNKED, CHUNKED.replace(b"chunked", b"Chunked")])
@pytest.mark.parametrize("missing", [1, 4])
def test_what_is_torn_is_no_answer(said, missing):
    with pytest.raises(Broken):
        read(said[:-missing])


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1", b";x=" + b"y" * 1000),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            b"x: " + b"y" * 999 + b"\r\n",
        ),
    ],
)
def test_nothing_endless_is_kept(begin, again):
    incoming = Incoming()
    if begin:
        incoming.feed(begin)
    with pytest.raises(Broken):
        feed_often(incoming, again)


def feed_often(incoming, data):
    for _ in range(200):
        incoming.feed(data)
        incoming.check()


@pytest.mark.parametrize(
    "said",
    [
        SIZED.replace(b"\r\n", b"\n"),
        SIZED.replace(b"X: 1", b"X:\r\n 1"),
        SIZED.replace(b"X: 1", b"y: \x01\r\nX: 1"),
        CHUNKED.replace(b"\r\n3\r\n", b"\r\n3  \r\n"),
        CHUNKED.replace(b"x: 1, 2\r\n", b"x: 1, 2\r\ncontent-length: 5\r\n"),
    ],
)
def test_what_old_servers_say(said):
    """RFC 9112 has a client read all of it: 2.2, 5.2, 6.3, 7.1.1."""
    answer = read(said)
    assert (answer.headers["x"], b"".join(answer.pieces)) == ("1, 2", b"hello")


def test_a_long_body_is_not_endless():
    incoming = Incoming()
    incoming.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(50_000):
        incoming.feed(b"1\r\nx\r\n")
        incoming.pieces.clear()
    assert not incoming.has_ended


async def asked(pool, server, method="GET", headers=None):
    answer = await pool.ask(method, server.url, headers or {}, connect=5)
    body = b""
    while piece := await answer.read():
        body += piece
    await answer.aclose()
    return body


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (SIZED, 1),
        (CHUNKED, 1),
        (SIZED.replace(b"X: 1", b"Connection: close"), 0),
        (SIZED + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", 0),
        (SIZED + b"rubbish", 0),
    ],
)
async def test_which_connections_serve_again(said, kept):
    """One that said more than was asked does not: what comes first would be the answer to the next request."""
    async with ByteServer([[said]]) as server:
        pool = Pool()
        assert await asked(pool, server) == b"hello"
        assert pool.kept == kept
        await pool.aclose()


@pytest.mark.parametrize("there", [b"2\r\nhe\r\n", b""])
async def test_what_came_before_the_rubbish_is_read(there):
    """Also when both came at once. So a request whose answer began is not sent again behind anybody's back."""
    head = CHUNKED.partition(b"2;more")[0]
    async with ByteServer([[head + there + b"rubbish\r\n"]]) as server:
        answer = await Pool().ask("GET", server.url, {}, connect=5)
        if there:
            assert await answer.read() == b"he"
        for _ in range(2):
            with pytest.raises(Broken, match="no HTTP"):
                await answer.read()
        await answer.aclose()


async def test_one_that_speaks_while_nobody_asks_is_not_used():
    say, served = trio.Event(), []

    async def serve(stream):
        first = not served
        served.append(stream)
        await receive(stream)
        await stream.send_all(SIZED)
        if first:
            await say.wait()
            await stream.send_all(SIZED.replace(b"hello", b"wrong"))

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))

        class Server:
            url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"

        pool = Pool()
        assert await asked(pool, Server) == b"hello"
        say.set()
        with trio.fail_after(5):
            while not next(iter(pool._free.values()))[0].connection.is_dead:
                await trio.sleep(0.01)
        assert await asked(pool, Server) == b"hello"
        assert len(served) == 2
        await pool.aclose()
        nursery.cancel_scope.cancel()


async def test_a_body_that_ends_with_the_connection():
    async with ByteServer([[UNSIZED, Fin()]]) as server:
        assert await asked(Pool(), server) == b"hello"


@pytest.mark.parametrize("name", ["a:b", "a b", "a\n", "", "ä"])
async def test_names_of_headers_that_cannot_be_sent(name):
    async with ByteServer() as server:
        with pytest.raises(Unsendable):
            await asked(Pool(), server, headers={name: "x"})
    assert server.requests == []


@pytest.mark.parametrize(
    "headers",
    [{"Content-Length": "1"}, {"transfer-encoding": "chunked"}, {"Host": "a", "host": "b"}],
)
async def test_where_a_request_ends_is_nobody_elses_to_say(headers):
    async with ByteServer() as server:
        with pytest.raises(Unsendable), trio.fail_after(5):
            await asked(Pool(), server, headers=headers)
    assert server.requests == []


@pytest.mark.parametrize("name", ["Host", "host"])
async def test_whom_it_is_for_is_said_once(name):
    got = []

    async def serve(stream):
        got.append(await stream.receive_some(10_000))
        await stream.send_all(SIZED)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        answer = await Pool().ask("GET", url, {name: "behind.test"}, connect=5)
        await answer.aclose()
        nursery.cancel_scope.cancel()
    assert got == [b"GET / HTTP/1.1\r\n%s: behind.test\r\n\r\n" % name.encode()]


async def test_what_a_refused_header_holds_is_not_told():
    async with ByteServer() as server:
        with pytest.raises(Unsendable) as told:
            await asked(Pool(), server, headers={"x-key": "canary\r\n"})
    assert "canary" not in f"{told.value}"


def test_a_packed_body_stays_packed():
    packed = gzip.compress(b"x" * 1000)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    assert b"".join(read(head + packed).pieces) == packed
