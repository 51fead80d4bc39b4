"""A third party's wheel, built with setuptools and installed with pip alone: it works, and broken ones harm nobody."""

from __future__ import annotations

import json

import pytest
from strangers import EXTENSIONS, HOOK_FAULTS, STAGES

pytestmark = pytest.mark.install

TURN = """
import json, sys, trio
from pathlib import Path
from codetether.testing import call, make_kernel

async def main(name, off):
    replies = [call("hello", name=name), "done"]
    async with make_kernel(Path(sys.argv[2]), replies=replies, off=off) as kernel:
        kernel.host.load_all("extensions")
        async with kernel.open_session(directory=Path(sys.argv[2])) as session:
            finished = await session.prompt("Greet")
            results = [r for m in session.messages for r in m.results]
        acme = kernel.host.get("extensions", "acme")
        print(json.dumps({
            "reason": finished.reason,
            "text": [r.text for r in results],
            "ok": [r.ok for r in results],
            "seen": acme.seen if acme else [],
            "faults": [[f.plugin, f.stage] for f in kernel.host.faults],
        }))

trio.run(main, sys.argv[1], sys.argv[3:])
"""


def turn(environment, name, *off):
    place = environment.folder / "place"
    place.mkdir(exist_ok=True)
    return json.loads(environment.run("python", "-c", TURN, name, str(place), *off))


@pytest.fixture
def acme(prepared, tmp_path):
    return prepared(
        tmp_path / "environment",
        "codetether-core", "codetether-provider-scripted", "acme-codetether-hello",
    )  # fmt: skip


def test_it_is_listed_with_its_own_version(acme):
    listed = acme.codetether("plugins", "list")
    assert "hello     2.3    Greet people the Acme way (from acme-codetether-hello)" in listed
    assert "hello  Greet people the Acme way" in acme.codetether("tools", "list")
    assert "effect: read" in acme.codetether("tools", "show", "hello")


def test_it_is_called_watched_and_rewritten(acme):
    told = turn(acme, "Ada")
    assert told["text"] == ["Hello, Ada, dear."]
    assert told["ok"] == [True]
    assert {"ToolStarted", "ToolFinished"} <= set(told["seen"])
    assert told["faults"] == []


def test_it_can_veto(acme):
    told = turn(acme, "Mallory")
    assert told["ok"] == [False]
    assert "Hello" not in told["text"][0]


def test_it_is_configured_like_our_own(acme):
    settings = acme.folder / "place/config/codetether-agent"
    settings.mkdir(parents=True)
    (settings / "config.toml").write_text('[plugins."tools:hello"]\ngreeting = "Servus"\n')
    assert turn(acme, "Ada")["text"] == ["Servus, Ada, dear."]


def test_one_for_another_kernel_is_refused_by_pip(environment):
    environment.pip("codetether-core")
    assert "codetether-core>=2" in environment.pip("acme-newer", code=1)


@pytest.fixture
def broken(prepared, tmp_path):
    return prepared(
        tmp_path / "environment",
        "codetether-core", "codetether-provider-scripted", "acme-codetether-hello", "acme-broken",
    )  # fmt: skip


def test_every_broken_plugin_is_listed_survived_and_reported_once(broken):
    listed = {row["name"] for row in json.loads(broken.codetether("plugins", "list", "--json"))}
    assert {*EXTENSIONS, "missing_module", "hello"} <= listed
    found = json.loads(broken.codetether("plugins", "doctor", "--json", code=1))
    errors = [f for f in found if f["level"] == "error" and f["subject"].startswith("extensions:")]
    assert sorted(f["subject"] for f in errors) == sorted(f"extensions:{name}" for name in STAGES)
    stages = {f["subject"].partition(":")[2]: f["text"].partition(":")[0] for f in errors}
    assert stages == STAGES
    assert all(f["hint"] for f in errors)


def test_broken_ones_leave_the_others_working(broken):
    told = turn(broken, "Ada", "extensions:raising_policy")
    assert told["text"] == ["Hello, Ada, dear."]
    assert sorted({(p, s) for p, s in map(tuple, told["faults"])}) == sorted(
        [
            *((f"extensions:{name}", stage) for name, stage in STAGES.items()),
            ("extensions:hangs", "codetether_observe"),
            ("extensions:raises", "codetether_observe"),
        ]
    )
    assert len(told["faults"]) == len({tuple(fault) for fault in told["faults"]})


def test_a_policy_that_fails_has_said_no(broken):
    told = turn(broken, "Ada", "extensions:hangs")
    assert told["ok"] == [False]
    assert ["extensions:raising_policy", "codetether_permit"] in told["faults"]
    assert set(HOOK_FAULTS) == {"raises", "hangs", "raising_policy"}


def test_two_distributions_with_one_name(acme):
    acme.pip("acme-one", "acme-two")
    listed = acme.codetether("plugins", "list")
    assert listed.count("twin") == 2
    refused = acme.codetether("tools", "show", "twin", code=1)
    assert "tools:twin is offered by acme-one and acme-two; neither is loaded" in refused
    assert '[plugins.choose] "tools:twin" = "acme-one"' in refused
    assert turn(acme, "Ada")["text"] == ["Hello, Ada, dear."]
    found = json.loads(acme.codetether("plugins", "doctor", "--json", code=1))
    assert [f["subject"] for f in found if f["level"] == "error" and ":" in f["subject"]] == [
        "tools:twin"
    ]
    settings = acme.folder / "home/.config/codetether-agent"
    settings.mkdir(parents=True)
    (settings / "config.toml").write_text('[plugins.choose]\n"tools:twin" = "acme-two"\n')
    assert "from acme-two 1.0" in acme.codetether("tools", "show", "twin")
