"""Child processes: nothing stays behind, nothing waits, nothing grows without bound."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from codetether import leftovers
from codetether.process import CannotStart, clean_env, kill_leftovers, run_process

_naps = itertools.count(1)

# Each is a way in which a command leaves processes behind; NAP is a sleep that the test can recognise.
SHAPES = {
    "plain": "NAP",
    "pipeline": "NAP | cat",
    "subshell": "(NAP; true)",
    "background": "NAP & disown",
    "nohup": "nohup NAP &",
    "own session": "setsid NAP &",
    "double fork": "(setsid sh -c 'NAP & exit' &)",
    "ignores TERM": "trap '' TERM; NAP; NAP",
    "own session ignoring TERM": """setsid sh -c "trap '' TERM HUP INT; NAP; NAP" &""",
    "cleared environment": "env -i sh -c 'NAP; true' &",
    "stopped": "NAP & kill -STOP $!; wait",
    "job control": "set -m; NAP & NAP & wait",
    "own group": "timeout 300 NAP",
    "fan-out": "seq 5 | xargs -P5 -I{} NAP",
    "respawning": "while :; do NAP; done",
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def shell_of(shape):
    nap = f"sleep 300.{os.getpid()}{next(_naps):04}"
    return nap, shape.replace("NAP", nap)


def live(needle):
    """Processes whose command line or environment holds `needle`."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            said = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ")
            said += Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if needle.encode() in said and b"codetether-guard" not in said:
            found.append(name)
    return found


def dead_children():
    states = subprocess.run(
        ["ps", "-o", "stat=,pid=,sid=,args=", "--ppid", str(os.getpid())],
        capture_output=True,
        text=True,
    )
    return [state for state in states.stdout.splitlines() if state.startswith("Z")]


def nothing_stays(nap):
    assert live(nap) == []
    assert live(f"{leftovers._own.agent}.") == []
    assert dead_children() == []
    return True


async def shell(command, **how):
    how = {"cwd": "/", "env": clean_env(), "timeout": 60, "merge": True} | how
    return await run_process(["bash", "-c", command], **how)


# --- what is told ---
async def test_output_errors_and_code():
    done = await shell("echo out; echo err >&2; exit 3", merge=False)
    assert (done.code, done.signal, done.output, done.errors) == (3, None, "out\n", "err\n")
    assert (done.total_bytes, done.truncated, done.timed_out, done.ok) == (8, False, False, False)


async def test_merged_output_keeps_the_order():
    done = await shell("for i in 1 2 3; do echo o$i; echo e$i >&2; done")
    assert done.output.split() == ["o1", "e1", "o2", "e2", "o3", "e3"]
    assert done.errors == ""
    assert done.ok


async def test_a_signal_is_told_as_the_shell_tells_it():
    done = await shell("kill -9 $$")
    assert (done.code, done.signal) == (137, 9)


async def test_stdin_is_empty_or_what_was_given():
    assert (await shell("read x || echo none")).output == "none\n"
    assert (await shell("cat", stdin=b"a" * 300_000)).total_bytes == 300_000
    assert (await shell("head -c1", stdin=b"b" * 300_000)).output == "b"


async def test_text_is_valid_whatever_the_bytes():
    done = await shell(r"printf 'a\377b\000c\303'")
    assert done.output == "a\ufffdb\ufffdc\ufffd"
    assert done.lossy
    done.output.encode()
    assert not (await shell("echo héllo")).lossy


@pytest.mark.parametrize(
    ("argv", "cwd", "says"),
    [
        (["no-such-program-here"], "/", "not installed"),
        (["/etc/passwd"], "/", "Permission denied"),
        (["true"], "/no/such/dir", "no such directory"),
        (["echo", "a\0b"], "/", "null"),
        (["echo", "x" * 4_000_000], "/", "too long"),
    ],
)
async def test_what_cannot_start_says_why(argv, cwd, says):
    with pytest.raises(CannotStart) as caught:
        await run_process(argv, cwd=cwd, env=clean_env(), timeout=9)
    assert says in caught.value.message


