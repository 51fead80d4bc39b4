"""No plugin can bring the host down, and each fault is told once."""

import sys
import types

import pytest
import trio
from codetether.catalog import Row
from codetether.errors import PluginError
from codetether.hookspecs import hookimpl
from codetether.host import Host
from codetether.words import Ruling, Verdict


class Base:
    def __init__(self, kernel, key):
        self.kernel, self.key = kernel, key


@pytest.fixture
def host_of(monkeypatch):
    """A host over classes (or exceptions raised at import), each a module of its own."""

    def make(*, choose=None, duplicates=(), **members):
        rows = []
        for name, member in members.items():
            module = types.ModuleType(f"bad_{name}")
            if isinstance(member, type):
                module.Plugin = member
            monkeypatch.setitem(sys.modules, module.__name__, module)
            rows.append(Row("extensions", name, f"bad_{name}:Plugin", f"acme-{name}", "1", "", ""))
        rows += [
            Row("extensions", n, f"bad_{n}:Plugin", "other-dist", "1", "", "") for n in duplicates
        ]
        return Host(rows, "the kernel", choose=choose)

    return make


class Good(Base):
    api = 1
    ready = ()

    @hookimpl
    def codetether_ready(self, kernel):
        self.ready = (*self.ready, kernel)

    @hookimpl
    async def codetether_permit(self, call):
        return Verdict.ASK if call == "bash" else None


def test_loads_once_and_tells_it_is_ready(host_of):
    host = host_of(good=Good)
    plugin = host.get("extensions", "good")
    assert plugin is host.get("extensions", "good") is host.need("extensions", "good")
    assert plugin.key == "extensions:good"
    assert plugin.ready == ("the kernel",)
    assert host.faults == []


def test_what_is_loaded_is_kept_in_mind_until_it_changes(host_of):
    host = host_of(good=Good, other=Good)
    first = host.load_all("extensions")
    first.clear()
    assert [plugin.key for plugin in host.load_all("extensions")] == ["extensions:good", "extensions:other"]  # fmt: skip
    host.pm.set_blocked("extensions:good")
    assert [plugin.key for plugin in host.load_all("extensions")] == ["extensions:other"]
    with pytest.raises(PluginError):
        host.need("extensions", "good")
    host.pm.unregister(name="extensions:other")
    new = host.need("extensions", "other")
    assert host.load_all("extensions") == [new]


class NoApi(Base):
    pass


class Inherits(Good):
    pass


class OldApi(Base):
    api = 0


class WrongArgument(Base):
    api = 1

    @hookimpl
    async def codetether_permit(self, cal):
        return None


class UnknownHook(Base):
    api = 1

    @hookimpl
    def codetether_never(self):
        return None


class Builds(Base):
    api = 1

    def __init__(self, kernel, key):
        raise RuntimeError("boom\nsecond line")


class Exits(Base):
    api = 1

    def __init__(self, kernel, key):
        sys.exit(3)


class Asserts(Base):
    api = 1

    def __init__(self, kernel, key):
        raise AssertionError("never so")


@pytest.mark.parametrize(
    ("cls", "stage", "words"),
    [
        (NoApi, "api", "speaks api None"),
        (Inherits, "api", "speaks api None"),
        (OldApi, "api", "speaks api 0"),
        (WrongArgument, "register", "PluginValidationError"),
        (UnknownHook, "register", "codetether_never"),
        (Builds, "build", "RuntimeError: boom"),
        (Exits, "build", "SystemExit"),
        (Asserts, "build", "never so"),
        (None, "import", "Plugin"),
    ],
)
def test_a_bad_plugin_is_reported_once_and_the_others_go_on(host_of, cls, stage, words):
    host = host_of(bad=cls or types.ModuleType, good=Good)
    if cls is None:
        del sys.modules["bad_bad"].Plugin
    assert host.get("extensions", "bad") is None
    assert host.get("extensions", "bad") is None
    assert host.get("extensions", "good") is not None
    (fault,) = host.faults
    assert (fault.plugin, fault.stage, fault.dist) == ("extensions:bad", stage, "acme-bad")
    assert words in fault.error
    assert "\n" not in fault.error
    with pytest.raises(PluginError, match="cannot be used"):
        host.need("extensions", "bad")


