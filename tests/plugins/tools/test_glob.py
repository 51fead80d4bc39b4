"""glob: what each pattern covers, in one order, inside the workspace."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import trio
from codetether.errors import ToolError
from codetether.ripgrep import ALWAYS, ripgrep_path
from codetether.testing import check_plugin
from codetether.workspace import Workspace
from codetether_tool_glob import Glob, Params
from codetether_tool_glob.pattern import listing_options, regex
from hypothesis import HealthCheck, given, settings
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


def test_its_title_says_what_is_looked_for():
    tool = Glob(None, "tools:glob")
    assert tool.title(Params("**/*.py")) == "glob **/*.py"
    assert tool.title(Params("*.py", "src")) == "glob *.py src"


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
    assert (await glob(root, "**/lib", kind="dirs")).text == "src/lib/"
    assert (await glob(root, "s*", kind="all")).text == "setup.py\nsrc/\nsrc.py/"
    assert (await glob(root, "**", kind="dirs")).text == ".github/\ndocs/\nsrc/\nsrc/lib/\nsrc.py/"
    assert "No directories match" in (await glob(root, "*.py", kind="dirs", path="src")).text
    assert (await glob(root, "**/lib")).meta["found"] == 0


async def test_from_a_directory(root):
    assert (await glob(root, "*.py", path="src")).text == "src/main.py"
    assert (await glob(root, "**/*.js", path="node_modules")).text == "node_modules/m/index.js"
    assert (await glob(root, f"{root}/src/*.py")).text == "src/main.py"


async def test_nothing_says_what_to_try(root):
    assert "use **/*.ts" in (await glob(root, "*.ts")).text
    assert "No files match" in (await glob(root, "**/*.none")).text


async def test_pages(root):
    output = await glob(root, "**/*.py", limit=2)
    assert output.text == (
        "setup.py\nsrc/lib/[x].py\n[1-2 of 4 paths; more with offset 2, or narrow it]"
    )
    assert output.meta == {"count": 2, "found": 4, "truncated": True}
    assert output.summary == "4 paths"
    last = await glob(root, "**/*.py", offset=2)
    assert last.text == "src/lib/util.py\nsrc/main.py\n[3-4 of 4 paths]"
    assert not last.meta["truncated"]
    assert (await glob(root, "**/*.py", offset=4)).text == "[nothing at offset 4: 4 paths]"


async def test_counting_only(root):
    output = await glob(root, "**/*.py", limit=0)
    assert output.text == "4 paths match '**/*.py' in .."
    assert output.meta["found"] == 4


async def test_the_newest_first_and_equals_by_path(root):
    for age, path in enumerate(["src/main.py", "setup.py", "src/lib/util.py", "src/lib/[x].py"]):
        os.utime(root / path, (age // 2, age // 2))
    output = await glob(root, "**/*.py", sort="modified")
    assert output.text == "src/lib/[x].py\nsrc/lib/util.py\nsetup.py\nsrc/main.py"


async def test_ignored_files_when_asked(root):
    assert (await glob(root, "**/*.{js,log}", no_ignore=True)).text == (
        "debug.log\nnode_modules/m/index.js"
    )
    assert (await glob(root, "**/config", no_ignore=True)).meta["found"] == 0


NAMES = st.text(alphabet="ab.é-", min_size=1, max_size=4).filter(
    lambda name: name not in (".", "..")
)


@given(
    st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=6),
    st.text(alphabet="ab.é*?/{,}[]!-", min_size=1, max_size=10),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_ripgrep_lists_is_what_the_expression_covers(tmp_path, paths, pattern):
    """Whether ripgrep applies the pattern itself or picks from a list, the answer is the same."""
    try:
        options, exact = listing_options(pattern)
        covers = re.compile(regex(pattern).replace("(?-i:", "(?:").replace("(?!", "(?:"))
    except (ToolError, re.error):
        return
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    for parts in paths:
        with contextlib.suppress(OSError):
            root.joinpath(*parts).parent.mkdir(parents=True, exist_ok=True)
            root.joinpath(*parts).write_text("")
    every = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    argv = [ripgrep_path(), *ALWAYS, "--files", "--no-ignore", *options]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
    listed = set(done.stdout.splitlines())
    assert done.returncode in (0, 1), (done.stderr, options)
    wanted = {path for path in every if covers.match(path) and not pattern.startswith("/")}
    assert listed >= wanted
    assert not exact or listed == wanted


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
