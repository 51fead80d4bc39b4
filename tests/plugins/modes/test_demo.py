"""The demo as a newcomer runs it: a real process, no git identity, and an exit code that tells the truth."""

from __future__ import annotations

import os
import subprocess
import sys


def demo(home, *flags):
    (home / "gitconfig").write_text("")  # nobody
    (home / "tmp").mkdir(exist_ok=True)
    env = {
        "HOME": str(home), "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}", "TMPDIR": str(home / "tmp"),
        "CODETETHER_SCRIPTED_DELAY": "0", "PYTHONUTF8": "1",
    }  # fmt: skip
    argv = [sys.executable, "-m", "codetether", "demo", *flags]
    return subprocess.run(
        argv, env=env, cwd=home, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_demo_fixes_its_bug_and_cleans_up(home):
    done = demo(home)
    assert done.returncode == 0, done.stderr
    assert "The model is scripted" in done.stderr
    assert "+    middle = len(ordered) // 2" in done.stderr
    assert "✓ bash python3 -m unittest -q" in done.stderr
    assert "the tests pass" in done.stderr
    assert "scripted model" in done.stdout
    assert list((home / "tmp").glob("codetether-demo-*")) == []


def test_dir_keeps_it_and_must_be_empty(home):
    where = home / "demo"
    done = demo(home, "--dir", str(where))
    assert done.returncode == 0, done.stderr
    assert f"kept: {where}" in done.stderr
    log = subprocess.run(
        ["git", "-C", str(where), "log", "--format=%an %s"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert log.stdout == "CodeTether demo A small package with a bug\n"
    again = demo(home, "--dir", str(where))
    assert again.returncode == 2
    assert "is not empty" in again.stderr


def test_without_the_edit_it_fails_and_says_so(home):
    done = demo(home, "-p", "no:tools:edit")
    assert done.returncode == 1
    assert "the bug is not fixed" in done.stderr


def test_without_git_it_says_what_to_do(home, monkeypatch):
    (home / "bin").mkdir()
    monkeypatch.setenv("PATH", str(home / "bin"))
    monkeypatch.setattr(sys, "executable", sys.executable)
    env = {"HOME": str(home), "PATH": str(home / "bin")}
    argv = [sys.executable, "-m", "codetether", "demo"]
    done = subprocess.run(
        argv, env=env, cwd=home, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "install git" in done.stderr
