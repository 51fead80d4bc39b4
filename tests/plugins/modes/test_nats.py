"""The connection to a broker: who may be believed, what is never said in the clear, and the loop that it lives in."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import selectors
import signal
import socket
import threading
import time

import nkeys
import pytest
import trio
import trustme
from brokers import NatsServer, Worker, coordinator, steps, task
from codetether.api import CodetetherError, UsageError
from codetether_nats import Place, Unreachable, key_of
from codetether_nats.loop import Loop
from codetether_nats.messages import record
from codetether_nats.place import servers
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

PASSWORD = "canary-password-0123456789"


def secret(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return str(path)


async def ready(tmp_path, url, **settings):
    async with coordinator(tmp_path / "home", url, **settings) as kernel:
        await kernel.executor("nats").ready()
        return kernel


# --- credentials ---
async def test_a_name_and_a_password_from_a_file_or_the_source_of_secrets(tmp_path):
    server = NatsServer(
        tmp_path / "nats",
        f'authorization {{ users: [ {{ user: "steward", password: "{PASSWORD}" }} ] }}',
    )
    try:
        with pytest.raises(Unreachable, match="refuses us") as caught:
            await ready(tmp_path, server.address)
        assert caught.value.refused
        wrong = secret(tmp_path / "wrong", "steward:not-this-one-0123456789")
        with pytest.raises(Unreachable, match="refuses us") as caught:
            await ready(tmp_path, server.address, login=wrong)
        assert "not-this-one" not in caught.value.message + caught.value.hint
        login = secret(tmp_path / "login", f"steward:{PASSWORD}\n")
        kernel = await ready(tmp_path, server.address, login=login)
        assert kernel.redact.text(f"steward: {PASSWORD}") == "steward: ***"
        secret(tmp_path / "login", f"steward:{PASSWORD}\n", 0o644)
        with pytest.raises(UsageError, match="others can read"):
            await ready(tmp_path, server.address, login=login)
        worker = Worker(tmp_path / "w", server.address, "--login", wrong)
        assert worker.process.wait(60) == 1
        assert "refuses us" in "".join(worker.lines[-3:]) or worker.until("refuses us")
        worker.end()

        class Kept:
            async def configured(self):
                return True

            async def get(self, name):
                assert name == "nats"
                return {"user": "steward", "password": PASSWORD}

        async with coordinator(tmp_path / "home", server.address) as kernel:
            kernel.secrets = Kept
            await kernel.executor("nats").ready()
    finally:
        server.close()


@pytest.mark.parametrize("how", ["at once", "when the broker comes back"])
async def test_a_user_who_is_shut_out_while_at_work_is_told_so_on_both_sides(tmp_path, how):
    server = NatsServer(
        tmp_path / "nats",
        f'authorization {{ users: [ {{ user: "steward", password: "{PASSWORD}" }} ] }}',
    )
    login, results = secret(tmp_path / "login", f"steward:{PASSWORD}"), []
    worker = Worker(tmp_path / "w", server.address, "--login", login)
    try:
        worker.until("serves")
        async with (
            coordinator(tmp_path / "home", server.address, login=login) as kernel,
            trio.open_nursery() as nursery,
        ):

            async def run():
                results.append(await kernel.executor("nats").run(task(steps("STALL"))))

            nursery.start_soon(run)
            await worker.told("t: begun")
            if how == "at once":
                server.reload({PASSWORD: "another-password-0123456789"})
            else:
                server.kill()
                server.change({PASSWORD: "another-password-0123456789"})
                server.start()
        assert results[0].reason == "unreachable"
        assert "refuses us: 'authorization violation'" in results[0].error.lower()
        assert worker.process.wait(60) == 1
        worker.end()
        assert any("refuses us: 'authorization violation'" in line.lower() for line in worker.lines), worker.lines  # fmt: skip
    finally:
        worker.end(signal.SIGKILL)
        server.close()


async def test_a_broker_whose_store_is_full_is_not_said_to_be_away(tmp_path):
    server = NatsServer(
        tmp_path / "nats",
        f'jetstream {{ store_dir: "{tmp_path}/store", max_file_store: 1MB }}', jetstream=False,
    )  # fmt: skip
    try:
        async with coordinator(tmp_path / "home", server.address, outage=1.0) as kernel:
            await kernel.executor("nats").ready()
            (tmp_path / "large").write_bytes(b"x" * 2_000_000)
            with pytest.raises(
                Unreachable, match=r"not done what was asked .*insufficient"
            ) as caught:
                await kernel.executor("nats")._link.put_file(tmp_path / "large")
            assert not caught.value.refused
    finally:
        server.close()


async def test_an_nkey_and_a_creds_file(tmp_path):
    seed, public = pair(nkeys.PREFIX_BYTE_USER)
    server = NatsServer(tmp_path / "nats", f"authorization {{ users: [ {{ nkey: {public} }} ] }}")
    try:
        await ready(tmp_path, server.address, nkey=secret(tmp_path / "nkey", seed))
        other, _ = pair(nkeys.PREFIX_BYTE_USER)
        with pytest.raises(Unreachable, match="refuses us"):
            await ready(tmp_path, server.address, nkey=secret(tmp_path / "other", other))
        both = {"nkey": str(tmp_path / "nkey"), "login": str(tmp_path / "nkey")}
        with pytest.raises(UsageError, match="nkey and login are both given"):
            await ready(tmp_path, server.address, **both)
    finally:
        server.close()
    settings, creds = operated()
    server = NatsServer(tmp_path / "nats2", settings)
    try:
        await ready(tmp_path, server.address, creds=secret(tmp_path / "creds", creds))
        with pytest.raises(UsageError, match=r"not a .creds file"):
            await ready(tmp_path, server.address, creds=secret(tmp_path / "bad", "nothing"))
    finally:
        server.close()


def pair(kind):
    import os

    seed = nkeys.encode_seed(os.urandom(32), kind)
    return seed.decode(), nkeys.from_seed(bytearray(seed)).public_key.decode()


def jwt(signer, claims):
    """A NATS JWT: as any other, signed by an NKey."""

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head = part(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    body = part(json.dumps(claims).encode())
    signed = nkeys.from_seed(bytearray(signer.encode())).sign(head + b"." + body)
    return b".".join((head, body, part(signed))).decode()


def operated():
    """A server's settings with an operator, an account and JetStream for it; and the creds of a user."""
    (operator, o), (account, a) = pair(nkeys.PREFIX_BYTE_OPERATOR), pair(nkeys.PREFIX_BYTE_ACCOUNT)
    _, system = pair(nkeys.PREFIX_BYTE_ACCOUNT)
    user, u = pair(nkeys.PREFIX_BYTE_USER)
    many = dict.fromkeys(("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1)
    stores = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    base = {"iat": 1_700_000_000, "jti": "x"}
    of_operator = jwt(operator, {**base, "iss": o, "sub": o, "name": "op", "nats": {"type": "operator", "version": 2}})  # fmt: skip

    def of(account, name, **limits):
        rights = {"type": "account", "version": 2, "limits": {**many, "wildcards": True, **limits}}
        return jwt(operator, {**base, "iss": o, "sub": account, "name": name, "nats": rights})

    of_user = jwt(
        account,
        {**base, "iss": a, "sub": u, "name": "us",
         "nats": {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}},
    )  # fmt: skip
    settings = (
        f"operator: {of_operator}\nresolver: MEMORY\nsystem_account: {system}\n"
        f"resolver_preload: {{ {a}: {of(a, 'acc', **stores)}, {system}: {of(system, 'sys')} }}"
    )
    creds = (
        f"-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user}\n------END USER NKEY SEED------\n"
    )
    return settings, creds


# --- encryption ---
async def test_tls_with_an_authority_of_ones_own_and_a_certificate_on_both_sides(tmp_path):
    ca = trustme.CA()
    ours, theirs = ca.issue_cert("us@example.org"), ca.issue_cert("localhost", "127.0.0.1")
    for name, data in (
        ("ca.pem", ca.cert_pem), ("server.pem", theirs.cert_chain_pems[0]), ("server.key", theirs.private_key_pem),
        ("us.pem", ours.cert_chain_pems[0]), ("us.key", ours.private_key_pem),
    ):  # fmt: skip
        data.write_to_path(str(tmp_path / name))
    server = NatsServer(
        tmp_path / "nats",
        f"tls {{ cert_file: '{tmp_path}/server.pem', key_file: '{tmp_path}/server.key', ca_file: '{tmp_path}/ca.pem',"
        f" verify: true }}",
    )
    url = server.address.replace("nats:", "tls:")
    files = {"tls_ca": f"{tmp_path}/ca.pem", "tls_cert": f"{tmp_path}/us.pem", "tls_key": f"{tmp_path}/us.key"}  # fmt: skip
    try:
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await ready(tmp_path, url)
        with pytest.raises(Unreachable):
            await ready(tmp_path, url, tls_ca=files["tls_ca"])
        with pytest.raises(UsageError, match="files for TLS cannot be used"):
            await ready(tmp_path, url, tls_ca=str(tmp_path / "absent"))
        (tmp_path / "us.key").chmod(0o644)
        with pytest.raises(UsageError, match=r"others can read .*us\.key"):
            await ready(tmp_path, url, **files)
        (tmp_path / "us.key").chmod(0o600)
        locked = serialization.load_pem_private_key(ours.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )  # fmt: skip
        with pytest.raises(UsageError, match="files for TLS cannot be used"):  # and nobody is asked
            await ready(
                tmp_path, url, **{**files, "tls_key": secret(tmp_path / "locked", locked.decode())}
            )
        flags = [
            word for name, path in files.items() for word in (f"--{name.replace('_', '-')}", path)
        ]
        worker = Worker(tmp_path / "w", url, *flags)
        async with coordinator(tmp_path / "home", url, **files) as kernel:
            result = await kernel.executor("nats").run(task(steps("$ echo hi", "hi")))
            assert (result.ok, result.text) == (True, "hi")
        assert worker.end() == 0
        another = ca.issue_cert("another.example.org")
        another.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
        another.private_key_pem.write_to_path(str(tmp_path / "server.key"))
        server.kill()
        server.start()
        with pytest.raises(Unreachable, match="IP address mismatch"):
            await ready(tmp_path, url, **files)
    finally:
        server.close()


@pytest.mark.parametrize("scheme", ["tls", "TLS"])
async def test_nothing_is_said_to_a_server_that_hides_that_it_can_encrypt(tmp_path, scheme):
    heard = []

    def serve(listener):
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            with stream:
                stream.settimeout(30)
                stream.sendall(b'INFO {"server_id":"x","version":"2.9.10","max_payload":1048576,"auth_required":true}\r\n')  # fmt: skip
                heard.append(stream.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener], daemon=True)
        thread.start()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        login = secret(tmp_path / "login", f"us:{PASSWORD}")
        with pytest.raises(UsageError, match="does not offer TLS"):
            await ready(tmp_path, url, login=login)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)
    assert heard == [b""]


