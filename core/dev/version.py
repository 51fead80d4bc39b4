"""Give every distribution of this repository a new version.

    python core/dev/version.py 0.1.6

All have the same one. Requirements between members name a line (`>=0.1,<0.2`) and stay; when that line is left, they
are changed too.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import members
from workspace import Workspace

FORM = re.compile(r"(\d+)\.(\d+)\.(\d+)")
LINE = re.compile(r">=\d+\.\d+,<\d+\.\d+(?=\")")


def set_version(new: str, workspace: Workspace) -> list[Path]:
    """Rewrite the version lines; the files changed. Raises SystemExit for what is no version."""
    found = FORM.fullmatch(new)
    if found is None:
        raise SystemExit(f"{new!r} is not a version like 0.1.6")
    major, minor = int(found[1]), int(found[2])
    line = f">={major}.{minor},<{major}.{minor + 1}"
    changed = []
    for member in workspace.members:
        file = member.folder / "pyproject.toml"
        text = file.read_text("utf-8")
        fresh = re.sub(r'(?m)^version = ".*"$', f'version = "{new}"', text, count=1)
        fresh = re.sub(r'(?m)"codetether[\w-]*>=.*?"', lambda m: LINE.sub(line, m[0]), fresh)
        if fresh != text:
            file.write_text(fresh, "utf-8")
            changed.append(file)
    module = workspace.root / "core/src/codetether/__init__.py"
    module.write_text(
        re.sub(r'(?m)^__version__ = ".*"$', f'__version__ = "{new}"', module.read_text("utf-8")),
        "utf-8",
    )
    return changed


def main(words: list[str], root: Path | None = None) -> int:
    """One version for all, then the root's lists."""
    if len(words) != 1:
        raise SystemExit("usage: version.py VERSION")
    workspace = Workspace(root) if root else Workspace()
    print(f"{len(set_version(words[0], workspace))} project files changed")
    return members.main([], root)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
