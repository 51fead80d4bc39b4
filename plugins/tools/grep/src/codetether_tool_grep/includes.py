"""`include` and `type` as ripgrep options.

A pattern of a file name goes through ripgrep's file types: its `--glob` would bring ignored files back. One with a
slash, or an exclusion, has to be a glob, counted from the workspace root.
"""

from __future__ import annotations

import re

from codetether.api import ToolError

_TYPE = re.compile("[a-z0-9_+-]{1,40}")


def type_options(types: str) -> list[str]:
    """The options for `types`, names separated by commas or spaces. Raises ToolError."""
    names = types.replace(",", " ").split()
    if not all(_TYPE.fullmatch(name) for name in names):
        raise ToolError(
            f"{types!r} is no type. Types are names such as py, js or rust.", "INVALID_ARGUMENT"
        )
    return [f"--type={name}" for name in names]


def include_options(include: str, *, typed: bool = False) -> list[str]:
    """The options for `include`: patterns separated by commas or spaces outside braces. Raises ToolError.

    `typed`: there are types, too; ripgrep would then take the files of either.
    """
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
        if typed:
            raise ToolError("Give type or include, not both.", "INVALID_ARGUMENT")
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
