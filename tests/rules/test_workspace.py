"""Sixty project files that say the same where they must, and the root that lists them."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import codetether
import pytest
from codetether.ports import KINDS
from packaging.requirements import Requirement
from packaging.version import Version
from workspace import Workspace

ROOT = Path(__file__).parents[2]
MEMBERS = Workspace(ROOT).members
PLUGINS = MEMBERS[1:]
SINGULAR = {plural: singular for singular, plural in KINDS.items()}


def test_the_root_lists_what_the_folders_hold():
    done = subprocess.run(
        [sys.executable, ROOT / "core/dev/members.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_an_outdated_root_is_noticed_and_mended(tmp_path):
    import members

    (tmp_path / "core").mkdir()
    (tmp_path / "core/pyproject.toml").write_text((ROOT / "core/pyproject.toml").read_text())
    plugin = tmp_path / "plugins/tools/x/pyproject.toml"
    plugin.parent.mkdir(parents=True)
    plugin.write_text('[project]\nname = "codetether-tool-x"\nversion = "0.1.5"\n')
    text = (ROOT / "pyproject.toml").read_text()
    before, _, rest = text.partition("not-default = [")
    (tmp_path / "pyproject.toml").write_text(
        before + 'not-default = ["codetether-tool-x"]' + rest.partition("]")[2]
    )
    assert members.main(["--check"], tmp_path) == 1
    assert members.main([], tmp_path) == 0
    once = (tmp_path / "pyproject.toml").read_text()
    assert members.main([], tmp_path) == 0
    assert members.main(["--check"], tmp_path) == 0
    assert (tmp_path / "pyproject.toml").read_text() == once
    project = Workspace(tmp_path).project["project"]
    assert project["dependencies"] == ["codetether-core==0.1.5"]
    written = {"tools": ["codetether-tool-x==0.1.5"], "all": ["codetether[tools]==0.1.5"]}
    assert written.items() <= project["optional-dependencies"].items()  # others are kept by hand


def test_all_versions_are_equal(workspace):
    versions = {member.name: member.version for member in MEMBERS}
    versions["codetether"] = workspace.project["project"]["version"]
    assert set(versions.values()) == {codetether.__version__}, versions


@pytest.mark.parametrize("member", PLUGINS, ids=[m.name for m in PLUGINS])
def test_a_project_file_has_the_one_form(member):
    import tomllib

    whole = tomllib.loads((member.folder / "pyproject.toml").read_text("utf-8"))
    assert set(whole) <= {"project", "build-system"}
    assert set(member.table) <= {
        "name", "version", "description", "requires-python", "license", "dependencies", "entry-points",
        "optional-dependencies",
    }  # fmt: skip
    assert whole["build-system"] == {"requires": ["uv_build>=0.9,<1"], "build-backend": "uv_build"}
    assert member.table["requires-python"] == ">=3.11"
    assert member.table["license"] == "MIT"
    assert "codetether-core>=0.1,<0.2" in member.requires
    assert 0 < len(member.table["description"]) < 60
    assert not member.table["description"].endswith(".")
    assert (member.source / "__init__.py").is_file()
    assert (member.source / "py.typed").is_file()


@pytest.mark.parametrize("member", PLUGINS, ids=[m.name for m in PLUGINS])
def test_a_plugin_is_named_for_what_it_is(member):
    for key, value in member.entry_points.items():
        kind, _, name = key.partition(":")
        assert kind in SINGULAR
        assert member.name == f"codetether-{SINGULAR[kind]}-{name.replace('_', '-')}"
        assert value.partition(":")[0] == member.package
    assert len(member.entry_points) <= 1


def test_members_require_members_of_this_line(workspace):
    names = {member.name for member in MEMBERS}
    for member in PLUGINS:
        for line in member.requires:
            requirement = Requirement(line)
            if requirement.name in names:
                assert str(requirement.specifier) == "<0.2,>=0.1", f"{member.name}: {line}"


def pinned():
    table = Workspace(ROOT).project["tool"]["uv"]["constraint-dependencies"]
    return [Requirement(line) for line in table]


def reached(names):
    """Every third-party distribution that the members need here, whatever needs it."""
    ours = {member.name for member in MEMBERS} | {"codetether"}
    todo, seen = [*names], {}
    while todo:
        requirement = Requirement(todo.pop())
        name = requirement.name.lower().replace("_", "-").replace(".", "-")
        extras = requirement.extras or {""}
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras
        ):
            continue
        if name in ours or (name, *sorted(extras)) in seen:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # declared by a member that this environment does not hold
        seen[(name, *sorted(extras))] = found.version
        for line in found.requires or ():
            inner = Requirement(line)
            if inner.marker is None or any(
                inner.marker.evaluate({"extra": extra}) for extra in extras
            ):
                inner.marker = None
                todo.append(str(inner))
    return {key[0]: version for key, version in seen.items()}


def test_every_package_we_need_is_pinned_to_the_version_tested(workspace):
    groups = workspace.project["dependency-groups"]["dev"]
    needed = reached([line for member in MEMBERS for line in member.requires] + groups)
    assert {"trio", "pytest"} <= set(needed)
    pins = {
        requirement.name: requirement.specifier for requirement in pinned() if applies(requirement)
    }
    wrong = {
        name: version
        for name, version in needed.items()
        if name not in pins or Version(version) not in pins[name]
    }
    assert wrong == {}, "run `python core/dev/pins.py`, then `uv sync`"


def applies(requirement):
    return requirement.marker is None or requirement.marker.evaluate()


def test_pins_fit_what_members_ask_for():
    pins = {requirement.name: requirement for requirement in pinned() if applies(requirement)}
    for member in MEMBERS:
        for line in member.requires:
            asked = Requirement(line)
            pin = pins.get(asked.name.lower().replace("_", "-"))
            if pin is not None and applies(asked):
                (exact,) = pin.specifier
                assert Version(exact.version) in asked.specifier, (
                    f"{member.name}: {line}, pinned {pin}"
                )


def test_one_call_changes_every_version(tmp_path):
    import shutil

    import version

    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for member in MEMBERS:
        target = tmp_path / member.folder.relative_to(ROOT)
        target.mkdir(parents=True)
        shutil.copy(member.folder / "pyproject.toml", target)
    module = tmp_path / "core/src/codetether/__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text('"""Doc."""\n\n__version__ = "0.1.5"\n')
    assert version.main(["0.2.0"], tmp_path) == 0
    moved = Workspace(tmp_path)
    assert {member.version for member in moved.members} == {"0.2.0"}
    assert moved.project["project"]["version"] == "0.2.0"
    assert '__version__ = "0.2.0"' in module.read_text()
    ours = {member.name for member in MEMBERS}
    for member in moved.plugins:
        for requirement in map(Requirement, member.requires):
            assert requirement.name not in ours or str(requirement.specifier) == "<0.3,>=0.2"
    with pytest.raises(SystemExit, match="not a version"):
        version.main(["next"], tmp_path)
