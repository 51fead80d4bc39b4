"""`codetether config`: show, init, set, path, schema, trust, distrust."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from codetether import layers, trust
from codetether.commands import config_edit, config_view
from codetether.errors import CodetetherError, UsageError
from codetether.terminal import clean, is_terminal

if TYPE_CHECKING:
    from codetether.kernel import Kernel

ACTIONS = ("show", "init", "set", "path", "schema", "trust", "distrust")


def arguments(parser: ArgumentParser) -> None:
    """Declare the words and flags; `--show`, `--init` and `--set KEY=VALUE` are the original's spellings."""
    parser.add_argument("action", nargs="?", choices=ACTIONS, help="what to do (default: show)")
    parser.add_argument(
        "words", nargs="*", metavar="KEY VALUE", help="for set: the key and its new value"
    )
    parser.add_argument("--json", action="store_true", help="show: as JSON")
    parser.add_argument(
        "--origin", action="store_true", help="show: say where each value comes from"
    )
    parser.add_argument(
        "--project", action="store_true", help="set: in the project's file, not yours"
    )
    parser.add_argument("--show", action="store_true", help="the same as show")
    parser.add_argument("--init", action="store_true", help="the same as init")
    parser.add_argument("--set", metavar="KEY=VALUE", help="the same as set KEY VALUE")


async def run(args: Namespace, kernel: Kernel) -> int:
    """Do it; 0, or an error with a hint."""
    action = _action(args)
    if action == "set":
        key, value = _pair(args.words, args.set)
        told = await trio.to_thread.run_sync(config_edit.put, kernel, key, value, args.project)
        _print(told)
        return 0
    if args.words:
        raise UsageError(
            f"config {action} takes no further words", "see `codetether config --help`"
        )
    if action == "show":
        _print(config_view.show(kernel, as_json=args.json, origin=args.origin))
        for text, hint in kernel.config.notices:
            more = f"\n  {clean(hint)}" if hint else ""
            print(f"warning: {clean(text)}{more}", file=sys.stderr)
    elif action == "init":
        _print(f"wrote {await trio.to_thread.run_sync(config_edit.init, kernel)}")
    elif action == "path":
        _print("\n".join(_paths(kernel)))
    elif action == "schema":
        _print(json.dumps(config_view.schema(kernel), indent=2, ensure_ascii=False))
    else:
        _print(await trio.to_thread.run_sync(_trust if action == "trust" else _distrust, kernel))
    return 0


def _action(args: Namespace) -> str:
    asked = [name for name in ("show", "init") if getattr(args, name)] + (
        ["set"] if args.set is not None else []
    )
    given = [args.action] if args.action else []
    if len(set(asked + given)) > 1:
        raise UsageError(f"one thing at a time, not {' and '.join(dict.fromkeys(asked + given))}")
    return next(iter(asked + given), "show")


def _pair(words: list[str], flag: str | None) -> tuple[str, str]:
    if flag is not None:
        words = [flag, *words]
    if len(words) == 1 and "=" in words[0]:
        key, _, value = words[0].partition("=")
        return key, value
    if len(words) != 2:
        raise UsageError(
            "set takes a key and a value", "for example: codetether config set access auto"
        )
    return words[0], words[1]


def _print(text: str) -> None:
    print(clean(text) if is_terminal(sys.stdout) else text, flush=True)


def _paths(kernel: Kernel) -> list[str]:
    config = kernel.config
    read = {str(path) for path in config.files}
    paths = [str(config.dirs.file), *layers.project_files(str(config.directory))]
    lines = [path if path in read else f"{path} (not there)" for path in dict.fromkeys(paths)]
    return [*lines, f"{config.dirs.data} (data)", f"{config.dirs.cache} (cache)"]


def _distrust(kernel: Kernel) -> str:
    trust.distrust(kernel.config.directory, kernel.dirs)
    return f"{layers.repo_root(str(kernel.config.directory))} is not trusted any more"


def _trust(kernel: Kernel) -> str:
    directory = kernel.config.directory
    root = layers.repo_root(str(directory))
    if root == os.path.realpath(Path.home()):
        raise CodetetherError(
            f"{root} is your home directory", "trust a project, not everything you have"
        )
    files = trust.trust(directory, kernel.dirs)
    names = [f"  {name}" for name in files] or [
        "  (none yet: you are asked about those that come later)"
    ]
    return "\n".join([f"trusted {root}, with these files as they are now:", *names])
