"""ripgrep: where it is, and the only way it is called. Linear time for every pattern, and no settings of anybody's.

It runs outside the sandbox, like the tools that read files: no word of the model's or the repository's reaches it as
an option, and nothing it is given makes it start a program. The caller confines the paths.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codetether.environment import clean_env
from codetether.errors import CodetetherError
from codetether.process import Completed, run_process

LARGEST_FILE = "100M"
# Hidden files are looked at, `.git` never; ignore files hold also outside a git repository.
ALWAYS = (
    *(
        "--no-config",
        "--color=never",
        "--no-messages",
        "--no-follow",
        "--no-pre",
        "--no-search-zip",
    ),
    *("--hidden", "--no-require-git", "--glob=!.git"),
)


def line_ends(pattern: str) -> tuple[str, ...]:
    """The option with which `$` is before the line end of Windows too. With it ripgrep takes no pattern that names that
    character, be it by its number.
    """
    names_it = any(word in pattern for word in ("\r", r"\r", r"\x", r"\u", r"\U"))
    return ("--crlf",) if "$" in pattern and not names_it else ()


def ripgrep_path() -> str:
    """The program: the one installed with us, else the one in PATH. Raises CodetetherError when there is none."""
    ours = os.path.join(os.path.dirname(sys.executable), "rg")
    found = ours if os.access(ours, os.X_OK) else shutil.which("rg")
    if not found:
        raise CodetetherError("ripgrep (rg) is not installed", "install the package `ripgrep`")
    return found


async def ripgrep(
    options: Sequence[str],
    paths: Sequence[str] = (),
    *,
    cwd: str | Path,
    pattern: str | None = None,
    timeout: float = 30.0,  # noqa: ASYNC109 - passed on; a timeout is a result
    **how: Any,
) -> Completed:
    """Search `paths` below `cwd` for `pattern`, or list files when it is None and `options` say so.

    `options` are ours to write: `--name=value` in one word each. Exit code 0: found, 1: nothing, 2: an error (a bad
    pattern says so in `errors`; files that cannot be read do not). `how` as for run_process.
    """
    # The size is asked of every file: that takes half as long again when there is nothing to read in them.
    wanted = (f"--max-filesize={LARGEST_FILE}", "-e", pattern) if pattern is not None else ()
    argv = [ripgrep_path(), *ALWAYS, *options, *wanted, "--", *paths]
    return await run_process(argv, cwd=cwd, env=clean_env(), timeout=timeout, **how)
