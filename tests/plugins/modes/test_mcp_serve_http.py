"""Our tools over HTTP: for those who know the token, several at once, and for no page in a browser."""

import os
import stat
from functools import partial

import pytest
import trio
import trio.testing
from codetether.api import CodetetherError
from codetether.testing import processes_with
from codetether_mode_mcp import guard, token
from mcp_serving import ERAS, FAILSAFE, Person, over_http, text

# The SDK's client leaves the generators of a response that it stops reading to the collector; trio says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_generator object:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def work(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.txt").write_text("hello\n")
    return work


async def test_two_clients_of_either_era_and_one_that_leaves(home, work):
    path = work.parent / "token"
    async with over_http(home, work, "--token-file", str(path)) as serving:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        kept = path.read_text().strip()
        assert kept not in serving.token  # it is not shown as well
        serving.token = kept
        person, nobody = Person("once", "once", "once"), None
        async with (
            serving.client("legacy", person) as first,
            serving.client("legacy", nobody) as second,
            serving.client("auto", person) as third,
        ):
            for client in (first, second, third):
                assert "hello" in text(await client.call_tool("read_file", {"path": "a.txt"}))
            assert not (await first.call_tool("bash", {"command": "touch one"})).is_error
            assert "Denied" in text(await second.call_tool("bash", {"command": "touch two"}))
            assert not (await third.call_tool("bash", {"command": "touch three"})).is_error
            shown = text(await third.call_tool("bash", {"command": f"cat {path} # {kept}"}))
            assert "exit 0" in shown
            assert kept not in shown
            assert kept not in person.asked[-1].message
        assert sorted(path.name for path in work.iterdir()) == ["a.txt", "one", "three"]
        assert len(list((home / "data" / "codetether-agent" / "sessions").glob("*.jsonl"))) == 3


def sleeping(home):
    """The commands of a test that still run."""
    running = processes_with(f"XDG_CONFIG_HOME={home}/config").values()
    return [command for command in running if command.startswith("sleep 4242")]


async def until(condition):
    with trio.fail_after(FAILSAFE):
        while not condition():
            await trio.sleep(0.05)


async def test_cancelled_calls_and_clients_that_leave_leave_nothing_running(home, work):
    async with over_http(home, work, "--access-mode", "full") as serving:
        for era in ERAS:
            async with serving.client(era) as client:
                call = partial(client.call_tool, "bash", {"command": "sleep 4242 & sleep 4242"})
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call)
                    await until(lambda: len(sleeping(home)) == 2)
                    nursery.cancel_scope.cancel()
                await until(lambda: not sleeping(home))
                await client.call_tool("bash", {"command": "sleep 4242", "background": True})
                await until(lambda: sleeping(home))
            if era == "legacy":  # one without a session has nothing to leave
                await until(lambda: not sleeping(home))
    assert not sleeping(home)


async def test_nobody_else_gets_in(home, work):
    async with over_http(home, work) as serving, serving.http() as http:
        host = serving.url.split("/")[2]
        for headers, status in (
            ({"Authorization": ""}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": f"Basic {serving.token}"}, 401),
            ({"Host": "evil.example"}, 403),
            ({"Host": "127.0.0.1:1"}, 403),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": f"http://{host}"}, 400),  # our own; what it posts is no JSON
        ):
            for method in ("GET", "POST", "DELETE", "OPTIONS"):
                answer = await http.request(method, serving.url, headers=headers)
                if status != 400 or method == "POST":
                    assert answer.status_code == status, (method, headers)
        async with serving.http(Authorization="") as nobody:
            answer = await nobody.post(serving.url, params={"token": serving.token})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert serving.token not in answer.text
        assert (await http.get(serving.url.removesuffix("/mcp"))).status_code == 404
        body = b" " * (guard.LARGEST_BODY + 1)
        assert (await http.post(serving.url, content=body)).status_code == 413
        await odd_requests(serving)


async def raw(serving, head):
    """What is answered to bytes as they are; the token is put in."""
    host = serving.url.split("/")[2]
    address, port = host.split(":")
    stream = await trio.open_tcp_stream(address, int(port))
    async with stream:
        await stream.send_all(head.format(host=host, token=serving.token).encode())
        return await stream.receive_some()


async def odd_requests(serving):
    with trio.fail_after(FAILSAFE):
        old = "GET /mcp HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
        assert b" 505 " in (await raw(serving, old)).splitlines()[0]
        both = (
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        assert b" 400 " in (await raw(serving, both)).splitlines()[0]
        twice = "POST /mcp HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
        assert b" 400 " in (await raw(serving, twice)).splitlines()[0]
        upgrade = (
            "GET /mcp HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b" 403 " in (await raw(serving, upgrade)).splitlines()[0]


async def test_a_body_that_does_not_come_is_not_waited_for_and_not_for_many_at_once(
    autojump_clock,
):
    async def app(scope, receive, send):
        raise AssertionError("not reached")

    sent = []

    async def send(message):
        sent.append(message.get("status"))

    scope = {
        "type": "http", "http_version": "1.1", "path": guard.PATH, "method": "POST",
        "headers": [(b"host", b"127.0.0.1:80"), (b"authorization", b"bearer t")],
    }  # fmt: skip
    guarded = guard.Guard(app, "t", ["127.0.0.1:80"])
    async with trio.open_nursery() as nursery:
        for _ in range(guard.MOST_REQUESTS):
            nursery.start_soon(guarded, scope, trio.sleep_forever, send)
        await trio.testing.wait_all_tasks_blocked()
        await guarded(scope, trio.sleep_forever, send)
        assert [status for status in sent if status] == [503]
    assert [status for status in sent if status] == [503, *[408] * guard.MOST_REQUESTS]


def test_a_token_that_others_read_or_could_guess_is_refused(tmp_path):
    path = tmp_path / "token"
    made, new = token.token_of(path)
    assert new
    assert token.token_of(path) == (made, False)
    os.chmod(path, 0o640)
    with pytest.raises(CodetetherError, match="others may read"):
        token.token_of(path)
    os.chmod(path, 0o600)
    for text_of in ("short", "has a space in it but is long enough", "x" * 501, "ä" * 30):
        path.write_text(text_of)
        with pytest.raises(CodetetherError, match="holds no token"):
            token.token_of(path)
