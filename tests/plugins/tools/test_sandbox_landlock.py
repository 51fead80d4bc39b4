"""Landlock and seccomp: the attacks of the probe, and what a session's commands may and may not do."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import codetether_sandbox_landlock
import pytest
import trio
from agents_worktree import names_of_the_user
from codetether.api import CodetetherError, Launch, SandboxPolicy, clean_env, run_process
from codetether.testing import check_plugin, make_kernel
from codetether_confinement.probe import attack
from codetether_sandbox_landlock import GIT, Landlock

KEY = "sandboxes:landlock"
CACHE = Path(__file__).parents[3] / ".pytest_cache"
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
# Found without any code of ours: Landlock with network rules.
WORKS = ctypes.CDLL(None).syscall(444, None, 0, 1) >= 4


@pytest.fixture
def place():
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        yield Path(folder)


@pytest.fixture
def work(place):
    root = place / "work"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


@pytest.fixture
def sandbox(place):
    made = Landlock(SimpleNamespace(dirs=SimpleNamespace(cache=place / "cache")), KEY)
    yield made
    trio.run(made.aclose)


async def run(sandbox, policy, *argv, prefix=()):
    launch = sandbox.wrap(Launch(argv, policy.writable[0], clean_env()), policy)
    return await run_process([*prefix, *launch.argv], cwd=launch.cwd, env=launch.env, timeout=10)


def test_contract():
    check_plugin("landlock", "codetether.sandboxes")


async def test_the_probe_says_what_is_so(sandbox, place):
    """Every attack is stopped but those on `.git`, and it says so; on a kernel without Landlock it is an error."""
    finding = await sandbox.probe()
    if WORKS:
        assert finding.level == "warning"
        assert "git" in finding.text
        assert {*(await attack(sandbox, place)).done} == GIT
    else:
        assert finding.level == "error"
        assert finding.hint


async def test_an_attack_that_succeeds_is_an_error(sandbox, monkeypatch):
    monkeypatch.setattr(sandbox, "wrap", lambda launch, policy: launch)
    finding = await sandbox.probe()
    assert finding.level == "error"
    assert "write outside" in finding.text


async def test_a_kernel_without_it_runs_nothing(sandbox, work, monkeypatch):
    """The code of the child asks for an ABI that no kernel has."""
    code = sandbox._program().replace("OLDEST = 4", "OLDEST = 4000")
    assert "4000" in code
    monkeypatch.setattr(sandbox, "_code", code)
    done = await run(sandbox, SandboxPolicy((str(work),)), "touch", "made")
    assert done.code == 126
    assert not (work / "made").exists()
    finding = await sandbox.probe()
    assert finding.level == "error"
    assert "cannot confine" in finding.text


async def test_what_a_command_may_do(sandbox, work):
    script = (
        "echo hi > new && git add new && git -c user.name=a -c user.email=a@b commit -qm x && "
        "mkdir a b && mv new a/new && ln a/new b/new && mktemp && cat b/new > /dev/null; exit 7"
    )
    done = await run(sandbox, SandboxPolicy((str(work),)), "sh", "-c", script)
    assert (done.code, done.errors) == (7, "") if WORKS else done.code == 126
    assert (work / "b/new").exists() == WORKS


async def test_a_program_that_is_not_there(sandbox, work):
    done = await run(sandbox, SandboxPolicy((str(work),)), "no-such-program")
    assert done.code == (127 if WORKS else 126)
    assert "no-such-program" in done.errors


SHELL_ATTACKS = """
echo x > ../outside && echo outside
cat ../secret/key && echo secret
unshare -U true && echo namespace
echo done
"""


async def test_attacks_as_an_ordinary_user(sandbox, work, monkeypatch):
    """The tests may run as root, whose rights differ; then this one runs as nobody, with a Python nobody may run."""
    prefix, system = (), shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.getuid() == 0 and shutil.which("setpriv") and system:
        prefix = NOBODY
        monkeypatch.setattr(codetether_sandbox_landlock, "PYTHON", system)
    secret = work.parent / "secret"
    secret.mkdir()
    (secret / "key").write_text("k")
    for path in (work.parent, secret, work):
        path.chmod(0o777)
    policy = SandboxPolicy((str(work),), (str(secret),))
    bare = await run_process(
        [*prefix, "sh", "-c", SHELL_ATTACKS], cwd=work, env=clean_env(), timeout=10
    )
    assert "outside" in bare.output.split()
    assert "ksecret" in bare.output.split()
    done = await run(sandbox, policy, "sh", "-c", SHELL_ATTACKS, prefix=prefix)
    assert done.output.split() == (["done"] if WORKS else []), done


async def test_what_is_beside_something_hidden_is_read(sandbox, place, work):
    (place / "data/keys").mkdir(parents=True)
    (place / "data/keys/key").write_text("k")
    (place / "data/other").write_text("o")
    policy = SandboxPolicy((str(work),), (str(place / "data/keys"),))
    done = await run(sandbox, policy, "sh", "-c", "cat ../data/other; cat ../data/keys/key")
    assert done.output == ("o" if WORKS else "")


async def test_with_the_network_there_are_still_no_unix_sockets(sandbox, work):
    policy = SandboxPolicy((str(work),), network=True)
    code = (
        "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print('in')\n"
        "try: socket.socket(socket.AF_UNIX)\nexcept PermissionError: print('none')\n"
        "a, b = socket.socketpair(); a.send(b'pair'); print(b.recv(9).decode())\n"
        "try: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\nexcept PermissionError: print('none')"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = await run(sandbox, policy, sys.executable, "-ISc", code, port)
    assert done.output.split() == (["in", "none", "pair", "none"] if WORKS else []), done


async def test_a_linked_worktree_commits_and_changes_no_hook(sandbox, work, place):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, "commit", "-qm", "0", "--allow-empty"], cwd=work, check=True)
    linked = place / "linked"
    subprocess.run(["git", "worktree", "add", "-q", str(linked)], cwd=work, check=True)
    script = f"""
