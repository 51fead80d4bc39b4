"""Sessions against servers of the official SDK: over pipes, over HTTP, behind a login."""

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trio
from codetether.api import CodetetherError, SecretMissing, Secrets
from codetether.testing import ByteServer, ScriptedServer, call, make_kernel, redirect, response
from codetether_mcp import LoginNeeded, Server, connected, log_in, log_out
from codetether_mcp.http import Fate, Forbidden, Guarded

SERVER = Path(__file__).with_name("mcp_official.py")
KEY = "extensions:mcp_client"


class Memory(Secrets):
    """Secrets in memory."""

    api = 1

    def __init__(self, kernel, key):
        super().__init__(kernel, key)
        self.documents = {}

    async def get(self, provider):
        if provider not in self.documents:
            raise SecretMissing("none", "")
        return dict(self.documents[provider])

    async def put(self, provider, fields):
        self.documents[provider] = {**self.documents.get(provider, {}), **fields}

    async def remove(self, provider):
        if self.documents.pop(provider, None) is None:
            raise SecretMissing("none", "")

    async def providers(self):
        return list(self.documents)


@asynccontextmanager
async def served(kind, log):
    """The address of a server of its own."""
    argv = [sys.executable, str(SERVER), kind, str(log)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            lambda task_status: trio.run_process(
                argv, stdout=subprocess.PIPE, check=False, task_status=task_status
            )
        )
        try:
            with trio.fail_after(60):
                line = b""
                while not line.endswith(b"\n"):
                    line += await process.stdout.receive_some(100)
            yield line.decode().strip()
        finally:
            process.kill()


@asynccontextmanager
async def kernel_with(place, servers=None, replies=()):
    rules = {"permissions.tools": {"mcp_*": "allow"}}
    async with make_kernel(
        place,
        replies=list(replies),
        plugins=[KEY],
        extra={"secrets:memory": Memory},
        settings=rules,
    ) as kernel:
        kernel.dirs.config.mkdir(parents=True, exist_ok=True)
        (kernel.dirs.config / "mcp.json").write_text(json.dumps({"mcpServers": servers or {}}))
        yield kernel


def results(session):
    return [result for message in session.messages for result in message.results]


def token_in(document):
    return json.loads(json.loads(document["login"])["tokens"])["access_token"]


def spoil(document):
    """Its token is good no more."""
    document["login"] = json.dumps({**json.loads(document["login"]), "until": 1.0})


async def until(condition):
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.02)


async def test_exec_with_a_server_over_pipes(home, tmp_path):
    """The whole program, as a person starts it."""
    log = tmp_path / "log"
    entry = {"command": sys.executable, "args": [str(SERVER), "stdio", str(log)]}
    config = home / "config" / "codetether-agent"
    config.mkdir(parents=True)
    (config / "mcp.json").write_text(json.dumps({"mcpServers": {"sum": entry}}))
    (config / "config.toml").write_text('[permissions.tools]\n"mcp__sum__add" = "allow"\n')
    said = iter([call("mcp__sum__add", a=40, b=2), call("mcp__sum__slow"), "It is 42."])
    async with ScriptedServer(lambda asked: next(said)) as model:
        done = await trio.run_process(
            [
                sys.executable,
                "-m",
                "codetether",
                "exec",
                "-m",
                "local/x",
                "--format",
                "json",
                "add",
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                "CODETETHER_LOCAL_BASE_URL": f"{model.url}/v1",
                "CODETETHER_SANDBOX": "none",
            },
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    report = json.loads(done.stdout)
    assert report["text"] == "It is 42.", done.stderr.decode()
    assert done.returncode == 3  # `slow` has no rule, and nobody is there to ask
    assert b"Traceback" not in done.stderr


async def test_over_http(tmp_path):
    log = tmp_path / "log"
    replies = [
        call("mcp__far__add", a=40, b=2),
        call("mcp__far__grow"),
        "grown",
        call("mcp__far__grown"),
        call("mcp_resource"),
        call("mcp_resource", server="far"),
        call("mcp_resource", server="far", uri="note://monday/plan"),
        call("mcp_resource", server="far", uri="note://"),
        "read",
        call("mcp__far__slow"),
        "stopped",
    ]
    async with (
        served("http", log) as url,
        kernel_with(tmp_path, {"far": {"url": url}}, replies) as kernel,
    ):
        async with kernel.open_session(directory=tmp_path / "work") as session:
            tools = session.toolbox.tools
            await session.prompt("add and grow")
            assert [result.text for result in results(session)] == ["42", "grown"]
            await until(lambda: "mcp__far__grown" in session.toolbox.tools)
            await session.prompt("use it")
            new, having, listed, read, wrong = results(session)[2:]
            assert new.text == "new"
            assert having.text == "Servers with resources: far"
            assert "- note://today: today" in listed.text
            assert "- note://{day}/plan: plan" in listed.text
            assert read.text == "nothing on monday"
            assert not wrong.ok
            collected = await session.calls.collect("codetether_commands", ui="test")
            (greet,) = [
                each for group in collected for each in group if each.name == "mcp__far__greet"
            ]
            assert "Greet Ada kindly." in await greet.run(session, "Ada")
            assert "Greet Ada twice." in await greet.run(session, "how=twice Ada")
            with pytest.raises(CodetetherError, match="needs name"):
                await greet.run(session, "")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.prompt, "be slow")
                await until(lambda: session.messages[-1].calls)
                await trio.sleep(0.2)
                session.cancel()
            await until(lambda: log.exists() and "slow was stopped" in log.read_text())
            assert tools


