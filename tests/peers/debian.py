"""Programs from Debian's packages, fetched without being installed, for tests that need a real one."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(tempfile.gettempdir()) / f"codetether-tests-{os.getuid()}"
SECONDS = 240
SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"  # where servers lie, which not every PATH has


def program(name, *packages):
    """(path, environment): of `name` on PATH, or out of `packages`. Fails, and does not skip, where there is none."""
    if found := shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM}"):
        return found, {}
    root = CACHE / name
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "whole").is_dir():
            _fetch(root, packages)
    [path] = [
        each
        for each in root.glob(f"whole/**/{name}")
        if os.access(each, os.X_OK) and each.is_file()
    ]
    libraries = sorted({str(each.parent) for each in root.glob("whole/**/*.so*")})
    return str(path), {"LD_LIBRARY_PATH": ":".join(libraries)}


def _fetch(root, packages):
    lists, scratch = root / "lists", root / "scratch"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    own = [
        "-o",
        f"Dir::State::Lists={lists}",
        "-o",
        f"Dir::Cache={root}",
        "-o",
        "APT::Sandbox::User=",
    ]
    for words in (["update"], ["download", *packages]):
        done = subprocess.run(
            ["apt-get", "-q", *own, *words], cwd=root, capture_output=True, text=True, timeout=SECONDS, check=False
        )  # fmt: skip
        told = done.stdout[-800:] + done.stderr[-800:]
        assert done.returncode == 0, f"no {packages[0]}: install it, or let apt fetch it: {told}"
    shutil.rmtree(scratch, ignore_errors=True)
    for package in root.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, scratch], check=True, timeout=60)
    scratch.rename(root / "whole")
