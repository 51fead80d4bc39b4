"""Write what the root pyproject.toml says about the members, between its markers, from the folders.

    python core/dev/members.py            write
    python core/dev/members.py --check    exit 1 when it is out of step (tests/rules does this)

uv needs one source line per member, pip one extra per kind, mypy the folders of the sources: three lists of the same
sixty names, which nobody should keep by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from workspace import Member, Workspace

OPENS, CLOSES = "# {0}: written by core/dev/members.py", "# {0}: end"


def blocks(workspace: Workspace) -> dict[str, str]:
    """The text of each marked block."""
    plugins = workspace.plugins
    version = workspace.members[0].version
    groups = sorted({member.group for member in plugins})
    apart = set(workspace.project["tool"]["codetether"]["not-default"])
    unknown = apart - {member.name for member in plugins}
    if unknown:
        raise SystemExit(
            f"tool.codetether.not-default names no member: {', '.join(sorted(unknown))}"
        )
    default = [member for member in plugins if member.name not in apart]
    extras = [
        _array(name, [f"{member.name}=={version}" for member in plugins if member.group == name])
        for name in groups
    ]
    extras.append(_array("all", [f"codetether[{','.join(groups)}]=={version}"] if groups else []))
    sources = [f"{member.name} = {{ workspace = true }}" for member in workspace.members]
    return {
        "version": f'version = "{version}"',
        "default set": _array(
            "dependencies",
            [f"{member.name}=={version}" for member in (workspace.members[0], *default)],
        ),
        "extras": "\n".join(extras),
        "sources": "\n".join(["codetether = { workspace = true }", *sources]),
        "source folders": _array(
            "mypy_path", [*map(_source_folder, workspace.members), "core/dev"]
        ),
    }


def _source_folder(member: Member) -> str:
    root = member.folder.parents[0 if member.group == "core" else 2]
    return f"{member.folder.relative_to(root).as_posix()}/src"


def _array(key: str, items: list[str]) -> str:
    lines = "".join(f"    {json.dumps(item)},\n" for item in items)
    return f"{key} = [\n{lines}]" if items else f"{key} = []"


def rewritten(text: str, new: dict[str, str]) -> str:
    """`text` with each marked block replaced. Raises ValueError when a marker is missing."""
    for name, block in new.items():
        opens, closes = OPENS.format(name) + "\n", CLOSES.format(name) + "\n"
        before, found, rest = text.partition(opens)
        _, ends, after = rest.partition(closes)
        if not found or not ends:
            raise ValueError(f"pyproject.toml has no block {name!r}")
        text = f"{before}{opens}{block}\n{closes}{after}"
    return text


def main(words: list[str], root: Path | None = None) -> int:
    """Write, or with --check compare."""
    workspace = Workspace(root) if root else Workspace()
    file = workspace.root / "pyproject.toml"
    old = file.read_text("utf-8")
    new = rewritten(old, blocks(workspace))
    if "--check" in words:
        if new != old:
            print(
                "pyproject.toml is out of step with plugins/: run `python core/dev/members.py`",
                file=sys.stderr,
            )
        return int(new != old)
    if new != old:
        file.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
