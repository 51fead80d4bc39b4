"""Children that speak JSON lines: what they may say wrongly, and how they end."""

from __future__ import annotations

import sys

import pytest
import trio
from codetether.environment import clean_env
from codetether.testing import processes_with
from codetether_wire import child as child_module
from codetether_wire.child import Child, ChildEnded
from codetether_wire.child_answer import relay

HEAD = """
import json, socket, sys, time
ours = socket.socket(fileno=int(sys.argv[-1]))
lines = ours.makefile("rb")
def say(document): ours.sendall(json.dumps(document).encode() + b"\\n")
"""


async def start(tmp_path, code):
    env = clean_env({"PLACE": str(tmp_path)})
    return await Child.start([sys.executable, "-c", HEAD + code], env=env, cwd=tmp_path)


async def test_lines_go_both_ways_in_any_pieces(tmp_path):
    echo = "for line in lines:\n  ours.sendall(line[:3]); time.sleep(0.01); ours.sendall(line[3:])"
    child = await start(tmp_path, echo)
    for document in ({"a": "ü" * 100_000}, [1, 2], "x"):
        await child.send(document)
        assert await child.receive() == document
    assert not child.ended
    await child.aclose()
    assert child.ended
    assert not processes_with(str(tmp_path))


async def test_its_socket_has_no_number_a_shell_could_take(tmp_path):
    """A sandbox's shell opens files under numbers of one digit, and would close what the child was given there."""
    child = await start(tmp_path, "say(ours.fileno()); lines.readline()")
    assert await child.receive() > 9
    await child.aclose()


async def test_a_wait_that_is_cancelled_loses_nothing(tmp_path):
    child = await start(
        tmp_path, "ours.sendall(b'[1,'); lines.readline(); ours.sendall(b'2]\\n'); lines.readline()"
    )
    with trio.move_on_after(0.5):
        await child.receive()
        pytest.fail("it was half a line")
    await child.send("go on")
    assert await child.receive() == [1, 2]
    await child.aclose()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            "print('out of memory', file=sys.stderr); sys.exit(3)",
            "ended with code 3: out of memory",
        ),
        ("import os; os.abort()", "signal 6"),
        ("ours.sendall(b'no json\\n'); lines.readline()", "no JSON"),
        ("ours.sendall(b'x' * 3000); lines.readline()", "too much at once"),
        ("ours.sendall(b'[1, 2'); sys.exit(0)", "ended with code 0"),
    ],
)
async def test_why_it_ended_is_said(tmp_path, monkeypatch, code, why):
    monkeypatch.setattr(child_module, "LINE_LIMIT", 2000)
    child = await start(tmp_path, code)
    with pytest.raises(ChildEnded, match=why), trio.fail_after(20):
        await child.receive()
    assert child.ended
    assert not processes_with(str(tmp_path))
    with pytest.raises(ChildEnded):
        await child.send("more")


async def test_a_program_that_is_not_there_is_said(tmp_path):
    child = await Child.start([str(tmp_path / "none")], env=clean_env(), cwd=tmp_path)
    with pytest.raises(ChildEnded, match="not installed"):
        await child.receive()


async def test_it_is_ended_although_it_does_not_listen(tmp_path):
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); say(1); time.sleep(999)"
    child = await start(tmp_path, deaf)
    await child.receive()
    await child.aclose()
    assert child.dismissed
    assert not processes_with(str(tmp_path))


def test_it_ends_when_trio_does(tmp_path):
    async def main():
        child = await start(tmp_path, "say(1); time.sleep(999)")
        await child.receive()

    trio.run(main)
    assert not processes_with(str(tmp_path))


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("lines.readline(); say({'text': 'a'}); time.sleep(999)", "nothing came for"),
        (
            "lines.readline()\nwhile True: say({'alive': True}); time.sleep(0.05)",
            "total time limit",
        ),
        ("lines.readline(); say({'error': 'bad', 'kind': 'nonsense'}); time.sleep(999)", "bad"),
    ],
)
async def test_an_answer_that_does_not_end_well(tmp_path, says, words):
    child = await start(tmp_path, says)
    send, receive = trio.open_memory_channel(10)
    with trio.fail_after(20), send, receive:
        finish = await relay(child, {}, send, idle=1.0, total=2.0)
    assert finish.reason == "error"
    assert words in finish.error.message
    assert finish.error.kind in ("timeout", "other")
    await child.aclose()
