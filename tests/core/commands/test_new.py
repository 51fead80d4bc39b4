"""`plugins new`: what it writes is complete, clean and true for every kind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from codetether.commands.new import plan_files, plan_for, write
from codetether.errors import UsageError
from codetether.ports import KINDS

ROOT = Path(__file__).parents[3]


def dist_info(folder, project):
    """What an installer would write, so that the new plugin is found without one."""
    made = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    made.mkdir()
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
        for group, names in project["entry-points"].items()
    )
    (made / "entry_points.txt").write_text(points)
    (made / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\nSummary: {project['description']}\n"
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_passes_its_own_tests_outside_the_repository(
    kind, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert await write(kind, "good-day", directory=None, distribution=None) == 0
    folder = tmp_path / f"codetether-{kind}-good-day"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert f"next: cd {folder}" in capsys.readouterr().out
    dist_info(folder / "src", project)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, folder / "tests"],
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_formatted_and_linted(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, text in plan_files(plan_for(kind, "hello", tmp_path, None)).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    config = ROOT / "pyproject.toml"
    for words in (["format", "--check"], ["check", "--ignore", "S101,INP001,TC006,D103,D102,D101"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache", "--config", config, tmp_path],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


async def test_a_third_party_names_its_own_distribution(tmp_path):
    await write("tool", "hello", directory=str(tmp_path), distribution="acme-codetether-hello")
    project = tomllib.loads((tmp_path / "acme-codetether-hello/pyproject.toml").read_text())[
        "project"
    ]
    assert project["entry-points"] == {"codetether.tools": {"hello": "acme_codetether_hello:Hello"}}


async def test_inside_the_repository_it_becomes_a_member(tmp_path, monkeypatch, capsys):
    root = tmp_path / "clone"
    for name in ("core/dev", "core/src/codetether", "core/pyproject.toml", "pyproject.toml"):
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    text = (root / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(drop_not_default(text))
    monkeypatch.chdir(root / "core")
    assert await write("executor", "few", directory=None, distribution=None) == 0
    table = tomllib.loads((root / "pyproject.toml").read_text())
    assert table["tool"]["uv"]["sources"]["codetether-executor-few"] == {"workspace": True}
    assert table["project"]["optional-dependencies"]["modes"] == ["codetether-executor-few==0.1.5"]
    made = sorted(p.relative_to(root).as_posix() for p in root.rglob("*few*"))
    assert made == [
        "plugins/modes/executor_few",
        "plugins/modes/executor_few/src/codetether_executor_few",
        "tests/plugins/modes/test_executor_few.py",
    ]
    assert "next: uv run pytest tests/plugins/modes/test_executor_few.py" in capsys.readouterr().out


def drop_not_default(text):
    """The clone has no members yet, so none can be named."""
    before, key, rest = text.partition("not-default = [")
    return before + "not-default = []" + rest.partition("]")[2] if key else text


@pytest.mark.parametrize("name", ["", "Hello", "../x", "a b", "9x", "a__b", "x-"])
def test_a_bad_name_is_refused(name, tmp_path):
    with pytest.raises(UsageError, match="is not a name"):
        plan_for("tool", name, tmp_path, None)


async def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "codetether-tool-hello").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        await write("tool", "hello", directory=str(tmp_path), distribution=None)
    assert json.dumps([*map(str, (tmp_path / "codetether-tool-hello").iterdir())]) == "[]"
