"""The words of `codetether mcp` for the list of servers, against our own server as a child process."""

import io
import json
import os
import stat
import subprocess
import sys
from argparse import ArgumentParser

import pytest
import trio
from codetether.api import CodetetherError, Kernel
from codetether.trust import trust
from mcp_serving import CODETETHER, environment


@pytest.fixture
def work(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.txt").write_text("hello\n")
    return work


@pytest.fixture
def mcp(work, capfd, monkeypatch):
    """Do a word as the command line would; its exit code, standard output and standard error."""
    monkeypatch.chdir(work)
    monkeypatch.setenv("CODETETHER_SANDBOX", "none")

    async def do(words):
        async with Kernel.load(work) as kernel:
            parser = ArgumentParser()
            mode = kernel.mode("mcp")
            mode.arguments(parser)
            return await mode.run(parser.parse_args(words))

    def run(*words, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        told = ""
        try:
            code = trio.run(do, words)
        except CodetetherError as error:
            code, told = error.exit_code, f"{error.message}\n{error.hint}"
        said = capfd.readouterr()
        return code, said.out, said.err + told

    return run


@pytest.fixture
def listed(home):
    """The user's file, which may hold more than servers."""
    path = home / "config" / "codetether-agent" / "mcp.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"z": [1], "mcpServers": {"old": {"command": "x", "mine": true}}, "a": null}')
    return path


def test_what_a_server_says_of_its_secret_is_masked(home, work, tmp_path):
    """Here the whole program: it prints the error."""
    path = home / "config" / "codetether-agent" / "mcp.json"
    path.parent.mkdir(parents=True)
    secret = "canary-3b1f9e77d2c54a08"
    said = "import os, sys; sys.exit('I cannot ' + os.environ['MY_TOKEN'])"
    entry = {"command": sys.executable, "args": ["-c", said], "env": {"MY_TOKEN": secret}}
    path.write_text(json.dumps({"mcpServers": {"far": entry}}))
    done = subprocess.run(
        [CODETETHER, "mcp", "test", "far"],
        cwd=work, env=environment(home), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "I cannot" in done.stderr
    assert secret not in done.stderr + done.stdout


SERVER = ("--", CODETETHER, "mcp", "serve", "--access-mode", "full")


def test_a_server_is_added_looked_at_called_and_removed(mcp, listed, work):
    assert mcp("add", "own", "--env", "WORD=said", *SERVER)[0] == 0
    kept = json.loads(listed.read_text())
    assert list(kept) == ["z", "mcpServers", "a"]
    assert kept["mcpServers"]["old"] == {"command": "x", "mine": True}
    assert kept["mcpServers"]["own"] == {
        "command": CODETETHER, "args": list(SERVER[2:]), "env": {"WORD": "said"},
    }  # fmt: skip
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600

    code, out, errors = mcp("test", "own")
    assert code == 0, errors
    assert "codetether" in out
    assert "tools" in out
    code, out, _ = mcp("tools", "own")
    assert code == 0
    assert "[looks]" in next(line for line in out.splitlines() if line.startswith("read_file"))
    arguments = json.dumps({"command": "echo out; exit 3"})
    code, out, _ = mcp("call", "own", "bash", "-", "--json", stdin=arguments)
    answer = json.loads(out)
    assert code == 1
    assert answer["isError"]
    assert "out" in answer["content"][0]["text"]

    assert mcp("remove", "own")[0] == 0
    assert "own" not in json.loads(listed.read_text())["mcpServers"]
    code, _, errors = mcp("remove", "own")
    assert code == 2
    assert "it has: old" in errors


def test_the_list_says_where_from_and_what_is_not_used(mcp, listed, work, home):
    subprocess.run(["git", "init", "-q"], cwd=work, check=True)
    project = {"mcpServers": {"theirs": {"command": "touch", "args": ["started"]}}}
    (work / ".mcp.json").write_text(json.dumps(project))
    listed.write_text(
        json.dumps(
            {
                "mcpServers": {
                    "here": {"type": "http", "url": "http://127.0.0.1:9/mcp?key=hidden"},
                    "off": {"command": "x", "disabled": True},
                    "bad": {"command": 7},
                }
            }
        )
    )
    code, out, errors = mcp("list", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "here": "on", "off": "off", "bad": "wrong", "theirs": "not trusted",
    }  # fmt: skip
    assert rows["here"]["place"] == "http://127.0.0.1:9/mcp"
    assert rows["theirs"]["from"].endswith(".mcp.json")
    assert "config trust" in errors
    code, _, errors = mcp("test", "theirs")
    assert code == 2
    assert not (work / "started").exists()
    code, _, errors = mcp("test", "here")
    assert code == 1
    assert "here" in errors
    code, out, _ = mcp("list")
    assert code == 0
    assert "hidden" not in out


def test_what_a_trusted_project_lists_is_used(mcp, work, home, monkeypatch):
    subprocess.run(["git", "init", "-q"], cwd=work, check=True)
    entry = {"command": sys.executable, "args": [CODETETHER, *SERVER[2:]]}
    (work / ".mcp.json").write_text(json.dumps({"mcpServers": {"theirs": entry}}))
    trust(work)
    code, out, errors = mcp("call", "theirs", "read_file", '{"path": "a.txt"}')
    assert code == 0, errors
    assert "hello" in out
    code, _, errors = mcp("login", "theirs")
    assert code == 1
    assert "no login" in errors


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "old", "x"), "--force"),
        (("add", "new", "http://example.org/mcp"), "https"),
        (("add", "new", "https://example.org/mcp", "more"), "no arguments"),
        (("add", "new", "--header", "A: b", "x"), "headers are for an address"),
        (("add", "new", "--env", "A", "x"), "NAME=VALUE"),
        (("call", "old", "x", "{"), "not JSON"),
        (("call", "old", "x", "[]"), "not an object"),
        (("tools", "nothing"), "there are: old"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(mcp, listed, words, told):
    before = listed.read_bytes()
    code, out, errors = mcp(*words)
    assert (code, out) == (2, "")
    assert told in errors
    assert listed.read_bytes() == before


def test_a_file_that_is_no_json_is_left_as_it_is(mcp, listed):
    listed.write_text('{"mcpServers": {} // mine\n}')
    code, _, errors = mcp("add", "new", "x")
    assert code == 1
    assert "not JSON" in errors
    assert "// mine" in listed.read_text()


def test_two_that_add_at_once_both_add(home, work, listed):
    adding = [
        subprocess.Popen(
            [CODETETHER, "mcp", "add", f"n{number}", "x"], cwd=work, env=environment(home),
            stderr=subprocess.DEVNULL,
        )
        for number in range(4)
    ]  # fmt: skip
    assert [each.wait(timeout=120) for each in adding] == [0, 0, 0, 0]
    assert set(json.loads(listed.read_text())["mcpServers"]) == {"old", "n0", "n1", "n2", "n3"}
    assert [name for name in os.listdir(listed.parent) if not name.startswith(".")] == ["mcp.json"]
