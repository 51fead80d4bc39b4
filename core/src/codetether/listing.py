"""What is installed, as text: `plugins list`, `tools list`, `--help`. Imports nothing that a bare interpreter lacks.

`off` are switches (a key, a kind or a distribution); what they switch off is shown as such, never left out, because a
list that hides a plugin makes it look uninstalled.
"""

import os

TYPE_CHECKING = False  # typing itself would double the time of these commands
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from codetether.catalog import Row
    from codetether.layers import Layer

_KINDS = (
    "providers",
    "tools",
    "modes",
    "ui",
    "routers",
    "secrets",
    "sandboxes",
    "executors",
    "extensions",
)
_BARE = """\
Only the kernel is installed. Add what you need, from where the kernel came from and not by name from an index
(in a checkout: uv sync):
  codetether           the default set
  codetether[all]      everything
  codetether-provider-anthropic codetether-tool-bash codetether-mode-exec    or one by one"""


def plugins(rows: "Sequence[Row]", off: "Sequence[str]" = (), *, as_json: bool = False) -> str:
    """Every plugin by kind: name, version, what it does, and its distribution where the name does not say it."""
    if as_json:
        return _json(rows, off)
    if not rows:
        return _BARE
    kinds = [kind for kind in _KINDS if any(row.kind == kind for row in rows)]
    kinds += sorted({row.kind for row in rows} - set(_KINDS))
    blocks = []
    owners = _owners(rows, off)
    width = max(len(row.name) for row in rows)
    version = max(len(row.version) for row in rows)
    for kind in kinds:
        lines = [kind]
        lines += [
            f"  {_plain(row.name):{width}}  {_plain(row.version):{version}}  {_about(row, owners, off)}"
            for row in rows
            if row.kind == kind
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def tools(rows: "Sequence[Row]", off: "Sequence[str]" = (), *, as_json: bool = False) -> str:
    """Every tool: the name a model calls, and what it does."""
    found = [row for row in rows if row.kind == "tools"]
    if as_json:
        return _json(found, off)
    if not rows:
        return _BARE
    if not found:
        from codetether.installing import install_hint

        return f"No tool is installed: {install_hint('codetether[tools]')}"
    owners = _owners(rows, off)
    width = max(len(row.name) for row in found)
    return "\n".join(f"{_plain(row.name):{width}}  {_about(row, owners, off)}" for row in found)


def help_text(
    rows: "Sequence[Row]", commands: "Mapping[str, str]", off: "Sequence[str]" = ()
) -> str:
    """The command's help: its own commands, and the modes, providers and interfaces that are installed."""
    modes = [row for row in rows if row.kind == "modes"]
    owners = _owners(rows, off)
    width = max(map(len, [*commands, *(row.name for row in modes)]), default=0)
    out = [
        "usage: codetether [-p no:KEY]... COMMAND [ARGUMENTS]",
        "",
        "A coding agent where everything is a plugin.",
        "",
    ]
    if modes:
        out += [
            "modes:",
            *(f"  {_plain(row.name):{width}}  {_about(row, owners, off)}" for row in modes),
            "",
        ]
    out += ["commands:", *(f"  {name:{width}}  {about}" for name, about in commands.items()), ""]
    for kind in ("providers", "tools", "ui"):
        names = sorted(
            {_plain(row.name) for row in rows if row.kind == kind and not _is_off(row, off)}
        )
        if names:
            out += [_wrapped(f"{kind}: ", names)]
    if out[-1]:
        out.append("")
    out += [
        "options:",
        "  -h, --help  this text; after a command: its own",
        "  --version   the version",
        "  -p no:KEY   switch a plugin off for this run, as in -p no:tools:bash",
    ]
    if not rows:
        out += ["", _BARE]
    return "\n".join(out)


def switched_off_by_settings(rows: "Sequence[Row]", directory: str = ".") -> "list[str]":
    """What settings files switch off, as switches; a broken file is told on stderr and switches nothing off.

    Nothing is parsed where no file exists: that keeps the usual start fast.
    """
    off: list[str] = []
    only: list[str] | None = None
    for table in _plugins_tables(directory):
        off += _words(table.get("off"))
        only = _words(table["only"]) if isinstance(table.get("only"), list) else only
    return [*off, *off_by_only(rows, only)]


def off_by_only(rows: "Sequence[Row]", only: "Sequence[str] | None") -> "list[str]":
    """The keys that a list of `only` leaves out, as switches; nothing when there is no such list."""
    return [] if only is None else [row.key for row in rows if not _is_off(row, only)]


def _plugins_tables(directory: str) -> "Iterator[dict[str, Any]]":
    """The table `[plugins]` of each settings file that counts: the user's, then the project's trusted ones."""
    from codetether import layers

    project = layers.project_files(directory)
    trusted: dict[str, str] = {}
    root = ""
    if project:
        from codetether.trust import records

        root = layers.repo_root(directory)
        trusted = records().get(root, {})
    for path in [layers.user_file(os.environ), *project]:
        layer = _layer(path)
        if layer is None:
            continue
        if path in project and trusted.get(os.path.relpath(path, root)) != layer.digest:
            continue
        table = layer.table.get("plugins")
        if isinstance(table, dict):
            yield table


def _layer(path: str) -> "Layer | None":
    from codetether.layers import read_layer

    if not os.path.isfile(path):
        return None
    from codetether.errors import ConfigError

    try:
        return read_layer(path)
    except ConfigError as error:
        import sys

        from codetether.terminal import clean

        print(f"codetether: {clean(error.message)}", file=sys.stderr)
        return None


def _words(value: "Any") -> "list[str]":
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _is_off(row: "Row", off: "Sequence[str]") -> bool:
    return row.key in off or row.kind in off or row.dist in off


def _owners(rows: "Sequence[Row]", off: "Sequence[str]") -> "dict[tuple[str, str], list[str]]":
    """Who offers each plugin that is on."""
    owners: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if not _is_off(row, off):
            owners.setdefault((row.kind, row.name), []).append(row.dist)
    return owners


def _about(row: "Row", owners: "dict[tuple[str, str], list[str]]", off: "Sequence[str]") -> str:
    """The summary with what a person must know: switched off, offered twice, not ours."""
    ours = (
        "codetether-"
        + (row.kind[:-2] if row.kind == "sandboxes" else row.kind.removesuffix("s"))
        + "-"
    )
    notes = (
        [] if row.dist.startswith((ours, "codetether-secrets-")) else [f"from {_plain(row.dist)}"]
    )
    if _is_off(row, off):
        notes.append("off")
    if twins := [dist for dist in owners.get((row.kind, row.name), ()) if dist != row.dist]:
        notes.append(
            f"also offered by {', '.join(map(_plain, twins))}: see `codetether plugins doctor`"
        )
    return _plain(row.summary) + (f" ({'; '.join(notes)})" if notes else "")


def _json(rows: "Sequence[Row]", off: "Sequence[str]") -> str:
    import json

    return json.dumps(
        [
            {
                "key": row.key,
                "kind": row.kind,
                "name": row.name,
                "value": row.value,
                "distribution": row.dist,
                "version": row.version,
                "summary": row.summary,
                "on": not _is_off(row, off),
            }
            for row in rows
        ],
        indent=1,
    )


def _wrapped(head: str, names: "list[str]", width: int = 100) -> str:
    lines, line = [], head
    for index, name in enumerate(names):
        word = name if index == len(names) - 1 else name + ", "
        if len(line) + len(word) > width:
            lines.append(line.rstrip())
            line = " " * len(head)
        line += word
    return "\n".join([*lines, line])


def _plain(text: str) -> str:
    """Metadata of a stranger's distribution must not steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
