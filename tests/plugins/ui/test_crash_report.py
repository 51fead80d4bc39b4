"""A crash leaves a report in the user's folder; it goes nowhere unless the user said so, and never changes the crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import msgspec
import pytest
import trio
from codetether.testing import ByteServer, Reset, Stall, make_kernel, redirect, response
from codetether_extension_crash_report import sending
from codetether_extension_crash_report.report import MESSAGE, TRACE, report_of
from codetether_extension_crash_report.sending import SECONDS, checked, send_one
from codetether_extension_crash_report.spool import MOST, Spool
from codetether_extension_crash_report.watch import Watch

KEY = "canary-key-0123456789"
CRASH = """
import sys
import codetether.commands.models as models
async def broken(args, kernel):
    kernel.redact.add("canary-key-0123456789")
    raise ZeroDivisionError("no luck with canary-key-0123456789 in " + str(kernel.dirs.config))
models.run = broken
{more}
from codetether.__main__ import main
sys.exit(main(["models", "--json"]))
"""


@pytest.fixture(autouse=True)
def own_hook(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)


def crash(more="", *words, env=None):
    return subprocess.run(
        [sys.executable, "-c", CRASH.format(more=more), *words],
        capture_output=True, text=True, check=False, env={**os.environ, **(env or {})},
    )  # fmt: skip


def reports(home):
    folder = home / "data/codetether-agent/crash-reports"
    return sorted(folder.glob("*.json")) if folder.exists() else []


def error_of(text="boom"):
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def kept(folder, count=1):
    spool = Spool(folder)
    for _ in range(count):
        report = report_of(error_of(), str)
        spool.keep(report.name, msgspec.json.encode(report))
    return spool


def test_a_crash_is_what_it_was_and_leaves_a_report(home):
    done = crash()
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    [path] = reports(home)
    assert str(path) in done.stderr
    assert "nothing is sent" in done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    told = json.loads(path.read_bytes())
    assert told["error"] == "builtins.ZeroDivisionError"
    assert told["message"] == "no luck with *** in ~/config/codetether-agent"
    assert KEY not in path.read_text()
    assert str(home) not in path.read_text()
    assert "broken" in told["backtrace"]
    assert told["location"].startswith("<string>:")


def test_switched_off_it_writes_nothing(home):
    done = crash(env={"CODETETHER_PLUGINS_OFF": "extensions:crash_report"})
    assert (done.returncode, "ZeroDivisionError" in done.stderr) == (1, True)
    assert not reports(home)


@pytest.mark.parametrize(
    "more",
    [
        "import codetether_extension_crash_report.report as r\nr.TracebackException = None",
        "import codetether_extension_crash_report.spool as s\ns.write_atomic = lambda *a: sys.exit(9)",
        "import os\nplace = os.environ['XDG_DATA_HOME'] + '/codetether-agent'\nos.makedirs(place)\nopen(place + '/crash-reports', 'w').close()",
    ],
)
def test_a_reporter_that_fails_hides_nothing(home, more):
    done = crash(more)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "the crash report could not be written" in done.stderr
    assert not reports(home)


def test_an_error_that_is_told_is_no_crash(home):
    done = subprocess.run(
        [sys.executable, "-m", "codetether", "models", "nobody"], capture_output=True, check=False
    )
    assert done.returncode != 0
    assert not reports(home)


def test_what_it_holds_is_bounded_and_without_words_of_the_user(monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["codetether", "exec", "-m", "x/y", "--session=abc", "fix my secret", "--json"]
    )
    report = report_of(error_of("x" * 100_000), str)
    assert len(report.message) <= MESSAGE + 3
    assert len(report.backtrace) <= TRACE + 3
    assert report.command == "codetether exec -m --session --json"


def test_one_whose_text_cannot_be_made():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("no")

    assert "cannot be made" in report_of(Odd(), str).message


def test_at_most_fifty_are_kept(tmp_path):
    spool = kept(tmp_path / "crashes", MOST + 5)
    assert len(spool.waiting()) == MOST


def test_ctrl_c_is_none(tmp_path, monkeypatch):
    seen = []
    Watch(lambda *a: seen.append(a), None)(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert len(seen) == 1


# --- sending ---
def settings(endpoint, *, agreed=True):
    key = 'plugins."extensions:crash_report"'
    return {f"{key}.crash_reporting": agreed, f"{key}.crash_report_endpoint": endpoint}


async def started(tmp_path, url, count=1, **how):
    """One session from beginning to end, with reports waiting; what is left of them."""
    async with make_kernel(
        tmp_path,
        replies=["hello"],
        plugins=["extensions:crash_report"],
        settings=settings(url, **how),
    ) as kernel:
        spool = kept(kernel.dirs.data / "crash-reports", count)
        async with kernel.open_session(directory=tmp_path / "work") as session:
            done = await session.prompt("hi")
            assert done.text == "hello"
            plugin = kernel.plugin("extensions", "crash_report")
            with trio.move_on_after(20):
                while plugin._sending:
                    await trio.sleep(0.01)
        assert not kernel.host.faults
    return spool


async def test_one_is_sent_at_each_start_with_consent_and_address(tmp_path):
    async with ByteServer([[response(status=204)]] * 3) as server:
        spool = await started(tmp_path, f"{server.url}/crashes", 3)
    [sent] = server.requests
    assert len(spool.waiting()) == 2
    assert (sent.method, sent.path) == ("POST", "/crashes")
    assert (sent.json["schema"], sent.json["source"]) == ("codetether.crash.v1", "codetether-agent")
    assert sent.headers["x-codetether-report-id"] == sent.json["report"]["report_id"]
    assert sent.headers["x-codetether-install-id"] == sent.json["install_id"]
    assert "authorization" not in sent.headers


async def test_nothing_without_consent(tmp_path):
    async with ByteServer([[response(status=204)]]) as server:
        spool = await started(tmp_path, server.url, agreed=False)
    assert server.requests == []
    assert len(spool.waiting()) == 1


async def test_a_project_does_not_decide_where_reports_go(tmp_path):
    async with ByteServer([[response(status=204)]]) as server:
        work = tmp_path / "work"
        work.mkdir()
        subprocess.run(["git", "init", "-q", work], check=True)
        (work / "codetether.toml").write_text(
            f'[telemetry]\ncrash_reporting = true\ncrash_report_endpoint = "{server.url}"\n'
        )
        from codetether.trust import trust

        async with make_kernel(tmp_path, plugins=["extensions:crash_report"]) as first:
            trust(work, first.dirs)
        async with make_kernel(
            tmp_path, plugins=["extensions:crash_report"], directory=work
        ) as kernel:
            plugin = kernel.plugin("extensions", "crash_report")
            assert plugin.settings.crash_reporting
            assert plugin.endpoint == ""


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([response(status=500)], ".json"),
        ([response(status=401)], ".json"),
        ([redirect("http://127.0.0.1:1/")], ".json"),
        ([response(status=400)], ".refused"),
        ([Reset()], ".json"),
    ],
)
async def test_what_fails_is_kept_and_disturbs_nobody(tmp_path, steps, left):
    async with ByteServer([steps] * 3) as server:
        spool = await started(tmp_path, server.url)
    assert len(server.requests) == 1
    assert [path.suffix for path in spool._all()] == [left]


async def test_nobody_listens(tmp_path):
    spool = await started(tmp_path, "http://127.0.0.1:1/")
    assert len(spool.waiting()) == 1


async def test_a_slow_one_is_given_up_after_eight_seconds(tmp_path, autojump_clock, monkeypatch):
    async def here(function, *args):
        return function(*args)

    async def never(*_):
        await trio.sleep_forever()

    spool = kept(tmp_path / "crashes")
    plugin = SimpleNamespace(
        endpoint="https://slow.example/", settings=SimpleNamespace(crash_report_secret="")
    )
    monkeypatch.setattr(trio.to_thread, "run_sync", here)  # the clock does not see threads
    monkeypatch.setattr(sending, "_post", never)
    start = trio.current_time()
    await send_one(SimpleNamespace(dirs=SimpleNamespace(data=tmp_path)), spool, plugin)
    assert trio.current_time() - start == pytest.approx(SECONDS)
    assert len(spool.waiting()) == 1


async def test_a_session_does_not_wait_for_a_stalled_endpoint(tmp_path):
    async with ByteServer([[Stall()]]) as server:
        async with make_kernel(
            tmp_path, replies=["hello"], plugins=["extensions:crash_report"],
            settings=settings(server.url),
        ) as kernel:  # fmt: skip
            spool = kept(kernel.dirs.data / "crash-reports")
            async with kernel.open_session(directory=tmp_path / "work") as session:
                assert (await session.prompt("hi")).text == "hello"
    assert len(spool.waiting()) == 1


async def test_what_is_no_report_is_removed_and_another_process_is_left_alone(tmp_path):
    async with ByteServer([[response(status=200)]]) as server:
        async with make_kernel(
            tmp_path, plugins=["extensions:crash_report"], settings=settings(server.url)
        ) as kernel:
            plugin = kernel.plugin("extensions", "crash_report")
            spool = kept(kernel.dirs.data / "crash-reports")
            (spool.folder / "0-odd.json").write_text("no report")
            with spool.alone() as alone:
                assert alone
                await send_one(kernel, spool, plugin)
                assert server.requests == []
            await send_one(kernel, spool, plugin)
    assert len(server.requests) == 1
    assert spool._all() == []


@pytest.mark.parametrize(
    "address",
    ["http://example.org/", "ftp://127.0.0.1/", "https://a:b@example.org", "nonsense", ""],
)
def test_where_reports_may_not_go(address):
    from codetether.api import CodetetherError

    with pytest.raises(CodetetherError):
        checked(address)


async def test_the_doctor_tells_of_them(tmp_path):
    async with make_kernel(tmp_path, plugins=["extensions:crash_report"]) as kernel:
        plugin = kernel.plugin("extensions", "crash_report")
        assert list(plugin.codetether_doctor()) == []
        kept(kernel.dirs.data / "crash-reports", 2)
        [found] = plugin.codetether_doctor()
        assert "2 in " in found.text
        assert "sent nowhere" in found.text
        assert "crash_reporting=true" in found.hint