async def test_the_child_has_no_descriptor_but_its_three_and_the_ones_passed(tmp_path):
    with open(tmp_path / "a", "wb") as file:
        os.set_inheritable(file.fileno(), True)
        done = await shell("ls /proc/self/fd | wc -l")
        assert int(done.output) == 4  # three, and the directory that ls reads
        done = await shell(f"echo passed >&{file.fileno()}", pass_fds=[file.fileno()])
    assert (tmp_path / "a").read_text() == "passed\n"


# --- the environment ---
def test_environment_is_an_allow_list(monkeypatch):
    for name in (
        "VAULT_TOKEN",
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "SSH_AUTH_SOCK",
        "HTTPS_PROXY",
    ):
        monkeypatch.setenv(name, "sesame")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("VIRTUAL_ENV", "/venv")
    monkeypatch.setenv("PAGER", "less")
    env = clean_env({"MINE": "1"})
    assert "sesame" not in env.values()
    assert (env["LC_TIME"], env["VIRTUAL_ENV"], env["MINE"]) == ("C", "/venv", "1")
    assert (env["PAGER"], env["GIT_TERMINAL_PROMPT"], env["EDITOR"]) == ("cat", "0", "false")


async def test_what_would_wait_for_a_person_ends(tmp_path):
    done = await shell("git init -q . && git commit --allow-empty; echo $?; git log", cwd=tmp_path)
    assert "1\n" in done.output
    assert not done.timed_out


# --- nothing stays behind ---
@shapes
async def test_normal_exit_leaves_nothing(shape):
    nap, body = shell_of(shape)
    done = await shell(f"{{ {body}\n}} &\necho started")
    assert (done.code, done.timed_out) == (0, False)
    assert "started" in done.output
    assert nothing_stays(nap)


@shapes
async def test_timeout_leaves_nothing(shape):
    nap, body = shell_of(shape)
    done = await shell(f"{{ {body}\n}} &\necho started; wait; {nap}", timeout=0.4)
    assert done.timed_out
    assert nothing_stays(nap)


async def test_timeout_keeps_the_output():
    nap, command = shell_of("echo started; NAP")
    done = await shell(command, timeout=3)
    assert (done.timed_out, done.output) == (True, "started\n")
    assert nothing_stays(nap)


@shapes
async def test_cancel_leaves_nothing(shape):
    nap, body = shell_of(shape)
    heard = []
    with trio.CancelScope() as scope:

        async def hear(text):
            heard.append(text)
            scope.cancel()

        await shell(f"{{ {body}\n}} &\necho started; wait; {nap}", on_output=hear)
    assert scope.cancelled_caught
    assert "started" in "".join(heard)
    assert nothing_stays(nap)


AGENT = """
import sys, trio
from codetether.process import clean_env, run_process
async def main():
    async def ready(text):
        print("ready", flush=True)
    await run_process(["bash", "-c", sys.argv[1]], cwd="/", env=clean_env(), timeout=300, on_output=ready)
trio.run(main)
"""


KILLED = [(name, signal.SIGKILL) for name in SHAPES if name != "cleared environment"]
KILLED += [("background", signal.SIGHUP), ("own session ignoring TERM", signal.SIGTERM)]


@pytest.mark.parametrize(("shape", "number"), KILLED)
async def test_nothing_outlives_a_killed_agent(shape, number):
    await shell("true")
    guards = leftovers._children(os.getpid())
    nap, body = shell_of(SHAPES[shape])
    command = f"{{ {body}\n}} &\nsleep 0.2; echo started; wait; {nap}"
    agent = subprocess.Popen([sys.executable, "-c", AGENT, command], stdout=subprocess.PIPE)
    with agent:
        assert await trio.to_thread.run_sync(agent.stdout.readline) == b"ready\n"
        agent.send_signal(number)
        await trio.to_thread.run_sync(agent.wait)
    with trio.fail_after(60):
        while live(nap) or leftovers._children(os.getpid()) != guards:
            os.waitpid(
                -1, os.WNOHANG
            )  # this process adopts the agent's orphans, its guard included
            await trio.sleep(0.02)


