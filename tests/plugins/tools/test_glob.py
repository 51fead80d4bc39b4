"""glob: what each pattern covers, in one order, inside the workspace."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace

import msgspec
import pytest
import trio
from codetether.errors import ToolError
from codetether.testing import check_plugin
from codetether.workspace import Workspace
from codetether_tool_glob import Glob, Params
from codetether_tool_glob.pattern import regex
from hypothesis import given
from hypothesis import strategies as st

FILES = (
    "README.md",
    "setup.py",
    "src/main.py",
    "src/lib/util.py",
    "src/lib/util.ts",
    "src/lib/[x].py",
    "src.py/odd",
    ".github/ci.yml",
    ".git/config",
    "node_modules/m/index.js",
    "debug.log",
    "docs/a b.md",
)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "work"
    for path in FILES:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
    (root / ".gitignore").write_text("node_modules/\n*.log\n")
    (root / "empty").mkdir()
    return root


async def glob(root, pattern, **how):
    params = msgspec.convert({"pattern": pattern, **how}, Params)
    return await Glob(None, "tools:glob").run(params, SimpleNamespace(workspace=Workspace(root)))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", "setup.py"),
        ("**/*.py", "setup.py src/lib/[x].py src/lib/util.py src/main.py"),
        ("src/**/*.py", "src/lib/[x].py src/lib/util.py src/main.py"),
        ("src/*.py", "src/main.py"),
        ("src/*/*.py", "src/lib/[x].py src/lib/util.py"),
        ("./src/main.py", "src/main.py"),
        ("**/util.{py,ts}", "src/lib/util.py src/lib/util.ts"),
        ("{src,docs}/*", "docs/a b.md src/main.py"),
        ("{src/lib,docs}/**", "docs/a b.md src/lib/[x].py src/lib/util.py src/lib/util.ts"),
        ("src/lib/**", "src/lib/[x].py src/lib/util.py src/lib/util.ts"),
        ("src/lib/\\[x\\].py", "src/lib/[x].py"),
        ("src/lib/[[]x].py", "src/lib/[x].py"),
        ("src/lib/util.[!p]*", "src/lib/util.ts"),
        ("setup.p?", "setup.py"),
        ("**/ci.yml", ".github/ci.yml"),
        ("**/lib/**/*.ts", "src/lib/util.ts"),
        ("SETUP.py", ""),
        ("**/*.log", ""),
        ("**/index.js", ""),
        ("**/config", ""),
        ("nowhere/*.py", ""),
        ("setup.py/*", ""),
        ("docs/a b.md", "docs/a b.md"),
    ],
)
async def test_pattern(root, pattern, found):
    output = await glob(root, pattern)
    names = output.text.splitlines() if output.meta["found"] else []
    assert " ".join(names) == found


async def test_everything_and_directories(root):
    everything = (await glob(root, "**")).text.splitlines()
    assert everything == sorted(
        [".gitignore", *(p for p in FILES if not p.startswith((".git/", "node_modules", "debug")))],
        key=lambda path: path.split("/"),
    )
    assert (await glob(root, "**/lib", dirs=True)).text == "src/lib/"
    assert (await glob(root, "s*", dirs=True)).text == "setup.py\nsrc/\nsrc.py/"
    assert (await glob(root, "**/lib")).meta["found"] == 0


async def test_from_a_directory(root):
    assert (await glob(root, "*.py", path="src")).text == "src/main.py"
    assert (await glob(root, "**/*.js", path="node_modules")).text == "node_modules/m/index.js"
    assert (await glob(root, f"{root}/src/*.py")).text == "src/main.py"


async def test_nothing_says_what_to_try(root):
    assert "use **/*.ts" in (await glob(root, "*.ts")).text
    assert "No files match" in (await glob(root, "**/*.none")).text


async def test_limit(root):
    output = await glob(root, "**/*.py", limit=2)
    assert output.text.startswith("setup.py\nsrc/lib/[x].py\n[2 of 4 shown")
    assert output.meta == {"count": 2, "found": 4, "truncated": True}
    assert output.summary == "4 paths"


async def test_a_list_too_long_is_told(root, monkeypatch):
    monkeypatch.setattr("codetether_tool_glob.COLLECTED", 2000)
    for number in range(500):
        (root / f"number{number:03}").write_text("")
    output = await glob(root, "number*", limit=1000)
    assert output.meta["truncated"]
    assert "at least" in output.text
    assert all(re.fullmatch(r"number\d{3}", line) for line in output.text.splitlines()[:-1])


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"pattern": ""}, "INVALID_ARGUMENT"),
        ({"pattern": "a\0"}, "INVALID_ARGUMENT"),
        ({"pattern": "a\nb"}, "INVALID_ARGUMENT"),
        ({"pattern": "[a"}, "INVALID_ARGUMENT"),
        ({"pattern": "{a"}, "INVALID_ARGUMENT"),
        ({"pattern": "a}"}, "INVALID_ARGUMENT"),
        ({"pattern": "[z-a]*"}, "INVALID_ARGUMENT"),
        ({"pattern": "*/../../x"}, "INVALID_ARGUMENT"),
        ({"pattern": "a" * 2000}, "INVALID_ARGUMENT"),
        ({"pattern": "*", "path": "setup.py"}, "INVALID_ARGUMENT"),
        ({"pattern": "*", "path": "nowhere"}, "NOT_FOUND"),
        ({"pattern": ".git/*"}, "INVALID_ARGUMENT"),
        ({"pattern": "../*"}, "DENIED"),
        ({"pattern": "/etc/*"}, "DENIED"),
        ({"pattern": "/*"}, "DENIED"),
        ({"pattern": "*", "path": ".."}, "DENIED"),
        ({"pattern": "out/*"}, "DENIED"),
        ({"pattern": "*", "path": "out"}, "DENIED"),
    ],
)
async def test_refusals(root, how, code):
    (root / "out").symlink_to("/etc")
    with pytest.raises(ToolError) as caught:
        await glob(root, **how)
    assert caught.value.code == code


async def test_links_to_directories_are_not_followed(root, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.py").write_text("")
    (root / "out").symlink_to(tmp_path / "outside")
    assert "out/" not in (await glob(root, "**/*.py")).text


async def test_no_pattern_is_slow(root):
    (root / ("a" * 200)).write_text("")
    with trio.fail_after(60):
        assert (await glob(root, "*a" * 100 + "b")).meta["found"] == 0
        assert (await glob(root, "{a,aa}" * 100 + "b")).meta["found"] == 0


async def test_odd_names(root):
    (root / "-e").write_text("")
    (root / os.fsdecode(b"bad\xff.txt")).write_text("")
    (root / "line\nbreak").write_text("")
    assert (await glob(root, "-*")).text == "-e"
    assert (await glob(root, "*.txt")).text == "bad\ufffd.txt"


@given(st.text(alphabet="abé./*?-_~&#+|^$() ", max_size=30))
def test_a_regex_is_made_of_any_plain_pattern(pattern):
    made = re.compile(regex(pattern).replace("(?-i:", "(?:"))
    if not set("*?") & set(pattern):
        assert made.match(pattern)


@given(st.text(max_size=40))
def test_a_pattern_is_refused_or_understood(pattern):
    try:
        made = regex(pattern)
    except ToolError:
        return
    assert made.startswith("^(?-i:")


def test_contract():
    check_plugin("glob", "codetether.tools")
