"""`codetether models pull` against servers that break off, lie, change the file, redirect and never end."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from codetether.api import CodetetherError, UsageError
from codetether.testing import ByteServer, Reset, Stall, head, make_kernel, redirect, response
from codetether_mode_pull.progress import Progress
from codetether_mode_pull.source import refuse_unsafe, source

sys.path.append(str(Path(__file__).parents[2] / "peers"))
from tiny_model import write_tiny_model

HUB = "https://hub.example.org"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The bytes of a model."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf").read_bytes()


@asynccontextmanager
async def puller(tmp_path, **settings):
    given = {f'plugins."modes:pull".{name}': value for name, value in settings.items()}
    on = ["modes:pull", "providers:gguf"]
    async with make_kernel(tmp_path / "home", plugins=on, settings=given) as kernel:
        yield Puller(kernel)


class Puller:
    def __init__(self, kernel):
        self.mode = kernel.mode("pull")
        self.folder = kernel.dirs.data / "models"

    async def __call__(self, *words):
        parser = ArgumentParser()
        self.mode.arguments(parser)
        with trio.fail_after(20):
            return await self.mode.run(parser.parse_args([str(word) for word in words]))

    @property
    def kept(self):
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


def part(data, start, *, etag='"v1"', end=None):
    """The rest of `data`, cut after `end` when given."""
    total = len(data)
    fields = {
        "content-length": str(total - start),
        "content-range": f"bytes {start}-{total - 1}/{total}",
        "etag": etag,
    }
    return [head(206, fields, "application/octet-stream") + data[start:end]]


def whole(data, *, end=None, etag='"v1"', **fields):
    fields = {"content-length": str(len(data)), **({"etag": etag} if etag else {}), **fields}
    return [head(200, fields, "application/octet-stream") + data[:end]]


def partly(data, ending):
    """Answers each request for the whole with three quarters of it, each for a part with all that is asked for."""

    def steps(request):
        if "range" not in request.headers:
            return [*whole(data, end=len(data) * 3 // 4), ending]
        assert request.headers["if-range"] == '"v1"'
        return part(data, int(request.headers["range"].removeprefix("bytes=").rstrip("-")))

    return steps


async def test_a_file_arrives_whole_under_its_name(tmp_path, model, capsys):
    digest = hashlib.sha256(model).hexdigest()
    async with ByteServer([whole(model)]) as server, puller(tmp_path) as pull:
        assert await pull(f"{server.url}/a/tiny.gguf?download=true", "--sha256", digest) == 0
        info = await pull.mode.kernel.provider("gguf").model("tiny")
        assert (pull.folder / "tiny.gguf").read_bytes() == model
        assert pull.kept == ["tiny.gguf"]
    told = capsys.readouterr()
    assert told.out.strip() == str(pull.folder / "tiny.gguf")
    assert f"sha256 {digest} (as expected)" in told.err
    assert "100%" in told.err
    assert info.context == 8192
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_a_transfer_that_breaks_goes_on_where_it_broke(tmp_path, model, capsys):
    async with puller(tmp_path) as pull:
        async with ByteServer(partly(model, Reset())) as server:
            assert await pull(f"{server.url}/tiny.gguf") == 0
        assert (pull.folder / "tiny.gguf").read_bytes() == model
    first, *others = server.requests
    assert "range" not in first.headers
    assert others
    assert "trying again" in capsys.readouterr().err


async def test_an_interrupted_download_goes_on_another_day(tmp_path, model):
    async with ByteServer(partly(model, Stall())) as server:
        async with puller(tmp_path) as pull:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pull, f"{server.url}/tiny.gguf")
                file = pull.folder / ".tiny.gguf.part"
                while not file.exists() or not file.stat().st_size:
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
            assert pull.kept == [".tiny.gguf.part", ".tiny.gguf.part.json"]
        async with puller(tmp_path) as pull:
            assert await pull(f"{server.url}/tiny.gguf") == 0
            assert (pull.folder / "tiny.gguf").read_bytes() == model
            assert pull.kept == ["tiny.gguf"]
    assert ["range" in request.headers for request in server.requests] == [False, True]


async def test_a_file_that_changed_meanwhile_is_not_joined(tmp_path, model):
    older = bytes(len(model))
    script = [[*whole(older, end=500_000), Reset()], whole(model, etag='"v2"')]
    async with ByteServer(script) as server, puller(tmp_path) as pull:
        assert await pull(f"{server.url}/tiny.gguf") == 0
        assert (pull.folder / "tiny.gguf").read_bytes() == model


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
async def test_without_a_strong_validator_nothing_is_joined(tmp_path, model, etag):
    script = [[*whole(model, end=500_000, etag=etag), Reset()], whole(model, etag=etag)]
    async with ByteServer(script) as server, puller(tmp_path) as pull:
        assert await pull(f"{server.url}/tiny.gguf") == 0
        assert (pull.folder / "tiny.gguf").read_bytes() == model
    assert "range" not in server.requests[1].headers


@pytest.mark.parametrize("lie", ["another start", "out of range"])
async def test_a_part_that_is_not_the_one_asked_for_is_refused(tmp_path, model, lie):
    second = part(model, 0) if lie == "another start" else [response(status=416)]
    script = [[*whole(model, end=500_000), Reset()], second, whole(model)]
    async with ByteServer(script) as server, puller(tmp_path) as pull:
        assert await pull(f"{server.url}/tiny.gguf") == 0
        assert (pull.folder / "tiny.gguf").read_bytes() == model


async def test_a_wrong_checksum_keeps_nothing(tmp_path, model):
    async with ByteServer([whole(model)]) as server, puller(tmp_path) as pull:
        with pytest.raises(CodetetherError, match="checksum"):
            await pull(f"{server.url}/tiny.gguf", "--sha256", "0" * 64)
        assert pull.kept == []


async def test_the_checksum_the_hub_names_counts_too(tmp_path, model):
    wrong = '"' + "1" * 64 + '"'
    async with ByteServer(lambda request: answers[request.path]) as server:
        answers = {
            "/o/r/resolve/main/q/tiny.gguf": [
                response(status=302, headers={"location": "/cdn", "x-linked-etag": wrong})
            ],
            "/cdn": whole(model),
        }
        async with puller(tmp_path, hub=server.url) as pull:
            with pytest.raises(CodetetherError, match="1" * 64):
                await pull("o/r/q/tiny.gguf")
            assert pull.kept == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>Please log in</html>", "no model file"),
        (b"GGUF\x03\0\0\0" + bytes(40), "does not say which architecture"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 40, "damaged"),
    ],
)
async def test_what_is_no_model_is_not_kept(tmp_path, body, words):
    async with ByteServer([whole(body)]) as server, puller(tmp_path) as pull:
        with pytest.raises(CodetetherError, match=words):
            await pull(f"{server.url}/tiny.gguf")
        assert pull.kept == []


async def test_a_model_cut_short_by_its_server_is_not_kept(tmp_path, model):
    async with ByteServer([whole(model[:-1000])]) as server, puller(tmp_path) as pull:
        with pytest.raises(CodetetherError, match="1000 bytes of"):
            await pull(f"{server.url}/tiny.gguf")
        assert pull.kept == []


async def test_a_full_disk_is_seen_before_the_first_byte(tmp_path, model, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    async with ByteServer([whole(model)]) as server, puller(tmp_path) as pull:
        with pytest.raises(CodetetherError, match="free on the disk"):
            await pull(f"{server.url}/tiny.gguf")
        assert pull.kept == []


async def test_what_is_there_is_replaced_only_when_asked(tmp_path, model):
    async with ByteServer([whole(model)]) as server, puller(tmp_path) as pull:
        pull.folder.mkdir(parents=True)
        (pull.folder / "tiny.gguf").write_bytes(b"mine")
        with pytest.raises(UsageError, match="is there already"):
            await pull(f"{server.url}/tiny.gguf")
        assert (pull.folder / "tiny.gguf").read_bytes() == b"mine"
        assert await pull(f"{server.url}/tiny.gguf", "--force") == 0
        assert (pull.folder / "tiny.gguf").read_bytes() == model


async def test_one_download_of_a_file_at_a_time(tmp_path, model):
    async with ByteServer([[*whole(model, end=10), Stall()]]) as server, puller(tmp_path) as pull:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pull, f"{server.url}/tiny.gguf")
            while ".tiny.gguf.part.json" not in pull.kept:
                await trio.sleep(0.01)
            with pytest.raises(CodetetherError, match="another process"):
                await pull(f"{server.url}/tiny.gguf")
            nursery.cancel_scope.cancel()


async def test_redirects_are_followed_only_where_it_is_safe(tmp_path, model):
    async with ByteServer([redirect("http://example.org/x")] * 9) as server:
        async with puller(tmp_path) as pull:
            server._script = [[redirect("http://example.org/tiny.gguf")]]
            with pytest.raises(UsageError, match="only https"):
                await pull(f"{server.url}/tiny.gguf")
    async with ByteServer(lambda request: [redirect(request.path + "x")]) as server:
        async with puller(tmp_path) as pull:
            with pytest.raises(CodetetherError, match="redirects"):
                await pull(f"{server.url}/tiny.gguf")


async def test_a_refusal_is_not_tried_again(tmp_path):
    async with ByteServer([[response(status=404)]]) as server, puller(tmp_path) as pull:
        with pytest.raises(CodetetherError, match="404"):
            await pull(f"{server.url}/tiny.gguf")


def test_names_lead_to_the_hub():
    found = source("TheOrg/a-repo/sub dir/m.Q4_0.gguf", HUB)
    assert found.url == f"{HUB}/TheOrg/a-repo/resolve/main/sub%20dir/m.Q4_0.gguf"
    assert found.name == "m.Q4_0.gguf"
    assert source(f"{HUB}/x?y=1", HUB, "z.gguf").name == "z.gguf"


@pytest.mark.parametrize(
    "given",
    [
        "model", "owner/repo", "o/../x/m.gguf", "http://example.org/m.gguf", "ftp://x/m.gguf", "file:///etc/m.gguf",
        "https://u:p@example.org/m.gguf", "https:///m.gguf", f"{HUB}/m.exe", f"{HUB}/%2e%2e%2fm.gguf",
        f"{HUB}/.hidden.gguf", f"{HUB}/", "https://[::1/m.gguf",
    ],
)  # fmt: skip
def test_what_may_not_be_fetched(given):
    with pytest.raises(UsageError):
        source(given, HUB)


def test_a_website_cannot_lead_us_to_this_machine():
    refuse_unsafe("http://127.0.0.1:1/m.gguf", before="http://localhost:2/")
    for inside in ("http://127.0.0.1:1/m.gguf", "https://localhost/m.gguf"):
        with pytest.raises(UsageError, match="this machine"):
            refuse_unsafe(inside, before=f"{HUB}/m.gguf")


def test_progress_on_a_terminal_is_one_line(monkeypatch):
    written = []

    class Terminal:
        def write(self, text):
            written.append(text)

        def flush(self):
            pass

        def isatty(self):
            return True

    monkeypatch.setattr("codetether_mode_pull.progress.is_terminal", lambda stream: True)
    progress = Progress("m\x1b[31m.gguf", Terminal())
    progress.start(0, 2_000_000)
    progress.at(1_000_000)
    progress.at(2_000_000)
    progress.close()
    text = "".join(written)
    assert text.count("\n") == 1
    assert "100%" in text
    assert "\x1b[31m" not in text


def test_the_command_is_found_below_models():
    def told(*words):
        command = [sys.executable, "-m", "codetether", *words, "models", "pull", "nonsense"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert (told().returncode, "names no file" in told().stderr) == (2, True)
    assert "install codetether-mode-pull from where" in told("-p", "no:modes:pull").stderr
