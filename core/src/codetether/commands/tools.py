"""`codetether tools`: list them, or show what a model is told about one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from codetether.errors import PluginError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from codetether.catalog import Row
    from codetether.kernel import Kernel
    from codetether.ports import Tool


def arguments(parser: ArgumentParser) -> None:
    """`list`, `show NAME`."""
    words = parser.add_subparsers(dest="word", required=True, metavar="{list,show}")
    listed = words.add_parser("list", help="list the tools, without importing them")
    listed.add_argument("--json", action="store_true", help="print JSON")
    show = words.add_parser("show", help="show what a model is told about a tool")
    show.add_argument("name", metavar="NAME", help="a tool's name, or one of its aliases")
    show.add_argument("--json", action="store_true", help="print JSON")


async def run(args: Namespace, kernel: Kernel) -> int:
    """Exit 1 when the tool is absent or faulty."""
    if args.word == "list":
        from codetether import listing

        off = [*kernel.config.off, *listing.off_by_only(kernel.catalog, kernel.config.only)]
        print(listing.tools(kernel.catalog, off, as_json=args.json))
        return 0
    tool = _tool(kernel, args.name)
    row = kernel.host.find("tools", tool.name)
    print(json.dumps(facts(tool, row), indent=1) if args.json else _text(tool, row))
    return 0


def _tool(kernel: Kernel, name: str) -> Tool[Any]:
    if name in kernel.host.names("tools"):
        tool: Tool[Any] = kernel.plugin("tools", name)
        return tool
    for tool in kernel.host.load_all("tools"):
        if name in tool.aliases:
            return tool
    from difflib import get_close_matches

    names = kernel.host.names("tools")
    near = get_close_matches(name, names, 2)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise PluginError(
        f"there is no tool {name!r}", f"{meant}there are: {', '.join(names) or 'none'}"
    )


def facts(tool: Tool[Any], row: Row) -> dict[str, Any]:
    """All that can be said of a tool, ready for JSON."""
    schema = tool.schema()
    return {
        "name": tool.name,
        "distribution": row.dist,
        "version": row.version,
        "summary": row.summary,
        "effect": tool.effect.value,
        "aliases": list(tool.aliases),
        "description": schema.description,
        "parameters": schema.parameters,
    }


def _text(tool: Tool[Any], row: Row) -> str:
    from codetether.terminal import clean

    told = facts(tool, row)
    lines = [
        f"{told['name']}: {told['summary']}",
        f"from {told['distribution']} {told['version']}; effect: {told['effect']}",
    ]
    if told["aliases"]:
        lines.append(f"also called: {', '.join(told['aliases'])}")
    lines += ["", told["description"], "", json.dumps(told["parameters"], indent=1)]
    return clean("\n".join(lines))
