"""Import every plugin in an environment that holds only it, the kernel, and what it declares.

    python core/dev/alone.py [--only NAME]... [--find-links DIR]

A plugin that imports what another one happens to install fails here, before a user finds out. With --find-links the
wheels in DIR are used for our own distributions (tests/install builds them); otherwise they are built here. Third-party
packages come from the index or uv's cache, at the versions pinned in pyproject.toml. Needs `uv`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from workspace import Member, Workspace

LOAD = """
import sys
from codetether.catalog import scan
from codetether.errors import CodetetherError
from codetether.host import Host
from importlib import import_module

package, keys = sys.argv[1], sys.argv[2:]
import_module(package)
rows = scan()
assert sorted(row.key for row in rows if row.value.partition(":")[0] == package) == sorted(keys), rows

class Kernel:  # what a plugin may use while it is built: its settings
    def settings(self, key, cls):
        return cls()

host = Host(rows, Kernel())
for key in keys:
    kind, _, name = key.partition(":")
    assert host.get(kind, name) is not None, host.faults
assert host.faults == [], host.faults
"""


def uv() -> str:
    """The uv beside this interpreter, else the one on the path."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise SystemExit("uv is not installed: pip install uv")
    return found


def environment() -> dict[str, str]:
    """Ours, without what would point at another environment."""
    return {
        k: v
        for k, v in os.environ.items()
        if k not in ("VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT")
    }


def build(out: Path) -> None:
    """Every wheel of the workspace."""
    subprocess.run(
        [uv(), "build", "--quiet", "--all-packages", "--wheel", "--out-dir", out],
        cwd=Workspace().root, env=environment(), check=True,
    )  # fmt: skip


def try_alone(member: Member, pins: Path, folder: Path) -> str:
    """Install one plugin, import it, load it. The error, or nothing."""
    python = folder / "bin/python"
    steps: list[list[str | Path]] = [
        [uv(), "venv", "--quiet", "--python", sys.executable, folder],
        [uv(), "pip", "install", "--quiet", "--python", python, "--constraints", pins,
         f"{member.name}=={member.version}"],
        [python, "-I", "-c", LOAD, member.package, *member.entry_points],
    ]  # fmt: skip
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False, env=environment())
        if done.returncode:
            return f"{member.name}: {done.stderr.strip()[-1500:]}"
    return ""


def _name(wheel: Path) -> str:
    return wheel.name.partition("-")[0].replace("_", "-")


def main(words: list[str]) -> int:
    """Every plugin, one after the other; exit 1 when one cannot stand alone."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", help="only this distribution")
    parser.add_argument("--find-links", type=Path, help="folder with the wheels")
    args = parser.parse_args(words)
    workspace = Workspace()
    chosen = [m for m in workspace.plugins if not args.only or m.name in args.only]
    with tempfile.TemporaryDirectory(prefix="alone-") as place:
        wheels = args.find_links or Path(place) / "wheels"
        if args.find_links is None:
            build(wheels)
        pins = Path(place) / "pins.txt"
        third = workspace.project["tool"]["uv"]["constraint-dependencies"]
        # ours by file: a distribution on the index that has one of our names must never get in
        ours = [
            f"{_name(wheel)} @ {wheel.resolve().as_uri()}"
            for wheel in sorted(wheels.glob("codetether*.whl"))
        ]
        pins.write_text("\n".join([*third, *ours]))
        wrong = []
        for member in chosen:
            folder = Path(place) / "environment"
            if told := try_alone(member, pins, folder):
                wrong.append(told)
            shutil.rmtree(folder, ignore_errors=True)
    print("\n".join([*wrong, f"{len(chosen) - len(wrong)} of {len(chosen)} plugins stand alone"]))
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