async def test_a_login(tmp_path):
    log = tmp_path / "log"
    async with served("oauth", log) as url:
        server = Server("far", "http", "mcp.json", url=url)
        async with kernel_with(tmp_path, {"far": {"url": url}}) as kernel:
            async with kernel.open_session(directory=tmp_path / "work") as session:
                assert not [name for name in session.toolbox.tools if name.startswith("mcp")]
                (notice,) = [each for each in kernel.notices if "far" in each.text]
                assert "wants you to log in" in notice.text
                assert notice.hint == "log in with: codetether mcp login far"
            assert not log.exists()  # nobody was registered for one who did not log in

            async def refuse(address):
                asked = dict(httpx2.URL(address).params)
                target = asked["redirect_uri"]
                async with httpx2.AsyncClient() as browser:
                    forged = (
                        target.replace("/callback", "/other"),
                        f"{target}?error=any_page_can_send_this",
                        f"{target}?code=theirs&state=guessed",
                    )
                    for each in forged:
                        assert (await browser.get(each)).status_code == 404
                    params = {"error": "access_denied", "state": asked["state"]}
                    await browser.get(target, params=params)

            with pytest.raises(CodetetherError, match="refused: access_denied"):
                await log_in(kernel, server, tmp_path, refuse)

            async def browse(address):
                async with httpx2.AsyncClient(follow_redirects=True) as browser:
                    assert "logged in" in (await browser.get(address)).text

            assert (await log_in(kernel, server, tmp_path, browse)).startswith("official")
            (document,) = kernel.secrets().documents.values()
            assert document["base_url"] == url
            token = token_in(document)
            assert token not in kernel.redact.text(f"it is {token}")
            spoil(document)
            async with connected(kernel, server, tmp_path) as connection:
                assert [tool.name for tool in await connection.tools()][:1] == ["add"]
            kept = log.read_text().splitlines()
            assert kept == ["register", "register", "authorize", "exchange", "refresh"]
            (document,) = kernel.secrets().documents.values()
            assert token_in(document) != token
            async with connected(kernel, server, tmp_path) as connection:
                result = await connection.call("add", {"a": 1})
                assert result.structured_content == {"result": 2}
            assert log.read_text().splitlines() == kept
            assert await log_out(kernel, server)
            assert not await log_out(kernel, server)
            with pytest.raises(LoginNeeded):
                async with connected(kernel, server, tmp_path):
                    pass

            # one that was registered by hand, as servers want that register nobody by themselves
            kernel.secrets().documents["app"] = {"secret": "by hand"}
            oauth = {"clientId": "known", "clientSecret": "${vault:app/secret}"}
            named = Server("far", "http", "mcp.json", url=url, oauth=oauth)
            assert (await log_in(kernel, named, tmp_path, browse)).startswith("official")
            assert log.read_text().count("register") == 2
            for document in kernel.secrets().documents.values():
                if "login" in document:
                    spoil(document)
            async with connected(kernel, named, tmp_path) as connection:
                assert await connection.tools()
            assert log.read_text().count("refresh") == 2


async def test_what_a_login_brought_goes_to_that_address_and_no_repository_s(tmp_path):
    async with kernel_with(tmp_path) as kernel, ByteServer([[response(status=401)]] * 4) as other:
        url = f"{other.url}/mcp"
        login = json.dumps({"tokens": json.dumps({"access_token": "stolen"})})
        document = {"base_url": "https://elsewhere.example/mcp", "login": login}
        from codetether_mcp.login import document as name_of

        mine = Server("far", "http", "mcp.json", url=url)
        theirs = Server("far", "http", ".mcp.json", url=url, project=True)
        for server, kept in ((mine, document), (theirs, {**document, "base_url": url})):
            kernel.secrets().documents[name_of(server)] = kept
            with pytest.raises(LoginNeeded):
                async with connected(kernel, server, tmp_path):
                    pass
        assert all("stolen" not in str(request.headers) for request in other.requests)


@pytest.mark.parametrize(
    ("server", "asked", "fine"),
    [
        ("https://far.example/mcp", "https://login.example/token", True),
        ("https://far.example/mcp", "http://127.0.0.1:2375/containers/create", False),
        ("https://far.example/mcp", "https://localhost/", False),
        ("https://far.example/mcp", "https://[::1]:8200/v1/secret", False),
        ("https://far.example/mcp", "http://login.example/token", False),
        ("http://localhost:1/mcp", "http://127.0.0.1:2/token", True),
    ],
)
async def test_a_server_elsewhere_has_nothing_here_asked(server, asked, fine):
    """It names where to log in, and so could have anything asked that trusts this machine."""
    heard = []

    def answer(request):
        heard.append(str(request.url))
        return httpx2.Response(200, stream=httpx2.ByteStream(b""))

    guarded = Guarded(httpx2.MockTransport(answer), Fate(), server)
    async with httpx2.AsyncClient(transport=guarded) as client:
        if fine:
            await client.get(asked)
        else:
            with pytest.raises(Forbidden):
                await client.get(asked)
    assert bool(heard) is fine


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (redirect("http://127.0.0.1:1/elsewhere"), "not followed"),
        (response("x" * 20_000_000), "more than 16000000"),
        (response("no", headers={"Content-Encoding": "gzip"}), "packed"),
        (response("broken", status=500), "error response"),
    ],
)
async def test_bad_answers(tmp_path, answer, told):
    async with kernel_with(tmp_path) as kernel, ByteServer([[answer]] * 4) as bad:
        with pytest.raises(CodetetherError, match=told):
            async with connected(
                kernel, Server("far", "http", "f", url=f"{bad.url}/mcp"), tmp_path
            ):
                pass


async def test_nobody_there(tmp_path):
    async with kernel_with(tmp_path) as kernel:
        with pytest.raises(CodetetherError, match="far"):
            async with connected(
                kernel, Server("far", "http", "f", url="http://127.0.0.1:1/mcp"), tmp_path
            ):
                pass
