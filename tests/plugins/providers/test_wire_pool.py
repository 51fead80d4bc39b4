"""Requests on the wire: addresses, TLS, proxies of the environment, and servers that answer early or oddly."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trustme
from codetether.testing import ByteServer, Fin, Stall
from codetether.testing.http import head, receive, response
from codetether_wire import Broken, NotReached, Pool, Unsendable

HOST = "model.test"


@pytest.fixture
def authority(monkeypatch, tmp_path):
    """A certificate authority that the environment names."""
    ours = trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ours


@asynccontextmanager
async def listening(serve):
    """A server that runs `serve` for each connection; its port."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def body_of(answer):
    pieces = []
    try:
        while piece := await answer.read():
            pieces.append(piece)
    finally:
        await answer.aclose()
    return b"".join(pieces)


def encrypted(authority, name, seen):
    """Serves one request over TLS in the name of `name`; `seen` gets the request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    async def serve(stream):
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            while (request := await receive(secure)) is not None:
                seen.append(request)
                await secure.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret")
        except (trio.BrokenResourceError, ssl.SSLError):
            return

    return serve


async def test_a_request_as_it_is_sent():
    async with ByteServer([[response("hello")]]) as server:
        pool = Pool()
        answer = await pool.ask(
            "POST", f"{server.url}/v1/a b?x=ü#no", {"X-One": "1"}, b"{}", connect=5
        )
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert await body_of(answer) == b"hello"
    [request] = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/v1/a%20b?x=%C3%BC", b"{}")
    assert request.headers == {
        "host": server.url.removeprefix("http://"),
        "x-one": "1",
        "content-length": "2",
    }


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "http:///x",
        "http://x:99999/",
        "http://x/a\r\nb",
        "http://[::1/",
        "http://a..b/",
        "https://.x/",
        f"http://{'x' * 64}.test/",
    ],
)
async def test_what_is_no_address(url):
    with pytest.raises(Unsendable):
        await Pool().ask("GET", url, {}, connect=5)


@pytest.mark.parametrize("headers", [{"X": "a\r\nb"}, {"X": "ü"}, {"a b": "c"}])
async def test_headers_that_cannot_be_sent(headers):
    async with ByteServer() as server:
        with pytest.raises(Unsendable):
            await Pool().ask("GET", server.url, headers, connect=5)
    assert server.requests == []


async def test_nobody_there_and_what_the_system_said():
    async with ByteServer() as server:
        url = server.url
    with pytest.raises(NotReached, match="Connection refused"):
        await Pool().ask("GET", url, {}, connect=5)


async def test_a_server_that_does_not_greet_is_given_up(authority):
    async def serve(stream):
        await trio.sleep_forever()

    async with listening(serve) as port:
        with pytest.raises(NotReached) as told:
            await Pool().ask("GET", f"https://127.0.0.1:{port}/", {}, connect=0.2, trust_env=True)
    assert told.value.late


async def test_what_comes_before_the_answer_is_passed_over():
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with ByteServer([[early, response("hello")]]) as server:
        assert await body_of(await Pool().ask("GET", server.url, {}, connect=5)) == b"hello"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
        b"",
    ],
)
async def test_what_is_no_answer(said):
    async with ByteServer([[said, Fin()]]) as server:
        with pytest.raises(Broken):
            await Pool().ask("GET", server.url, {}, connect=5)


async def test_a_server_that_answers_and_leaves_before_it_has_read_all():
    async def serve(stream):
        await stream.receive_some(1000)
        await stream.send_all(response("too much", status=413))
        await stream.send_eof()
        with trio.move_on_after(5):
            while await stream.receive_some(1_000_000):
                pass

    async with listening(serve) as port:
        pool = Pool()
        answer = await pool.ask(
            "POST", f"http://127.0.0.1:{port}/", {}, b"x" * 20_000_000, connect=5
        )
        assert answer.status_code == 413
        assert await body_of(answer) == b"too much"


async def test_leaving_an_answer_closes_its_connection():
    async with ByteServer([[head(), b"data: x\n\n", Stall()]]) as server:
        pool = Pool()
        answer = await pool.ask("GET", server.url, {}, connect=5)
        assert await answer.read() == b"data: x\n\n"
        await answer.aclose()
        await answer.aclose()
        assert pool.kept == 0


async def test_one_that_is_kept_while_the_pool_closes():
    """It is a connection to another server: those to close must not be counted while that one is put down."""
    async with (
        ByteServer(lambda _: [response("a", headers={"connection": "keep-alive"}), Stall()]) as one,
        ByteServer(
            lambda _: [response("b", headers={"connection": "keep-alive"}), Stall()]
        ) as other,
    ):
        pool = Pool()
        for answer in [await pool.ask("GET", one.url, {}, connect=5) for _ in range(3)]:
            assert await body_of(answer) == b"a"
        late = await pool.ask("GET", other.url, {}, connect=5)
        while await late.read():
            pass
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.aclose)
            while pool.kept == 3:
                await trio.lowlevel.checkpoint()
            await late.aclose()
        await pool.aclose()
        assert pool.kept == 0


async def test_a_pool_is_closed_by_who_is_cancelled_too():
    async with ByteServer([[response("a", headers={"connection": "keep-alive"}), Stall()]]) as one:
        pool = Pool()
        assert await body_of(await pool.ask("GET", one.url, {}, connect=5)) == b"a"
        assert pool.kept == 1
        with trio.CancelScope() as scope:
            scope.cancel()
            await pool.aclose()
        assert pool.kept == 0


# --- TLS ---
class AtOnce(trio.abc.Stream):
    """Sends what comes while `held` is not None together, once that is None again."""

    def __init__(self, stream):
        self.stream = stream
        self.held = None

    async def send_all(self, data):
        if self.held is None:
            await self.stream.send_all(data)
        else:
            self.held += data

    async def wait_send_all_might_not_block(self):
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        return await self.stream.receive_some(max_bytes)

    async def aclose(self):
        await self.stream.aclose()


@pytest.mark.parametrize("more", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"])
async def test_what_tls_holds_is_not_the_next_answer(authority, more):
    """It came in the same segment as the answer: the socket does not show it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def serve(stream):
        under = AtOnce(stream)
        secure = trio.SSLStream(under, context, server_side=True, https_compatible=True)
        while await receive(secure) is not None:
            under.held = b""
            await secure.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood")
            await secure.send_all(more)
            held, under.held = under.held, None
            await stream.send_all(held)

    async with listening(serve) as port:
        pool = Pool()
        for _ in range(3):
            answer = await pool.ask(
                "GET", f"https://127.0.0.1:{port}/", {}, connect=5, trust_env=True
            )
            assert await body_of(answer) == b"good"
            assert pool.kept == (0 if more else 1)
        await pool.aclose()