async def test_other_servers_that_a_greeting_names_are_not_told_anything_in_the_clear(
    tmp_path, monkeypatch
):
    from codetether_nats import link

    monkeypatch.setattr(link, "CONNECT", 1.0)
    elsewhere = socket.create_server(("127.0.0.1", 0))
    greeted = []

    def serve(listener):
        info = {"server_id": "x", "version": "2.9.10", "max_payload": 1048576, "headers": True,
                "connect_urls": [f"127.0.0.1:{elsewhere.getsockname()[1]}"]}  # fmt: skip
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            with stream:
                stream.settimeout(30)
                stream.sendall(f"INFO {json.dumps(info)}\r\n".encode())
                heard = b""
                while b"PING" not in heard and (more := stream.recv(65536)):
                    heard += more
                stream.sendall(b"PONG\r\n")
                stream.recv(65536)
                greeted.append(heard)  # and the connection is cut

    with socket.create_server(("127.0.0.1", 0)) as listener, elsewhere:
        thread = threading.Thread(target=serve, args=[listener], daemon=True)
        thread.start()
        with pytest.raises(Unreachable):
            await ready(tmp_path, f"nats://127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert len(greeted) > 1  # it did look for another


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nats://broker.example.org:4222", "would not be encrypted"),
        ("nats://10.0.0.1", "would not be encrypted"),
        ("nats://127.0.0.1:4222,nats://other.example.org", "would not be encrypted"),
        ("nats://us:pass@127.0.0.1", "holds a name or a password"),
        ("tls://token@broker.example.org", "holds a name or a password"),
        ("us:pass@127.0.0.1", "no address of a NATS server"),
        ("nats://127.0.0.1?token=pass", "no address of a NATS server"),
        ("nats://127.0.0.1#pass", "no address of a NATS server"),
        ("http://127.0.0.1:4222", "no address of a NATS server"),
        ("ws://127.0.0.1:4222", "no address of a NATS server"),
        ("127.0.0.1:4222", "no address of a NATS server"),
        ("nats://", "no address of a NATS server"),
        ("nats://127.0.0.1:port", "cannot be read"),
        (" , ", "where is the broker"),
    ],
)
def test_addresses_that_are_refused(url, why):
    with pytest.raises(UsageError, match=why) as caught:
        servers(Place(url=url))
    assert "pass" not in caught.value.message.replace("password", "")


