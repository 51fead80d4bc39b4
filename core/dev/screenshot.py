"""Make the pictures of the full-screen interface from real runs: `python core/dev/screenshot.py`.

The interface runs on a pseudo terminal in a repository of its own, with a scripted model; keys are typed when what they
answer is on the screen. Writes docs/pictures/tui*.svg.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pyte
from picture import line_of, svg

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
COLUMNS, ROWS = 124, 36
PATIENCE = 30.0
SCRIPT = """
[[replies]]
thoughts = "A failing sum: look at the function before touching it."
text = "I'll look at `calc.py` first."
calls = [{name = "read_file", arguments = {path = "calc.py"}}]
[[replies]]
text = "The sign is wrong:"
calls = [{name = "edit", arguments = {path = "calc.py", old_string = "a - b", new_string = "a + b"}}]
[[replies]]
text = "Now the test:"
calls = [{name = "bash", arguments = {command = "python -c 'import calc; assert calc.add(2, 2) == 4; print(4)'"}}]
[[replies]]
text = '''
## Fixed

`add` subtracted; now it *adds*:

```python
def add(a: int, b: int) -> int:
    return a + b  # was minus
```

- the test passes
- nothing else calls `add`
'''
"""
PLAN = [
    ("read the rows", "rows.py", [], "sleep 1; echo 'def rows(): ...' > rows.py"),
    ("read the settings", "settings.py", [], "./check settings.py"),
    ("write CSV", "csv_out.py", ["read the rows"], "./check csv_out.py"),
    (
        "write JSON",
        "json_out.py",
        ["read the rows"],
        "sleep 1; echo 'def dump(): ...' > json_out.py",
    ),
    ("command line", "main.py", ["write CSV", "write JSON", "read the settings"], "true"),
]
STORIES = [
    ("US-001", "Read the rows", [], "sleep 1; echo 'def rows(): ...' > rows.py"),
    ("US-002", "Read the settings", [], "./check settings.py"),
    ("US-003", "Write CSV", ["US-001"], "./check csv_out.py"),
    ("US-004", "Say what is wrong with a row", ["US-002"], "true"),
    ("US-005", "Document the export", ["US-003", "US-004"], "true"),
]
Step = tuple[str, str]  # what must be on the screen, and what is typed then
APPROVAL: tuple[Step, ...] = (("CodeTether", "the sum is wrong, fix it\r"), ("Allow edit", ""))
WORK: tuple[Step, ...] = (
    *APPROVAL,
    ("Allow edit", "s"),
    ("Allow bash", "y"),
    ("nothing else calls", ""),
)
SWARM: tuple[Step, ...] = (
    ("CodeTether", "/swarm export the rows as CSV and as JSON\r"),
    ("→ bash ./check settings.py", ""),
    ("write JSON         completed", "\x1b[B"),
    ("read the settings", ""),
)
RALPH: tuple[Step, ...] = (
    ("CodeTether", "/ralph\r"),
    ("passed", "\x1b[B"),
    ("Write CSV                     → bash", ""),
)
SHOTS: tuple[tuple[str, str, tuple[Step, ...]], ...] = (
    ("tui", "dark", WORK),
    ("tui-light", "light", WORK),
    ("tui-approval", "solarized-dark", APPROVAL),
    ("tui-swarm", "dark", SWARM),
    ("tui-ralph", "light", RALPH),
)


def crowd() -> str:
    """Rules for what the agents of a swarm and of Ralph say: each looks around, runs its command, and is done."""
    subtasks = [
        {
            "name": name, "instruction": f"Write {path}.", "specialty": "", "dependencies": after, "priority": 0,
            "files": [path], "writes": True,
        }
        for name, path, after, _ in PLAN
    ]  # fmt: skip
    rules: list[dict[str, object]] = [
        {"when": {"user": "You plan work"}, "reply": {"text": json.dumps({"subtasks": subtasks})}}
    ]
    works = [(f'Your part, "{name}"', command) for name, _, _, command in PLAN]
    works += [(f"Story {name}:", command) for name, _, _, command in STORIES]
    for user, command in works:
        look = {"name": "list_dir", "arguments": {"path": "."}}
        work = {"name": "bash", "arguments": {"command": command}}
        rules += [
            {"when": {"user": user, "step": 0}, "reply": {"calls": [look]}},
            {"when": {"user": user, "step": 1}, "reply": {"calls": [work]}},
            {"when": {"user": user}, "reply": {"text": "It is done."}},
        ]
    return json.dumps({"rules": rules})


def document() -> str:
    """The stories Ralph works through."""
    stories = [
        {
            "id": name, "title": title, "description": title, "acceptance_criteria": ["it works"], "priority": 1,
            "depends_on": needs,
        }
        for name, title, needs, _ in STORIES
    ]  # fmt: skip
    checks = {"typecheck": "python3 -m py_compile calc.py", "test": "python3 -c 'import calc'"}
    return json.dumps(
        {"project": "adder", "feature": "export", "user_stories": stories, "quality_checks": checks}
    )


def main() -> int:
    """All of them."""
    for name, theme, steps in SHOTS:
        lines = shot(theme, steps)
        picture = svg(lines, COLUMNS, f"codetether · {theme}", light="light" in theme)
        (PICTURES / f"{name}.svg").write_text(picture, "utf-8")
        print(f"docs/pictures/{name}.svg")
    return 0


def shot(theme: str, steps: tuple[Step, ...]) -> list:  # type: ignore[type-arg]
    """The screen after the last step. Raises RuntimeError with the screen when a step's text does not come."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        work = home / "adder"
        work.mkdir()
        (work / "calc.py").write_text("def add(a: int, b: int) -> int:\n    return a - b\n")
        (work / "README.md").write_text("# Adder\n")
        (work / "prd.json").write_text(document())
        (work / ".gitignore").write_text("__pycache__/\n")
        (work / "check").write_text(
            "#!/bin/sh\nsleep 600\n"
        )  # so that the picture shows it at work
        (work / "check").chmod(0o755)
        git = ["git", "-C", str(work)]
        subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
        subprocess.run([*git, "config", "user.name", "a"], check=True)
        subprocess.run([*git, "config", "user.email", "a@example.org"], check=True)
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", "An adder"], check=True)
        (home / "fix.toml").write_text(SCRIPT)
        (home / "crowd.json").write_text(crowd())
        config = home / ".config" / "codetether-agent"
        config.mkdir(parents=True)
        (config / "config.toml").write_text(f'[plugins."modes:tui"]\ntheme = "{theme}"\n')
        script = "crowd.json" if steps in (SWARM, RALPH) else "fix.toml"
        return _run(home, work, script, steps)


