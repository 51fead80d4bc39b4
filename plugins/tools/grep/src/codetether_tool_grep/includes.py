"""`include` as ripgrep options.

A pattern of a file name goes through ripgrep's file types: its `--glob` would bring ignored files back. One with a
slash, or an exclusion, has to be a glob, counted from the workspace root.
"""

from __future__ import annotations

from codetether.api import ToolError


def include_options(include: str) -> list[str]:
    """The options for `include`: patterns separated by commas or spaces outside braces. Raises ToolError."""
    options: list[str] = []
    for pattern in _patterns(include):
        if pattern.startswith("!") or "/" in pattern:
            options.append(
                f"--glob={pattern.replace('./', '', 1) if pattern.startswith('./') else pattern}"
            )
        elif ":" in pattern:
            raise ToolError("include cannot hold a colon.", "INVALID_ARGUMENT")
        else:
            options.append(f"--type-add=wanted:{pattern}")
    if any(option.startswith("--type-add") for option in options):
        options.append("--type=wanted")
    return [*options, "--glob=!.git"] if options else []


def _patterns(include: str) -> list[str]:
    if "\0" in include:
        raise ToolError("include cannot hold a NUL character.", "INVALID_ARGUMENT")
    patterns, depth, start = [], 0, 0
    for at, sign in enumerate(include):
        depth += (sign == "{") - (sign == "}")
        if sign in ", \n" and depth <= 0:
            patterns.append(include[start:at])
            start = at + 1
    patterns.append(include[start:])
    return [pattern for pattern in patterns if pattern]