def test_addresses_that_are_not():
    assert servers(Place(url="nats://localhost, tls://broker.example.org:4443")) == [
        "nats://localhost",
        "tls://broker.example.org:4443",
    ]
    assert servers(Place(url="nats://[::1]:4222"))
    assert servers(Place(url="nats://10.0.0.1", plain=True))


async def test_a_server_without_jetstream_and_none_at_all(tmp_path):
    server = NatsServer(tmp_path / "nats", jetstream=False)
    try:
        with pytest.raises(Unreachable, match="has no JetStream"):
            await ready(tmp_path, server.address)
    finally:
        server.close()
    with pytest.raises(Unreachable, match="cannot be used"):
        await ready(tmp_path, server.address)


# --- names ---
@given(st.text(max_size=200))
def test_a_key_is_one_word_of_a_subject(text):
    key = key_of(text)
    assert len(key) <= 100
    assert all(ch.isascii() and (ch.isalnum() or ch in "-_") for ch in key)


@given(st.binary(max_size=200))
def test_whatever_is_in_a_record_it_is_read_or_refused(data):
    import msgspec

    with pytest.raises(msgspec.DecodeError):
        record(data)


# --- the loop ---
async def test_the_loop_gives_results_and_errors_and_cancels():
    loop = Loop()
    ended = []

    async def forever():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def fails():
        raise ValueError("no")

    async def gives(value):
        await asyncio.sleep(0)
        return value

    assert await loop.run(gives, 7) == 7
    with pytest.raises(ValueError, match="no"):
        await loop.run(fails)
    with trio.move_on_after(0.05) as scope:
        await loop.run(forever)
    assert scope.cancelled_caught
    assert ended == ["cancelled"]
    async with trio.open_nursery() as nursery:
        closed = []

        async def waits():
            with pytest.raises(CodetetherError, match="was closed"):
                await loop.run(forever)
            closed.append(True)

        nursery.start_soon(waits)
        await trio.testing.wait_all_tasks_blocked()
        await loop.run(gives, 1)  # so that the other has begun
        await loop.stop()
    assert closed == [True]
    with pytest.raises(CodetetherError, match="was closed"):
        await loop.run(gives, 1)