async def test_a_server_that_leaves_early_is_heard_through_tls_too(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def serve(stream):
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await secure.receive_some(1000)
        await secure.send_all(response("too much", status=413))

    async with listening(serve) as port:
        answer = await Pool().ask(
            "POST",
            f"https://127.0.0.1:{port}/",
            {},
            b"x" * 20_000_000,
            connect=5,
            trust_env=True,
        )
        assert answer.status_code == 413
        assert await body_of(answer) == b"too much"


async def test_a_certificate_counts_for_its_name(authority):
    seen = []
    async with listening(encrypted(authority, "127.0.0.1", seen)) as port:
        pool = Pool()
        for _ in range(2):
            answer = await pool.ask(
                "GET", f"https://127.0.0.1:{port}/x", {}, connect=5, trust_env=True
            )
            assert await body_of(answer) == b"secret"
        assert pool.kept == 1
        await pool.aclose()
        with pytest.raises(NotReached, match=r"(?i)certificate"):  # the usual authorities
            await pool.ask("GET", f"https://127.0.0.1:{port}/", {}, connect=5)
    async with listening(encrypted(authority, "other.test", seen)) as port:
        with pytest.raises(NotReached, match=r"(?i)certificate"):
            await Pool().ask("GET", f"https://127.0.0.1:{port}/", {}, connect=5, trust_env=True)
    assert len(seen) == 2


@pytest.mark.parametrize("there", [None, "no certificate"])
async def test_certificates_that_cannot_be_read(monkeypatch, tmp_path, there):
    path = tmp_path / "ca.pem"
    if there is not None:
        path.write_text(there)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(NotReached, match="certificates") as told:
        await Pool().ask("GET", "https://127.0.0.1:9/", {}, connect=5, trust_env=True)
    assert str(path) in f"{told.value}"


# --- proxies ---
@pytest.fixture
def proxied(monkeypatch):
    def through(url, *, none=""):
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, url)
        monkeypatch.setenv("no_proxy", none)

    return through


async def test_a_proxy_is_told_whole_addresses(proxied):
    async with ByteServer([[response("by proxy")]]) as proxy:
        proxied(proxy.url.replace("//", "//me:p%40ss@"))
        answer = await Pool().ask("GET", f"http://{HOST}:81/x?y", {}, connect=5, trust_env=True)
        assert await body_of(answer) == b"by proxy"
    [request] = proxy.requests
    assert request.path == f"http://{HOST}:81/x?y"
    assert request.headers["host"] == f"{HOST}:81"
    assert request.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize("encrypted_proxy", [False, True])
async def test_tls_goes_through_a_tunnel(authority, proxied, encrypted_proxy):
    seen, asked = [], []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def relay(one, other):
        while data := await one.receive_some(65536):
            await other.send_all(data)

    async def serve(stream):
        if encrypted_proxy:
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            asked.append(await receive(stream))
            await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with (
                await trio.open_tcp_stream("127.0.0.1", port) as onward,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(relay, stream, onward)
                await relay(onward, stream)
        except* trio.BrokenResourceError:
            pass

    async with (
        listening(encrypted(authority, HOST, seen)) as port,
        listening(serve) as proxy,
    ):
        scheme = "https" if encrypted_proxy else "http"
        proxied(f"{scheme}://127.0.0.1:{proxy}")
        pool = Pool()
        for _ in range(2):
            answer = await pool.ask("GET", f"https://{HOST}/x", {}, connect=5, trust_env=True)
            assert await body_of(answer) == b"secret"
        await pool.aclose()
    assert [(request.method, request.path) for request in asked] == [("CONNECT", f"{HOST}:443")]
    assert [request.headers["host"] for request in seen] == [HOST, HOST]


async def test_a_proxy_that_refuses(proxied):
    async with ByteServer([[response("no", status=403)]]) as proxy:
        proxied(proxy.url)
        with pytest.raises(NotReached, match="403"):
            await Pool().ask("GET", f"https://{HOST}/", {}, connect=5, trust_env=True)


@pytest.mark.parametrize("trust_env", [False, True])
async def test_no_proxy_unless_asked_for_and_not_where_none_is_wanted(proxied, trust_env):
    async with ByteServer() as proxy, ByteServer([[response("straight")]]) as server:
        proxied(proxy.url, none="127.0.0.1" if trust_env else "")
        answer = await Pool().ask("GET", server.url, {}, connect=5, trust_env=trust_env)
        assert await body_of(answer) == b"straight"
    assert proxy.requests == []


async def test_a_proxy_that_is_none_of_http(proxied):
    proxied("socks5://127.0.0.1:1")
    with pytest.raises(NotReached, match="proxy"):
        await Pool().ask("GET", f"http://{HOST}/", {}, connect=5, trust_env=True)
