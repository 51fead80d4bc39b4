"""Which Python has llm: ours, or that of the `llm` command, which most people install apart."""

from __future__ import annotations

import os
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path


def python_with_llm(named: str) -> str:
    """The interpreter to run; empty when there is none. `named` is the setting."""
    if named:
        return shutil.which(os.path.expanduser(named)) or ""
    if find_spec("llm") is not None:
        return sys.executable
    command = shutil.which("llm")
    return _of_script(Path(command)) if command else ""


def _of_script(path: Path) -> str:
    """The interpreter in a script's first lines; installers write a long path as `exec` in a shell's line."""
    try:
        with path.open("rb") as file:
            head = file.read(2048).decode("utf-8", "replace").splitlines()[:3]
    except OSError:
        return ""
    for line in head:
        found = re.search(r"^#!\s*(/\S*python[\d.]*)\s*$|exec' '?(/[^'\"]*python[\d.]*)'?", line)
        if found:
            python = found[1] or found[2]
            return python if os.access(python, os.X_OK) else ""
    return ""


def default_model() -> str:
    """The model chosen with `llm models default`; empty when none was."""
    folder = os.environ.get("LLM_USER_PATH")
    if not folder:
        home = Path.home()
        config = os.environ.get("XDG_CONFIG_HOME") or home / ".config"
        base = home / "Library/Application Support" if sys.platform == "darwin" else config
        folder = str(Path(base, "io.datasette.llm"))
    try:
        return Path(folder, "default_model.txt").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