def test_syntax_error_missing_dependency_and_exit_at_import(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in {
        "syn": "def (",
        "dep": "import not_there_at_all",
        "ext": "raise SystemExit(2)",
        "ass": "assert 0",
    }.items():
        (tmp_path / f"mod_{name}.py").write_text(text)
    rows = [
        Row("tools", n, f"mod_{n}:C", "acme", "1", "", "") for n in ("syn", "dep", "ext", "ass")
    ]
    host = Host(rows, None)
    assert host.load_all("tools") == []
    assert [(f.plugin, f.stage) for f in host.faults] == [
        ("tools:ass", "import"), ("tools:dep", "import"), ("tools:ext", "import"), ("tools:syn", "import"),
    ]  # fmt: skip


def test_conflict_names_both_and_the_line_to_write(host_of):
    host = host_of(good=Good, duplicates=("good",))
    with pytest.raises(PluginError) as caught:
        host.need("extensions", "good")
    assert "acme-good and other-dist" in caught.value.message
    assert '[plugins.choose] "extensions:good" = "acme-good"' in caught.value.hint
    assert set(host.conflicts()) == {"extensions:good"}
    settled = host_of(good=Good, duplicates=("good",), choose={"extensions:good": "other-dist"})
    assert settled.need("extensions", "good") is not None
    assert settled.conflicts() == {}


def test_absent_says_what_there_is(host_of):
    with pytest.raises(PluginError) as caught:
        host_of(good=Good).need("extensions", "bad")
    assert caught.value.hint == "there are: good"


# --- calling ---
def plugins(host_of, **members):
    host = host_of(**members)
    host.load_all("extensions")
    return host


def impl(**hooks):
    """A plugin class with the given hook implementations."""
    return type(
        "P", (Base,), {"api": 1} | {name: hookimpl(function) for name, function in hooks.items()}
    )


async def test_strictest_takes_the_highest_and_a_failure_denies(host_of):
    async def allow(self, call):
        return Verdict.ALLOW

    async def fails(self, call):
        raise RuntimeError("policy is broken")

    async def nonsense(self, call):
        return "yes please"

    given = {"call": "bash", "tool": None, "session": None}
    host = plugins(host_of, a=impl(codetether_permit=allow), good=Good)
    assert (await host.calls.strictest("codetether_permit", **given))[:2] == (
        Verdict.ASK,
        "extensions:good",
    )
    assert (await host.calls.strictest("codetether_permit", **given | {"call": "x"}))[:2] == (
        Verdict.ALLOW,
        "",
    )
    for bad in (fails, nonsense):
        host = plugins(host_of, a=impl(codetether_permit=allow), b=impl(codetether_permit=bad))
        assert (await host.calls.strictest("codetether_permit", **given))[:2] == (
            Verdict.DENY,
            "extensions:b",
        )


async def test_a_patient_plugin_has_the_time_it_says(host_of, autojump_clock):
    async def slow(self, call):
        await trio.sleep(50)
        return Ruling(Verdict.ASK, "looked long")

    given = {"call": "bash", "tool": None, "session": None}
    hasty, patient = impl(codetether_permit=slow), impl(codetether_permit=slow)
    patient.patience = 60.0
    said = await plugins(host_of, p=patient).calls.strictest("codetether_permit", **given)
    assert (said.verdict, said.why) == (Verdict.ASK, "looked long")
    said = await plugins(host_of, p=hasty).calls.strictest("codetether_permit", **given)
    assert said.verdict is Verdict.DENY


async def test_notify_survives_raising_exiting_and_hanging(host_of, autojump_clock):
    seen = []

    async def sees(self, event):
        seen.append(event)

    async def raises(self, event):
        raise ValueError("no")

    async def leaves(self, event):
        sys.exit(1)

    async def hangs(self, event):
        await trio.sleep_forever()

    async def group(self, event):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises, self, event)

    host = plugins(host_of, **{
        f"p{i}": impl(codetether_observe=f) for i, f in enumerate((raises, leaves, hangs, group, sees))
    })  # fmt: skip
    started = trio.current_time()
    for event in ("one", "two"):
        await host.calls.notify("codetether_observe", event=event, session=None)
    assert seen == ["one", "two"]
    assert trio.current_time() - started == pytest.approx(5.0)  # the one that hangs is asked once
    assert sorted(f.plugin for f in host.faults) == [
        "extensions:p0",
        "extensions:p1",
        "extensions:p2",
        "extensions:p3",
    ]


async def test_cancellation_is_not_a_fault(host_of):
    async def hangs(self, event):
        await trio.sleep_forever()

    host = plugins(host_of, p=impl(codetether_observe=hangs))
    with trio.move_on_after(0.01) as scope:
        await host.calls.notify("codetether_observe", event="x", session=None)
    assert scope.cancelled_caught
    assert host.faults == []


async def test_fold_first_collect(host_of):
    async def double(self, result):
        return result * 2

    async def leave(self, result):
        return None

    async def broken(self, result):
        raise RuntimeError

    host = plugins(
        host_of, a=impl(codetether_result=double), b=impl(codetether_result=leave), c=impl(codetether_result=broken),
    )  # fmt: skip
    assert (
        await host.calls.fold("codetether_result", "result", result="x", call=None, session=None)
        == "xx"
    )

    async def answers(self, question):
        return "an answer"

    async def silent(self, question):
        return None

    host = plugins(host_of, a=impl(codetether_ask=silent), b=impl(codetether_ask=answers))
    assert await host.calls.first("codetether_ask", question="?", session=None) == "an answer"

    async def later(self):
        return ["async"]

    host = plugins(
        host_of, a=impl(codetether_doctor=later), b=impl(codetether_doctor=lambda self: ["sync"])
    )
    assert sorted(await host.calls.collect("codetether_doctor")) == [["async"], ["sync"]]


async def test_around_holds_open_and_survives_bad_managers(host_of):
    from contextlib import asynccontextmanager

    log = []

    def good(self, session):
        @asynccontextmanager
        async def held():
            log.append("in")
            yield
            log.append("out")

        return held()

    def bad_enter(self, session):
        @asynccontextmanager
        async def held():
            raise RuntimeError("cannot enter")
            yield

        return held()

    def bad_exit(self, session):
        @asynccontextmanager
        async def held():
            yield
            raise RuntimeError("cannot leave")

        return held()

    host = plugins(host_of, **{
        f"p{i}": impl(codetether_around_turn=f) for i, f in enumerate((good, bad_enter, bad_exit))
    })  # fmt: skip
    async with host.calls.around("codetether_around_turn", session=None):
        log.append("work")
    assert log == ["in", "work", "out"]
    assert len(host.faults) == 2
    with pytest.raises(KeyError, match="work's own"):
        async with host.calls.around("codetether_around_turn", session=None):
            raise KeyError("work's own")


async def test_a_hook_is_called_in_its_own_way_only(host_of):
    with pytest.raises(TypeError, match="called by strictest"):
        await plugins(host_of).calls.notify("codetether_permit")
