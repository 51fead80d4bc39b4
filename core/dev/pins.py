"""Write the exact version of every third-party package into the root pyproject.toml (`constraint-dependencies`).

    python core/dev/pins.py             keep what is pinned, add what is new, drop what is gone
    python core/dev/pins.py --upgrade   the newest versions that fit together
    python core/dev/pins.py --check     exit 1 when the uv.lock that lies here has another version than the pins

They stand in for uv.lock, which names the index it was made from. Needs `uv` and an index.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from workspace import Workspace

OPENS, CLOSES = "# pins: written by core/dev/pins.py\n", "# pins: end\n"


def pins(lock: dict[str, Any]) -> list[str]:
    """`name==version`, with a marker where the version depends on the platform, of every package from an index."""
    found = []
    for package in lock["package"]:
        if "registry" not in package["source"]:
            continue
        markers = package.get("resolution-markers", [])
        marker = f" ; {' or '.join(f'({m})' for m in markers)}" if markers else ""
        found.append(f"{package['name']}=={package['version']}{marker}")
    return sorted(found)


def with_pins(text: str, lines: list[str]) -> str:
    """The project file with its block of pins replaced."""
    before, _, rest = text.partition(OPENS)
    _, _, after = rest.partition(CLOSES)
    items = "".join(f'    "{line}",\n' for line in lines)
    block = (
        f"constraint-dependencies = [\n{items}]\n" if lines else "constraint-dependencies = []\n"
    )
    return f"{before}{OPENS}{block}{CLOSES}{after}"


def check(lock: Path, pinned: list[str]) -> int:
    """Whether a lock made from the project file holds what is pinned, no more and no less."""
    found = set(pins(tomllib.loads(lock.read_text("utf-8"))))
    for line in sorted(found ^ set(pinned)):
        print(
            f"{line}: {'not pinned' if line in found else 'pinned, but not needed'}",
            file=sys.stderr,
        )
    if found != set(pinned):
        print("run `python core/dev/pins.py`", file=sys.stderr)
    return int(found != set(pinned))


def main(words: list[str]) -> int:
    """Resolve, then write."""
    workspace = Workspace()
    file = workspace.root / "pyproject.toml"
    lock = file.with_name("uv.lock")
    if "--check" in words:
        return check(lock, workspace.project["tool"]["uv"]["constraint-dependencies"])
    text = file.read_text("utf-8")
    if "--upgrade" in words:
        file.write_text(with_pins(text, []), "utf-8")
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    done = subprocess.run(
        [uv, "lock", "--quiet", *(["--upgrade"] if "--upgrade" in words else [])],
        cwd=file.parent, env={k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}, check=False,
    )  # fmt: skip
    if done.returncode:
        file.write_text(text, "utf-8")
        return done.returncode
    file.write_text(with_pins(text, pins(tomllib.loads(lock.read_text("utf-8")))), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