def _run(home: Path, work: Path, script: str, steps: tuple[Step, ...]) -> list:  # type: ignore[type-arg]
    display = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(display)
    program = str(Path(sys.executable).with_name("codetether"))
    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(work)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
        }
        os.execve(program, [program, "tui", "-m", f"scripted/file:../{script}"], env | {"COLORTERM": "truecolor"})  # noqa: S606  # fmt: skip
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        for wanted, keys in steps:
            _until(wanted, display, stream, descriptor)
            os.write(descriptor, keys.encode())
        _read(stream, descriptor, 1.0)
    finally:
        os.kill(pid, signal.SIGTERM)
        _read(pyte.ByteStream(pyte.Screen(COLUMNS, ROWS)), descriptor, 2.0)
        os.waitpid(pid, 0)
    return [line_of(display.buffer[row], COLUMNS) for row in range(ROWS)]


def _until(wanted: str, display: pyte.Screen, stream: pyte.ByteStream, descriptor: int) -> None:
    until = time.monotonic() + PATIENCE
    while wanted not in "\n".join(display.display):
        if time.monotonic() > until:
            raise RuntimeError(f"{wanted!r} did not come:\n" + "\n".join(display.display))
        _read(stream, descriptor, 0.1)
    _read(stream, descriptor, 0.7)  # keys that come with a question answer nothing


def _read(stream: pyte.ByteStream, descriptor: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            try:
                data = os.read(descriptor, 65_536)
            except OSError:
                return
            if not data:
                return
            stream.feed(data)


if __name__ == "__main__":
    sys.exit(main())