async def test_a_time_that_comes_while_asyncio_looks_for_news_is_not_missed(monkeypatch):
    look = selectors.DefaultSelector.select

    def slow(selector, timeout=None):  # as when others have the processor meanwhile
        time.sleep(0.003)
        return look(selector, timeout)

    async def naps():
        for _ in range(5):
            await asyncio.sleep(0.002)
            await asyncio.sleep(0)
        return "awake"

    monkeypatch.setattr(selectors.DefaultSelector, "select", slow)
    loop = Loop()
    with trio.fail_after(30):
        assert await loop.run(naps) == "awake"
    await loop.stop()


async def test_what_was_done_before_a_cancellation_was_heard_is_not_lost():
    loop = Loop()
    waits = []

    async def obstinate():
        waits.append(asyncio.get_running_loop().create_future())
        try:
            await waits[0]
        except asyncio.CancelledError:
            return "done"

    got = []
    with trio.CancelScope() as scope:
        scope.cancel()
        got.append(await loop.run(obstinate))
    assert got == ["done"]
    await loop.stop()


async def test_what_is_begun_while_the_loop_ends_is_told_so():
    loop = Loop()
    told = []

    async def forever():
        await asyncio.sleep(3600)

    async def obstinate():
        with pytest.raises(asyncio.CancelledError):
            await forever()
        await asyncio.sleep(0.1)

    async def begins_another():  # as whoever tries again does, when what they asked was cancelled
        for _ in range(2):
            with pytest.raises(CodetetherError, match="was closed"):
                await loop.run(forever)
            told.append(True)

    loop.begin(obstinate)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(begins_another)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(loop.stop)
    assert told == [True, True]


async def test_a_loop_that_ends_as_something_comes_for_it_ends_in_order():
    for _ in range(30):  # trio lets its tasks go on in any order
        loop = Loop()
        here, there = socket.socketpair()
        with here, there:

            async def listen(here=here):
                asyncio.get_running_loop().add_reader(here, here.recv, 100)

            await loop.run(listen)
            await trio.testing.wait_all_tasks_blocked()
            there.send(b"for nobody")
            await trio.lowlevel.checkpoint()
            await loop.stop()
            await trio.lowlevel.checkpoint()


async def test_the_end_waits_for_no_thread_that_looks_a_name_up(monkeypatch):
    looking, go_on, found = threading.Event(), threading.Event(), threading.Event()

    def slow(*_, **__):
        looking.set()
        go_on.wait(5)
        found.set()
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    loop = Loop()

    async def connect():
        await asyncio.open_connection("broker.example.org", 4222)

    with trio.move_on_after(0.05):
        await loop.run(connect)
    await trio.to_thread.run_sync(looking.wait)
    await loop.stop()
    assert not found.is_set()
    go_on.set()
    await trio.to_thread.run_sync(found.wait)


async def test_what_fails_in_the_library_by_itself_is_no_traceback_for_a_person(caplog):
    loop = Loop()

    async def fails():
        raise ZeroDivisionError

    async def leave():
        asyncio.ensure_future(fails())  # noqa: RUF006 - nobody looks after it, which is the point

    await loop.run(leave)
    gc.collect()
    await loop.stop()
    gc.collect()
    assert [record.levelname for record in caplog.records if record.levelno >= 30] == []
