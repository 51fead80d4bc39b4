"""What a user gets from pip, without an index: the kernel alone, a few plugins, the default set, everything."""

from __future__ import annotations

import json
from pathlib import Path

import codetether
import pytest
from workspace import Workspace

pytestmark = pytest.mark.install
SPACE = Workspace(Path(__file__).parents[2])


def keys(environment):
    return {row["key"] for row in json.loads(environment.codetether("plugins", "list", "--json"))}


def test_the_kernel_alone_says_what_to_install(environment):
    environment.pip("codetether-core")
    assert environment.codetether("--version") == f"codetether {codetether.__version__}\n"
    assert "codetether[all]" in environment.codetether("plugins", "list")
    assert "codetether[all]" in environment.codetether("--help")
    assert "there is no command 'exec'" in environment.codetether("exec", "hello", code=2)
    assert (
        environment.run("python", "-m", "codetether", "--version")
        == f"codetether {codetether.__version__}\n"
    )
    environment.run("python", "-m", "pip", "check")


def test_the_kernel_and_two(environment):
    environment.pip("codetether-core", "codetether-tool-read-file", "codetether-provider-scripted")
    assert keys(environment) == {"tools:read_file", "providers:scripted"}
    assert "read_file" in environment.codetether("tools", "list")
    assert '"path"' in environment.codetether("tools", "show", "read_file")
    assert "scripted/demo" in environment.codetether("models")
    environment.run("python", "-c", "import codetether_tool_write_file", code=1)


def test_the_default_set(environment):
    environment.pip("codetether")
    apart = set(SPACE.project["tool"]["codetether"]["not-default"])
    wanted = {
        key for member in SPACE.plugins if member.name not in apart for key in member.entry_points
    }
    assert keys(environment) == wanted
    environment.run("python", "-m", "pip", "check")


def test_everything_loads_from_wheels(environment):
    environment.pip("codetether[all]")
    assert keys(environment) == {key for member in SPACE.plugins for key in member.entry_points}
    environment.run("python", "-m", "pip", "check")
    found = json.loads(environment.run("python", "-c", DOCTOR))
    assert [f for f in found if f["level"] == "error" and ":" in f["subject"]] == []
    assert any(f["subject"] == "catalog" and f["level"] == "ok" for f in found)
    for member in SPACE.plugins:
        for key in member.entry_points:
            kind, _, name = key.partition(":")
            if kind == "tools":
                shown = json.loads(environment.codetether("tools", "show", name, "--json"))
                assert shown["description"]


DOCTOR = """
import sys, trio, msgspec
from codetether.doctor import examine
from codetether.kernel import Kernel
async def main():
    async with Kernel.load(".") as kernel:
        print(msgspec.json.encode(await examine(kernel)).decode())
trio.run(main)
"""


def test_one_distribution_can_be_taken_away_again(environment):
    environment.pip("codetether-core", "codetether-tool-read-file", "codetether-tool-list-dir")
    environment.run("python", "-m", "pip", "uninstall", "-y", "-q", "codetether-tool-list-dir")
    assert keys(environment) == {"tools:read_file"}


def test_switching_off_by_word_by_environment_and_by_settings(environment):
    environment.pip("codetether-core", "codetether-tool-read-file", "codetether-tool-list-dir")

    def on(*words, **env):
        rows = json.loads(environment.codetether(*words, "plugins", "list", "--json", **env))
        return {row["key"] for row in rows if row["on"]}

    assert on() == {"tools:read_file", "tools:list_dir"}
    assert on("-p", "no:tools:list_dir") == {"tools:read_file"}
    assert on(CODETETHER_PLUGINS_OFF="tools:read_file") == {"tools:list_dir"}
    assert on(CODETETHER_PLUGINS_OFF="tools") == set()
    settings = environment.folder / "home/.config/codetether-agent"
    settings.mkdir(parents=True)
    (settings / "config.toml").write_text('[plugins]\noff = ["codetether-tool-list-dir"]\n')
    assert on() == {"tools:read_file"}
    assert "there are: read_file" in environment.codetether("tools", "show", "list_dir", code=1)
    (settings / "config.toml").write_text('[plugins]\nonly = ["tools:list_dir"]\n')
    assert on() == {"tools:list_dir"}