git {" ".join(who)} commit -qm 1 --allow-empty && echo committed
for file in {work}/.git/hooks/x {work}/.git/config {work}/y; do
    echo x 2>/dev/null >> $file && echo $file
done; true"""
    done = await run(sandbox, SandboxPolicy((str(linked),)), "sh", "-c", script)
    assert done.output.split() == (["committed"] if WORKS else []), done


async def test_an_agents_worktree_has_its_own_branch_alone(sandbox, work, place):
    """The user's branches, tags and stash are in the same repository."""
    done, before, after = await names_of_the_user(run, sandbox, work, place)
    assert ("committed" in done.output.split()) == WORKS, done
    assert before == after


def test_what_it_cannot_hide_is_refused(sandbox, work):
    (work / "keys").mkdir()
    policy = SandboxPolicy((str(work),), (str(work / "keys"),))
    with pytest.raises(CodetetherError, match="must stay hidden"):
        sandbox.wrap(Launch(("true",), str(work), {}), policy)
    with pytest.raises(CodetetherError, match="confines every command"):
        sandbox.wrap(Launch(("true",), "/", {}), SandboxPolicy(("/",)))


async def test_the_directory_for_temporary_files_goes(place):
    sandbox = Landlock(SimpleNamespace(dirs=SimpleNamespace(cache=place / "cache")), KEY)
    launch = sandbox.wrap(Launch(("true",), str(place), {}), SandboxPolicy((str(place),)))
    folder = Path(launch.env["TMPDIR"])
    assert folder.stat().st_mode & 0o777 == 0o700
    await sandbox.aclose()
    assert not folder.exists()


async def test_auto_takes_it_where_there_is_nothing_stronger(tmp_path):
    async with make_kernel(
        tmp_path, replies=[], plugins=["sandboxes:none", KEY], settings={"sandbox": "auto"}
    ) as kernel:
        async with kernel.open_session(directory=tmp_path / "work") as session:
            await session.run_process(["sh", "-c", "echo x > inside; echo x > ../beside"])
            assert (tmp_path / "work/inside").exists()
            assert (tmp_path / "beside").exists() != WORKS
            assert kernel.sandbox_level == ("S2" if WORKS else "S0")


@pytest.mark.skipif(not WORKS, reason="this kernel has no Landlock with network rules")
async def test_a_policy_may_say_all_that_is_read_and_that_nothing_is_written(sandbox, place):
    """Nothing of the machine but what is named; no place for temporary files; what is hidden stays so."""
    (place / "named/hidden").mkdir(parents=True)
    (place / "named/file").write_text("words")
    (place / "named/hidden/file").write_text("secret")
    (place / "other").write_text("private")
    policy = SandboxPolicy(
        (),
        hidden=(str(place / "named/hidden"),),
        readable=("/usr", "/lib", "/lib64", str(place / "named")),
    )
    script = (
        f"cat {place}/named/file; cat {place}/other {place}/named/hidden/file /etc/passwd; "
        f"for p in {place}/x $TMPDIR/x /tmp/x; do (echo wrote > $p) 2>/dev/null && echo wrote $p; done; true"
    )
    launch = sandbox.wrap(Launch(("/usr/bin/sh", "-c", script), "/", clean_env()), policy)
    done = await run_process(launch.argv, cwd="/", env=launch.env, timeout=10)
    assert (done.output, done.code) == ("words", 0)