async def test_the_next_start_kills_what_an_agent_and_its_guard_left():
    await shell("true")  # the start of time for this process's id
    gone = subprocess.Popen(["true"])
    gone.wait()
    space = os.stat("/proc/self/ns/pid").st_ino
    _, command = shell_of("NAP")
    orphan = subprocess.Popen(
        command.split(), env={"CODETETHER_RUN": f"{gone.pid}-12-{space}-0123abcd.7"}
    )
    elsewhere = subprocess.Popen(
        command.split(), env={"CODETETHER_RUN": f"{gone.pid}-12-99-0123abcd.7"}
    )
    running = subprocess.Popen(
        command.split(), env={"CODETETHER_RUN": f"{leftovers._own.agent}.99999"}
    )
    try:
        await trio.to_thread.run_sync(kill_leftovers)
        assert orphan.wait() == -signal.SIGTERM
        assert (elsewhere.poll(), running.poll()) == (None, None)
        await trio.to_thread.run_sync(kill_leftovers, f"{leftovers._own.agent}.99999")
        assert running.wait() == -signal.SIGTERM
    finally:
        elsewhere.kill()
        elsewhere.wait()


# As git does with its locks.
TIDY = "trap 'rm -f {0}; exit' TERM; touch {0}; echo started; sleep 300 & wait"


async def test_what_a_killed_agent_leaves_is_asked_to_end_before_it_is_killed(tmp_path):
    await shell("true")
    guards = leftovers._children(os.getpid())
    lock = tmp_path / "lock"
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, TIDY.format(lock)], stdout=subprocess.PIPE
    )
    with agent:
        assert await trio.to_thread.run_sync(agent.stdout.readline) == b"ready\n"
        agent.kill()
        await trio.to_thread.run_sync(agent.wait)
    with trio.fail_after(60):
        while lock.exists() or leftovers._children(os.getpid()) != guards:
            os.waitpid(-1, os.WNOHANG)  # the agent's orphans are this process's now
            await trio.sleep(0.02)


@pytest.mark.parametrize("trap", ["trap 'rm -f {0}; exit' TERM", "trap '' TERM"])
async def test_the_next_start_asks_first_too_and_waits_for_no_one(tmp_path, trap):
    await shell("true")
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock = tmp_path / "lock"
    marker = f"{gone.pid}-12-{os.stat('/proc/self/ns/pid').st_ino}-0123abcd.7"
    command = f"{trap.format(lock)}; touch {lock}; echo started; while :; do :; done"  # no child that would be ours
    env = clean_env() | {"CODETETHER_RUN": marker}
    left = subprocess.Popen(["bash", "-c", command], env=env, stdout=subprocess.PIPE)
    with left:
        assert await trio.to_thread.run_sync(left.stdout.readline) == b"started\n"
        await trio.to_thread.run_sync(kill_leftovers)
        assert left.wait() == (0 if "rm" in trap else -signal.SIGKILL)
    assert lock.exists() == ("rm" not in trap)


async def test_other_children_of_this_process_are_left_alone():
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as other:
        ended = subprocess.Popen(["sh", "-c", "exit 7"], start_new_session=True)
        await trio.sleep(0.1)
        await shell("setsid sleep 300 & echo hi")
        assert other.poll() is None
        assert ended.wait() == 7
        other.kill()


async def test_runs_side_by_side_end_only_their_own():
    nap, command = shell_of("setsid NAP & echo started; sleep 300")
    started = trio.Event()

    async def hear(text):
        started.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(shell, command, on_output=hear))
        await started.wait()
        await shell("setsid sleep 301 & true")
        assert live(nap)
        nursery.cancel_scope.cancel()
    assert nothing_stays(nap)


async def test_runs_within_runs_are_chained(monkeypatch):
    monkeypatch.setenv("CODETETHER_RUN", "1-2-3-0123abcd.1")
    done = await shell("echo $CODETETHER_RUN")
    outer, _, inner = done.output.strip().partition("/")
    assert outer == "1-2-3-0123abcd.1"
    assert inner.startswith(f"{leftovers._own.agent}.")
    assert leftovers.depth() == 1


