"""Finding a project's checks by its files. Nothing of the project is run to find them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from codetether_gates.gate import KINDS, Gate

LARGEST = 1_000_000
PYTEST = (
    "-q -p no:cacheprovider --continue-on-collection-errors"  # else one bad file and no test is run
)


class Detected(msgspec.Struct, frozen=True, omit_defaults=True):
    """The gates found, in the order to run them, and `notes` on checks that are configured but cannot be run here."""

    gates: tuple[Gate, ...] = ()
    notes: tuple[str, ...] = ()


def detect(directory: Path, home: Path | None = None, *, seconds: float = 600.0) -> Detected:
    """The checks of the project in `directory`. `home`: the user's own tree, whose virtual environment is used when
    `directory` is a worktree and has none. Blocking: it reads a handful of small files.
    """
    notes: list[str] = []
    found = list(_python(directory, home or directory))
    for look in (_node, _rust, _go, _maven, _gradle):
        found += look(directory)
    kinds = {gate.kind for gate in found}
    found += [gate for gate in _make(directory) if gate.kind not in kinds]
    usable = []
    for gate in found:
        missing = _missing(gate.command, directory)
        if missing:
            notes.append(f"{gate.kind} ({gate.origin}) is left out: {missing} is not installed")
        else:
            usable.append(msgspec.structs.replace(gate, seconds=seconds))
    usable.sort(key=lambda gate: KINDS.index(gate.kind))
    return Detected(tuple(usable), tuple(notes))


def _missing(command: str, directory: Path) -> str:
    """The program a command needs and does not find, "" when it is there."""
    words = [word for word in shlex.split(command) if "=" not in word.partition("/")[0]]
    program = words[0]
    if program.startswith("./"):
        return "" if (directory / program).is_file() else program
    return "" if shutil.which(program) else program


# --- languages ---------------------------------------------------------------------------------------------------
def _python(directory: Path, home: Path) -> Iterator[Gate]:
    project = _toml(directory / "pyproject.toml")
    names = ("pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "pytest.ini", "requirements.txt")
    if not _any(directory, *names):
        return
    tools = project.get("tool", {})
    python = _interpreter(directory, home)
    if "mypy" in tools or _any(directory, "mypy.ini", ".mypy.ini"):
        where = "" if tools.get("mypy", {}).get("files") else " ."
        yield Gate("typecheck", f"{python} -m mypy{where}", "mypy settings")
    elif "pyright" in tools or _any(directory, "pyrightconfig.json"):
        yield Gate("typecheck", "pyright", "pyright settings")
    if "ruff" in tools or _any(directory, "ruff.toml", ".ruff.toml"):
        yield Gate("lint", "ruff check --no-cache .", "ruff settings")
    elif _any(directory, ".flake8"):
        yield Gate("lint", f"{python} -m flake8", ".flake8")
    if (
        "pytest" in tools
        or _any(directory, "pytest.ini", "conftest.py", "tests/conftest.py")
        or "pytest"
        in _head(
            directory,
            "pyproject.toml",
            "setup.cfg",
            "tox.ini",
            "requirements.txt",
            "requirements-dev.txt",
        )
    ):
        yield Gate("test", f"{python} -m pytest {PYTEST}", "pytest")
    elif tests := [name for name in ("tests", "test") if any((directory / name).glob("test*.py"))]:
        yield Gate("test", f"{python} -m unittest discover -s {tests[0]} -t .", f"{tests[0]}/")
    elif any(directory.glob("test*.py")):
        yield Gate("test", f"{python} -m unittest discover", "test*.py")


def _interpreter(directory: Path, home: Path) -> str:
    """The project's Python. PYTHONPATH first: an editable install leads to the user's tree, not to this one."""
    here = 'PYTHONPATH="$PWD/src:$PWD" ' if (directory / "src").is_dir() else 'PYTHONPATH="$PWD" '
    for tree in (directory, home):
        for name in (".venv", "venv"):
            if (tree / name / "bin" / "python").exists():
                return here + shlex.quote(str(tree / name / "bin" / "python"))
    return here + ("python3" if shutil.which("python3") else "python")


def _node(directory: Path) -> Iterator[Gate]:
    try:
        scripts = json.loads(_text(directory / "package.json") or "{}").get("scripts", {})
    except (ValueError, AttributeError):
        return
    if not isinstance(scripts, dict):
        return
    lock = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lockb": "bun", "bun.lock": "bun"}
    runner = next((name for file, name in lock.items() if (directory / file).exists()), "npm")
    ways = {
        "typecheck": ("typecheck", "type-check", "check-types", "tsc"),
        "lint": ("lint",),
        "test": ("test:ci", "test"),
        "build": ("build",),
    }
    for kind, names in ways.items():
        name = next((each for each in names if isinstance(scripts.get(each), str)), "")
        if name and "no test specified" not in scripts[name]:
            yield Gate(kind, f"{runner} run {name}", f"package.json, {name}")


def _rust(directory: Path) -> Iterator[Gate]:
    if _any(directory, "Cargo.toml"):
        yield Gate("typecheck", "cargo check --quiet --all-targets", "Cargo.toml")
        yield Gate("test", "cargo test --quiet --no-fail-fast", "Cargo.toml")


def _go(directory: Path) -> Iterator[Gate]:
    if _any(directory, "go.mod"):
        yield Gate("typecheck", "go build ./...", "go.mod")
        yield Gate("lint", "go vet ./...", "go.mod")
        yield Gate("test", "go test ./...", "go.mod")


def _maven(directory: Path) -> Iterator[Gate]:
    if _any(directory, "pom.xml"):
        program = "./mvnw" if _any(directory, "mvnw") else "mvn"
        yield Gate("test", f"{program} -q -B test", "pom.xml")


def _gradle(directory: Path) -> Iterator[Gate]:
    if _any(directory, "build.gradle", "build.gradle.kts"):
        program = "./gradlew" if _any(directory, "gradlew") else "gradle"
        yield Gate("test", f"{program} --no-daemon -q check", "build.gradle")


def _make(directory: Path) -> Iterator[Gate]:
    name = next(
        (each for each in ("GNUmakefile", "makefile", "Makefile") if _any(directory, each)), ""
    )
    if not name:
        return
    rules = re.findall(r"^([A-Za-z][\w. -]*?)\s*:(?!=)", _text(directory / name), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    ways = {
        "typecheck": ("typecheck", "types"),
        "lint": ("lint",),
        "test": ("test", "tests", "check"),
        "build": ("build",),
    }
    for kind, names in ways.items():
        if target := next((each for each in names if each in targets), ""):
            yield Gate(kind, f"make --no-print-directory {target}", name)


# --- files -------------------------------------------------------------------------------------------------------
def _any(directory: Path, *names: str) -> bool:
    return any((directory / name).is_file() for name in names)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""


def _head(directory: Path, *names: str) -> str:
    return "".join(_text(directory / name) for name in names)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return {}
