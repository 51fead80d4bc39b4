"""`codetether plugins new KIND NAME`: a whole plugin with a passing test, in this repository or on its own.

The files it writes are beside this module in `templates/`; docs/write-a-plugin.md walks through them.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from string import Template
from typing import NamedTuple

import trio

from codetether import __version__
from codetether.errors import CodetetherError, UsageError
from codetether.files import write_atomic
from codetether.ports import KINDS

NAME = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*")
DISTRIBUTION = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
FOLDERS = {"tools": "tools", "providers": "providers", "modes": "modes", "ui": "ui", "routers": "providers",
           "secrets": "providers", "sandboxes": "tools", "executors": "modes", "extensions": "ui"}  # fmt: skip
SUMMARIES = {
    "tool": "Greet somebody by name",
    "provider": "Say again what the user said",
    "mode": "Count the lines of files",
    "ui": "Print each answer when it is complete",
    "router": "Find tool calls written as CALL lines",
    "secrets": "Ask a password manager for keys",
    "sandbox": "Give children a low priority",
    "executor": "Run a few sub-agents at a time",
    "extension": "Deny tool calls by their text",
}
PROJECT = """\
[project]
name = "${distribution}"
version = "${version}"
description = "${summary}"
${readme}requires-python = ">=3.11"
license = "MIT"
dependencies = ["codetether-core>=0.1,<0.2"]
${extras}
[project.entry-points."codetether.${kinds}"]
${name} = "${package}:${Class}"

[build-system]
requires = ["uv_build>=0.9,<1"]
build-backend = "uv_build"
"""
EXTRAS = """
[dependency-groups]
dev = ["pytest>=8"]
"""
TEST = '''\
"""${Class}: the contract every plugin keeps to, and what this one does."""

from __future__ import annotations

${imports}


def test_contract() -> None:
    check_plugin("${name}", "codetether.${kinds}")

'''
README = """\
# ${distribution}

${summary}: a ${kind} for CodeTether, found by it once installed.

    uv run pytest        the tests
    uv build             a wheel in dist/

    pip install .        beside codetether
    codetether plugins list
"""


class Plan(NamedTuple):
    """What is made: the kind, the words derived from the name, and where it goes (`root`: inside the repository)."""

    kind: str
    name: str
    distribution: str
    folder: Path
    root: Path | None

    @property
    def words(self) -> dict[str, str]:
        """The values of the templates."""
        parts = re.split("[_-]", self.name)
        return {
            "kind": self.kind,
            "kinds": KINDS[self.kind],
            "name": self.name,
            "ident": "_".join(parts),
            "Class": "".join(part.capitalize() for part in parts),
            "distribution": self.distribution,
            "package": self.distribution.replace("-", "_"),
            "summary": SUMMARIES[self.kind],
            "version": __version__ if self.root else "0.1.0",
            "readme": "" if self.root else 'readme = "README.md"\n',
            "extras": "" if self.root else EXTRAS,
        }


async def write(kind: str, name: str, *, directory: str | None, distribution: str | None) -> int:
    """Write the plugin and say what to do next. Raises UsageError for a bad name or a folder that is there."""
    plan = plan_for(kind, name, Path(directory) if directory else None, distribution)
    await trio.to_thread.run_sync(_write_files, plan)
    print()
    if plan.root is not None:
        await _register(plan.root)
        print(f"next: uv run pytest {_test_file(plan).relative_to(plan.root)}")
    else:
        print(f"next: cd {plan.folder} && uv run pytest")
    return 0


def _write_files(plan: Plan) -> None:
    files = plan_files(plan)
    there = [path for path in (plan.folder, *files) if path.exists()]
    if there:
        raise UsageError(f"{there[0]} is there already", "choose another name, or move it away")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
        print(os.path.relpath(path))


def plan_for(kind: str, name: str, directory: Path | None, distribution: str | None) -> Plan:
    """Where it goes: into this repository when the command runs inside one, else a project of its own."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name",
            "small letters and digits, words joined by _ or -, as in read_file",
        )
    root = repository(Path.cwd()) if directory is None else None
    own = f"codetether-{kind}-{name.replace('_', '-')}"
    distribution = distribution or own
    if not DISTRIBUTION.fullmatch(distribution):
        raise UsageError(
            f"{distribution!r} is not a distribution's name", "small letters, digits and -"
        )
    if root is not None and distribution != own:
        raise UsageError(f"in this repository it must be {own}", "leave out --distribution")
    if root is not None:
        folder = root / "plugins" / FOLDERS[KINDS[kind]] / _folder_name(kind, name)
    else:
        folder = (directory or Path.cwd()) / distribution
    return Plan(kind, name, distribution, folder, root)


