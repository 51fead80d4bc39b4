"""Wheels of every member, of what they need and of strangers, built once; environments that hold pip and no index."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "core/dev")]


class Environment(NamedTuple):
    """A fresh environment made by `python -m venv`: the pip that came with Python, and nothing else."""

    folder: Path
    wheels: Path

    def run(self, *words, code=0, cwd=None, **env):
        """A program of this environment, with a home of its own; its stdout. The exit code must be `code`."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "TMPDIR")}
        done = subprocess.run(
            [self.folder / "bin" / words[0], *words[1:]], cwd=cwd or home, capture_output=True, text=True, check=False,
            env={**kept, "HOME": str(home), **env}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, (
            f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout + (done.stderr if code else "")

    def pip(self, *names, code=0):
        """`pip install`, from the folder of wheels only."""
        return self.run(
            "python", "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(self.wheels), *names,
            code=code, PIP_CONFIG_FILE=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1",
        )  # fmt: skip

    def codetether(self, *words, **how):
        """The command as installed."""
        return self.run("codetether", *words, **how)


@pytest.fixture(scope="session")
def wheels(shared):
    """The folder with every wheel. Third-party ones come from the index, at the versions pinned."""
    return shared("wheels", _make_wheels)


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id):
    """`shared(name, make)` is a folder that one worker makes, with `make(folder)`, and all workers of this run use."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent

    def once(name, make):
        folder, done = base / f"shared-{name}", base / f"shared-{name}.done"
        with open(base / f"shared-{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a failed attempt left
                make(folder)
                done.touch()
        return folder

    return once


def _make_wheels(folder):
    from alone import build
    from strangers import write_broken, write_newer, write_twin
    from workspace import Workspace, requirement_name

    folder.mkdir()
    build(folder)
    place = folder.with_name("strangers")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copytree(
        HERE / "acme_hello", place / "acme_hello", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, writer in {"broken": write_broken, "newer": write_newer}.items():
        (place / name).mkdir()
        writer(place / name)
    for name in ("one", "two"):
        (place / name).mkdir()
        write_twin(place / name, name)
    tools = place / "tools"
    subprocess.run([sys.executable, "-m", "venv", tools], check=True)
    python = tools / "bin/python"

    def pip(*words):
        done = subprocess.run(
            [python, "-m", "pip", "-q", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    pip("install", "setuptools>=70", "wheel")
    pip(
        "wheel", "--no-build-isolation", "--no-deps", "-w", str(folder),
        *(str(place / name) for name in ("acme_hello", "broken", "newer", "one", "two")),
    )  # fmt: skip
    space = Workspace(ROOT)
    ours = {member.name for member in space.members}
    pins, asked = place / "pins.txt", place / "asked.txt"
    pins.write_text("\n".join(space.project["tool"]["uv"]["constraint-dependencies"]))
    # only what others made: a distribution on the index that has one of our names must never get in
    lines = {
        line
        for member in space.members
        for line in member.requires
        if requirement_name(line) not in ours
    }
    asked.write_text("\n".join(sorted(lines)))
    pip("download", "-c", str(pins), "-d", str(folder), "-r", str(asked))


@pytest.fixture(scope="session")
def prepared(wheels, shared):
    """`prepared(folder, *names)` is an Environment in `folder` with these distributions, a copy of one made once."""

    def copy(folder, *names):
        def make(origin):
            subprocess.run([sys.executable, "-m", "venv", origin], check=True)
            if names:
                Environment(origin, wheels).pip(*names)

        origin = shared("-".join(["environment", *names]), make)
        shutil.copytree(origin, folder, symlinks=True)
        for script in (folder / "bin").iterdir():  # each names its Python by path
            if not script.is_symlink():
                script.write_bytes(
                    script.read_bytes().replace(os.fsencode(origin), os.fsencode(folder))
                )
        return Environment(folder, wheels)

    return copy


@pytest.fixture
def environment(prepared, tmp_path):
    """A fresh one for each test."""
    return prepared(tmp_path / "environment")
