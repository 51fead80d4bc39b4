"""What is installed, as people and programs read it."""

from __future__ import annotations

import json

import pytest
from codetether import listing, trust
from codetether.catalog import Row


def row(key, dist="", summary="Do it", version="0.1.5"):
    kind, _, name = key.partition(":")
    return Row(
        kind,
        name,
        "m:C",
        dist or f"codetether-{kind.removesuffix('s')}-{name}",
        version,
        summary,
        "/x",
    )


ROWS = [
    row("modes:exec"),
    row("tools:bash"),
    row("tools:ls", "acme-ls", "List", "12"),
    row("ui:tui"),
]


def test_plugins_by_kind():
    assert listing.plugins(ROWS, ["tools:bash"]).splitlines() == [
        "tools",
        "  bash  0.1.5  Do it (off)",
        "  ls    12     List (from acme-ls)",
        "",
        "modes",
        "  exec  0.1.5  Do it",
        "",
        "ui",
        "  tui   0.1.5  Do it",
    ]


def test_tools_by_name():
    assert listing.tools(ROWS) == "bash  Do it\nls    List (from acme-ls)"


def test_json_says_what_is_on():
    told = json.loads(listing.plugins(ROWS, ["tools"], as_json=True))
    assert [(one["key"], one["on"]) for one in told] == [
        ("modes:exec", True), ("tools:bash", False), ("tools:ls", False), ("ui:tui", True),
    ]  # fmt: skip
    assert told[2] == {
        "key": "tools:ls", "kind": "tools", "name": "ls", "value": "m:C", "distribution": "acme-ls", "version": "12",
        "summary": "List", "on": False,
    }  # fmt: skip


def test_two_distributions_with_one_name_are_both_shown_and_marked():
    told = listing.plugins([row("tools:bash"), row("tools:bash", "acme-bash")])
    assert "also offered by acme-bash" in told
    assert "also offered by codetether-tool-bash" in told


def test_a_strangers_metadata_cannot_steer_the_terminal():
    told = listing.plugins([row("tools:x", "acme\x1b]0;", "a\x1b[2Jb\x07\u202e")])
    assert told.replace("\n", "").isprintable()


def test_help_lists_what_is_installed():
    told = listing.help_text(ROWS, {"plugins": "Examine"}, ["ui:tui"])
    assert "  exec     Do it\n" in told
    assert "  plugins  Examine\n" in told
    assert "tools: bash, ls\n" in told
    assert "ui: " not in told


def test_long_lists_are_wrapped_and_complete():
    rows = [row(f"tools:tool_{n:02}") for n in range(40)]
    told = listing.help_text(rows, {})
    assert max(map(len, told.splitlines())) <= 100
    assert all(one.name in told for one in rows)


@pytest.mark.parametrize(
    "told", [listing.plugins([]), listing.tools([]), listing.help_text([], {"plugins": "x"})]
)
def test_the_kernel_alone_says_what_to_install(told):
    assert "codetether[all]" in told
    assert "not by name from an index" in told


# --- switches from settings --------------------------------------------------------------------------------------
@pytest.fixture
def settings(home):
    def write(text):
        file = home / "config/codetether-agent/config.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


def test_no_file_switches_nothing(tmp_path):
    assert listing.switched_off_by_settings(ROWS, str(tmp_path)) == []


def test_off_and_only(settings, tmp_path):
    settings('[plugins]\noff = ["tools:bash", 3]\nonly = ["tools", "acme-ls"]\n')
    assert listing.switched_off_by_settings(ROWS, str(tmp_path)) == [
        "tools:bash",
        "modes:exec",
        "ui:tui",
    ]


def test_a_broken_file_is_told_and_switches_nothing(settings, tmp_path, capsys):
    settings("[plugins\n")
    assert listing.switched_off_by_settings(ROWS, str(tmp_path)) == []
    assert "not TOML" in capsys.readouterr().err


def test_a_repository_switches_off_only_when_it_is_trusted(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "codetether.toml").write_text('[plugins]\noff = ["tools:bash"]\n')
    assert listing.switched_off_by_settings(ROWS, str(tmp_path)) == []
    trust.trust(tmp_path)
    assert listing.switched_off_by_settings(ROWS, str(tmp_path)) == ["tools:bash"]


def test_it_agrees_with_the_kernels_own_reading(settings, tmp_path):
    from codetether.catalog import switched
    from codetether.config import Config

    settings('[plugins]\noff = ["acme-ls"]\nonly = ["tools"]\n')
    config = Config.load(tmp_path)
    off = listing.switched_off_by_settings(ROWS, str(tmp_path))
    assert switched(ROWS, config.off, config.only) == switched(ROWS, tuple(off))