def _folder_name(kind: str, name: str) -> str:
    """The name alone where the folder says the kind, else with its kind: modes/executor_local."""
    ident = name.replace("-", "_")
    return ident if FOLDERS[KINDS[kind]] == KINDS[kind] else f"{kind}_{ident}"


def repository(start: Path) -> Path | None:
    """The root of this repository when `start` is inside it: a workspace that has the kernel as a member."""
    for folder in (start, *start.parents):
        if (folder / "core/src/codetether/ports.py").is_file() and (
            folder / "core/dev/members.py"
        ).is_file():
            return folder
    return None


def _test_file(plan: Plan) -> Path:
    name = f"test_{_folder_name(plan.kind, plan.name)}.py"
    if plan.root is not None:
        return plan.root / "tests/plugins" / FOLDERS[KINDS[plan.kind]] / name
    return plan.folder / "tests" / name


def plan_files(plan: Plan) -> dict[Path, str]:
    """Every file of the plugin with its text."""
    words = plan.words
    package = plan.folder / "src" / words["package"]
    files = {
        plan.folder / "pyproject.toml": _fill(PROJECT, words),
        package / "__init__.py": _fill(_template(f"{plan.kind}.py.txt"), words),
        package / "py.typed": "",
        _test_file(plan): _test(plan.kind, words),
    }
    if plan.kind == "tool":
        files[package / f"{plan.name}.md"] = _fill(_template("tool.md.txt"), words)
    if plan.root is None:
        files[plan.folder / "README.md"] = _fill(README, words)
    return files


def _test(kind: str, words: dict[str, str]) -> str:
    """The test of the template, and before it the contract check; imports sorted as ruff would."""
    own = _fill(_template(f"{kind}.test.txt"), words)
    lines = own.splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith(("import ", "from ")))
    *standard, installed = "\n".join(lines[: last + 1]).split("\n\n")
    block = [
        *map(_sorted_names, installed.splitlines()),
        "from codetether.testing import check_plugin",
    ]
    block.sort(key=lambda line: (line.startswith("from "), line.split()[1]))
    imports = "\n\n".join([*standard, "\n".join(block)])
    rest = "\n".join(lines[last + 1 :]).strip("\n")
    return f"{_fill(TEST, {**words, 'imports': imports})}\n{rest}\n"


def _sorted_names(line: str) -> str:
    """`from x import Params, Hello` depends on the name of the class."""
    head, word, names = line.partition(" import ")
    return f"{head}{word}{', '.join(sorted(names.split(', ')))}"


def _template(name: str) -> str:
    return Path(__file__).with_name("templates").joinpath(name).read_text("utf-8")


def _fill(text: str, words: dict[str, str]) -> str:
    return Template(text).substitute(words)


async def _register(root: Path) -> None:
    """Name the new member in the root pyproject.toml."""
    from codetether.process import run_process

    done = await run_process(
        [sys.executable, str(root / "core/dev/members.py")],
        cwd=root,
        env=dict(os.environ),
        timeout=60,
    )
    if not done.ok:
        raise CodetetherError(
            "the root pyproject.toml could not be brought in step", done.errors.strip()
        )