async def test_a_thousand_cancelled_commands_leave_no_descriptor_and_no_zombie():
    await shell("true")
    nap, command = shell_of("NAP | cat & (sleep 0.001 &); cat /dev/zero")
    descriptors = len(os.listdir("/proc/self/fd"))
    for number in range(1000):
        with trio.move_on_after(0.002 * (number % 10)):
            await shell(command, merge=number % 2 == 0)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert nothing_stays(nap)


# --- bounded ---
async def test_unbounded_output_ends_the_command(tmp_path):
    spill = tmp_path / "files" / "out.txt"
    done = await shell("yes", head=1000, tail=1000, spill=spill, spill_limit=1_000_000)
    assert done.killed_for_output
    assert not done.ok
    assert done.total_bytes > 1_000_000
    assert done.spilled == spill
    assert spill.read_bytes() == b"y\n" * 500_000
    assert spill.stat().st_mode & 0o777 == 0o600
    assert len(done.output) < 2_100


async def test_head_tail_and_side_file_are_exact(tmp_path):
    spill = tmp_path / "out.txt"
    done = await shell("seq 1 50000", head=10, tail=12, spill=spill)
    assert done.output == (
        f"1\n2\n3\n4\n5\n\n[{done.total_bytes - 22} of {done.total_bytes} bytes left out here]\n49999\n50000\n"
    )
    assert done.truncated
    assert spill.read_text() == "".join(f"{n}\n" for n in range(1, 50001))


async def test_output_that_fits_makes_no_side_file(tmp_path):
    done = await shell("printf 1234567890", head=5, tail=5, spill=tmp_path / "out.txt")
    assert (done.output, done.truncated, done.spilled) == ("1234567890", False, None)
    assert not (tmp_path / "out.txt").exists()


async def test_characters_are_not_cut_in_two():
    done = await shell("printf 'ééééééé'", head=3, tail=3)
    assert done.output == "é\n[10 of 14 bytes left out here]\né"
    assert not done.lossy


async def test_a_side_file_that_cannot_be_written_is_not_offered(tmp_path):
    (tmp_path / "file").write_text("")
    done = await shell("seq 1 100000", head=10, tail=10, spill=tmp_path / "file" / "out.txt")
    assert (done.code, done.spilled, done.truncated) == (0, None, True)


async def test_a_side_file_is_never_written_through_a_link(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "out").symlink_to(tmp_path / "victim")
    done = await shell("seq 1 100000", head=10, tail=10, spill=tmp_path / "out")
    assert done.spilled is None
    assert (tmp_path / "victim").read_text() == "mine"


MEMORY = """
import resource, trio
from codetether.process import clean_env, run_process
async def run(command):
    return await run_process(["bash", "-c", command], cwd="/", env=clean_env(), timeout=300, merge=True,
                             kill_at_limit=False, spill_limit=1)
async def main():
    await run("true")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = await run("head -c 400000000 /dev/zero | tr '\\\\0' x")
    print(done.total_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
trio.run(main)
"""


def test_memory_is_bounded_whatever_comes():
    said = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    total, grown = map(int, said.stdout.split())
    assert total == 400_000_000
    assert grown < 20_000  # KiB


# --- somebody watches ---
async def test_output_is_told_while_it_runs_and_whole():
    heard = []

    async def hear(text):
        heard.append(text)

    done = await shell("for i in 1 2 3; do echo $i; sleep 0.15; done; printf é", on_output=hear)
    assert "".join(heard) == done.output
    assert len(heard) > 1


async def test_a_slow_watcher_gets_the_newest_and_delays_nobody():
    heard = []

    async def hear(text):
        heard.append(text)
        await trio.sleep(0.2)

    done = await shell("seq 1 200000", on_output=hear)
    assert done.code == 0
    assert max(map(len, heard)) <= 16_000
    assert "".join(heard).endswith("199999\n200000\n")


async def test_a_watcher_that_fails_ends_the_command():
    async def hear(text):
        raise ValueError("broken screen")

    nap, command = shell_of("echo hi; NAP")
    with pytest.raises(BaseExceptionGroup) as caught:
        await shell(command, on_output=hear)
    assert caught.group_contains(ValueError)
    assert nothing_stays(nap)
