"""What no file of the repository may say, and what no line of code may do."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# In pieces, so that this file does not contain them.
HOSTS = (
    "files." + "python" + "hosted",
    "py" + "pi.org",
    "py" + "pi.python",
    "simple" + "/pip",
    "npm" + "js.org",
)
PLACES = ("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/runner", "C:" + "\\Users")
FORBIDDEN = re.compile("|".join(re.escape(word) for word in (*HOSTS, *PLACES)))


def test_no_file_names_a_machine_or_an_index(tracked):
    found = []
    for path in tracked:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}"
            for number, line in enumerate(text.splitlines(), 1)
            if FORBIDDEN.search(line)
        ]
    assert found == []


BY_NAME = re.compile(
    r"(?:pip install|uv add|pipx install|uv tool install)\b(?:(?!beside)[^#`&\n])*?[\s'\"]codetether\b"
)


def test_nothing_tells_to_install_our_names_from_an_index(tracked):
    """The public index has a stranger's `codetether`; `installing.install_hint` has the words."""
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]}"
        for path in tracked
        if path.suffix in (".py", ".md", ".toml") and "tests" not in path.parts
        for hit in BY_NAME.finditer(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ("pip install codetether", True),
        ("run: pip install 'codetether-tool-x[y]'", True),
        ("uv add codetether-core", True),
        ("pip install ./codetether-tool-hello", False),
        ("pip install dist/*.whl", False),
        ("pip install xllamacpp    # beside codetether", False),
    ],
)
def test_the_install_check_sees(line, caught):
    assert bool(BY_NAME.search(line)) is caught


def test_the_lock_is_not_committed(tracked):
    assert not [path for path in tracked if path.name == "uv.lock"]


def test_the_launcher_can_be_run(tracked):
    import subprocess

    listed = subprocess.run(
        ["git", "ls-files", "-s", "core/scripts/codetether"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.startswith("100755"), "git update-index --chmod=+x core/scripts/codetether"


# --- code --------------------------------------------------------------------------------------------------------


def shipped(tracked, *words):
    """The syntax of every shipped file that holds one of `words`, by its path below the root."""
    for path in tracked:
        if path.suffix == ".py" and "src" in path.parts:
            text = path.read_text("utf-8")
            if any(word in text for word in words):
                yield str(path.relative_to(ROOT)), ast.parse(text)


def unsafe_writes(tree):
    """Calls that replace a file in place: a crash in the middle leaves half of it (F55)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "O_TRUNC":
            yield node.lineno
        if not isinstance(node, ast.Call):
            continue
        name = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        if name in ("write_text", "write_bytes"):
            yield node.lineno
        if name in ("open", "open_file") and "os.open(" not in "".join(
            map(ast.unparse, node.args[:1])
        ):
            # (a descriptor has its flags from os.open, where O_TRUNC is what counts)
            of_path = isinstance(node.func, ast.Attribute) and not is_module(node.func)
            modes = [k.value for k in node.keywords if k.arg == "mode"] + node.args[not of_path :][
                :1
            ]
            if any(isinstance(m, ast.Constant) and is_write_mode(m.value) for m in modes):
                yield node.lineno


def is_write_mode(value):
    return isinstance(value, str) and bool(re.fullmatch("[rbt]*[wax+][bt+]*", value))


def is_module(func):
    return isinstance(func.value, ast.Name) and func.value.id in (
        "os",
        "io",
        "gzip",
        "codecs",
        "trio",
    )


# Files that are written some other way, each with the reason.
WRITERS = {
    "core/src/codetether/files.py": "the one place that replaces files",
    "core/src/codetether/capture.py": "output of a running command, streamed into a file made for that call",
    "plugins/modes/nats/src/codetether_nats/files.py": "a stored file, streamed into one made for that call",
}


def test_files_are_replaced_in_one_place_only(tracked):
    found = [
        f"{name}:{line}"
        for name, tree in shipped(
            tracked, "open(", "open_file", "write_text", "write_bytes", "O_TRUNC"
        )
        if name not in WRITERS
        for line in unsafe_writes(tree)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "caught"),
    [
        ('open("x", "w")', True),
        ('open("x", mode="ab")', True),
        ('path.open("w")', True),
        ('path.write_text("x")', True),
        ("os.open(path, os.O_WRONLY | os.O_TRUNC)", True),
        ('os.fdopen(fd, "wb")', False),
        ('open(os.open(path, os.O_APPEND), "ab")', False),
        ('open("x")', False),
        ('open("x", "rb")', False),
        ('path.open("rb")', False),
        ('webbrowser.open("https://www.example.org")', False),
    ],
)
def test_the_write_check_sees(code, caught):
    assert bool(list(unsafe_writes(ast.parse(code)))) is caught


def unbounded(tree):
    """Memory channels without a number: a slow listener would grow them without end."""
    for node in ast.walk(tree):
        call = node.func if isinstance(node, ast.Call) else None
        call = call.value if isinstance(call, ast.Subscript) else call
        if isinstance(call, ast.Attribute | ast.Name) and "open_memory_channel" in ast.unparse(
            call
        ):
            sizes = [ast.unparse(arg) for arg in [*node.args, *(k.value for k in node.keywords)]]
            if not sizes or "inf" in sizes[0]:
                yield node.lineno


def test_every_channel_is_bounded(tracked):
    found = [
        f"{name}:{line}"
        for name, tree in shipped(tracked, "open_memory_channel")
        for line in unbounded(tree)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "caught"),
    [
        ("trio.open_memory_channel(math.inf)", True),
        ("trio.open_memory_channel[int](float('inf'))", True),
        ("open_memory_channel(max_buffer_size=inf)", True),
        ("trio.open_memory_channel[int](16)", False),
        ("trio.open_memory_channel(size)", False),
    ],
)
def test_the_channel_check_sees(code, caught):
    assert bool(list(unbounded(ast.parse(code)))) is caught
