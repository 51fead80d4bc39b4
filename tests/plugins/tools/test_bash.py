"""bash: what the model is told, and what a command cannot do."""

from __future__ import annotations

import itertools
import os
from types import SimpleNamespace

import pytest
import trio
from codetether.environment import clean_env
from codetether.errors import ToolError
from codetether.process import run_process
from codetether.testing import call, check_plugin, make_kernel, reply
from codetether.workspace import Workspace
from codetether_background import settled
from codetether_tool_bash import Bash, BashSettings, Params
from codetether_tool_bash.interactive import refusal
from hypothesis import given
from hypothesis import strategies as st

_calls = itertools.count()


@pytest.fixture
def ctx(tmp_path):
    root = tmp_path / "work"
    (root / "sub").mkdir(parents=True)
    heard = []

    async def run(argv, *, cwd, network, **how):
        heard.append(network)
        return await run_process(argv, cwd=cwd, **{"env": clean_env()} | how)

    async def progress(text):
        heard.append(text)

    return SimpleNamespace(
        workspace=Workspace(root),
        session=SimpleNamespace(files=tmp_path / "files"),
        call_id=f"call_{next(_calls)}",
        run=run,
        progress=progress,
        heard=heard,
    )


async def bash(ctx, command, settings=None, **how):
    kernel = SimpleNamespace(settings=lambda key, cls: settings or cls())
    return await Bash(kernel, "tools:bash").run(Params(command, **how), ctx)


async def test_success(ctx):
    output = await bash(ctx, "echo out; echo err >&2")
    assert output.text == "out\nerr\n[exit 0]"
    assert output.ok
    assert output.summary == "exit 0, 2 lines"
    assert output.meta["exit_code"] == 0


async def test_failure(ctx):
    output = await bash(ctx, "echo no; exit 3")
    assert (output.ok, output.summary) == (False, "exit 3, 1 line")
    assert output.text == "no\n[exit 3]"
    assert (await bash(ctx, "exit 2")).text == "(no output)\n[exit 2]"
    assert (await bash(ctx, "kill -9 $$")).text == "(no output)\n[exit 137, signal 9]"


async def test_timeout_keeps_the_output(ctx):
    output = await bash(ctx, "echo so far; sleep 300", timeout=3)
    assert output.text.startswith("so far\n[timed out after 3 s")
    assert not output.ok
    assert output.meta["timed_out"]


async def test_progress_is_told_while_it_runs(ctx):
    with trio.CancelScope() as scope:
        original = ctx.progress

        async def progress(text):
            await original(text)
            scope.cancel()

        ctx.progress = progress
        await bash(ctx, "echo first; sleep 300")
    assert scope.cancelled_caught
    assert "first\n" in ctx.heard


async def test_long_output_keeps_its_ends_and_the_file_has_it_all(ctx):
    output = await bash(ctx, "seq 1 100000")
    path = ctx.session.files / f"{ctx.call_id}.out"
    assert output.text.startswith("1\n2\n3\n")
    assert output.text.endswith(f"99999\n100000\n[exit 0]\n[all of the output: read_file {path}]")
    assert len(output.text) < 50_000
    assert path.read_text().splitlines() == [str(n) for n in range(1, 100_001)]
    assert output.meta["spilled"] == str(path)


async def test_a_flood_ends_the_command(ctx, monkeypatch):
    monkeypatch.setattr("codetether_tool_bash.SPILL", 1_000_000)
    output = await bash(ctx, "yes")
    assert not output.ok
    assert "[ended: it wrote more than 1 MB]" in output.text


async def test_cwd(ctx):
    assert (await bash(ctx, "basename $PWD", cwd="sub")).text == "sub\n[exit 0]"
    assert (await bash(ctx, "pwd")).text == f"{ctx.workspace.root}\n[exit 0]"
    (ctx.workspace.root / "file").write_text("")
    (ctx.workspace.root / "out").symlink_to("/")
    for cwd, code in (
        ("..", "DENIED"),
        ("/", "DENIED"),
        ("out", "DENIED"),
        ("none", "NOT_FOUND"),
        ("file", "INVALID_ARGUMENT"),
    ):
        with pytest.raises(ToolError) as caught:
            await bash(ctx, "true", cwd=cwd)
        assert caught.value.code == code, cwd


async def test_commands_see_no_secret_unless_the_person_says_so(ctx, monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", "sesame")
    monkeypatch.setenv("MY_TOOL", "there")
    assert "sesame" not in (await bash(ctx, "env")).text
    output = await bash(ctx, "echo $MY_TOOL", BashSettings(pass_env=("MY_TOOL", "NOT_SET")))
    assert output.text == "there\n[exit 0]"


async def test_the_network_is_for_the_person_to_open(ctx):
    await bash(ctx, "true")
    await bash(ctx, "true", BashSettings(network=True))
    assert [said for said in ctx.heard if isinstance(said, bool)] == [False, True]


@pytest.mark.parametrize("command", ["", "  \n", "echo a\0b"])
async def test_what_is_no_command(ctx, command):
    with pytest.raises(ToolError) as caught:
        await bash(ctx, command)
    assert caught.value.code == "INVALID_ARGUMENT"


def test_only_certain_interactive_programs_are_refused():
    for command in ("vi", "vim src/a.py", "/usr/bin/nano x", "top", "watch ls", "htop"):
        assert refusal(command), command
    for command in (
        "top -b -n 1",
        "vim -es -c 'wq' f",
        "emacs --batch -l x.el",
        "vi | head",
        "echo vi",
        "vi; ls",
        "'vi",
        "which vim",
        "less README",
        "",
    ):
        assert not refusal(command), command


async def test_an_unforeseen_interactive_program_ends(ctx):
    output = await bash(
        ctx, "less /etc/hostname; man 2>&1 | cat; git commit -e; read x; echo $?", timeout=60
    )
    assert output.text.endswith("1\n[exit 0]")


def test_output_is_told_as_a_terminal_would_show_it():
    assert settled("10%\r50%\r100%\nok\r\n") == "100%\nok\n"
    assert settled("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x") == "red x"
    assert settled("plain") == "plain"


@given(st.text(alphabet="\x1b[]0;m\r\nab\x07", max_size=300))
def test_settled_keeps_lines(text):
    assert settled(text).count("\n") == text.count("\n")


async def test_in_a_session(tmp_path):
    async with make_kernel(
        tmp_path,
        replies=[reply(call("bash", command="echo hi > made; cat made")), reply("done")],
        plugins=["tools:bash", "sandboxes:none"],
    ) as kernel:
        async with kernel.open_session(directory=tmp_path / "work", access="full") as session:
            finished = await session.prompt("go")
    assert finished.text == "done"
    result = next(m for m in session.messages if m.role == "tool").results[0]
    assert (result.text, result.ok) == ("hi\n[exit 0]", True)
    assert (tmp_path / "work" / "made").read_text() == "hi\n"
    assert os.path.exists(tmp_path / "work")


def test_contract():
    check_plugin("bash", "codetether.tools")
