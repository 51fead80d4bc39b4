"""Write the reference pages from the code: docs/hooks.md, docs/events.md, docs/config.md, docs/plugins/*.md.

    python core/dev/reference.py            write
    python core/dev/reference.py --check    exit 1 when a page is out of step (tests/rules does this)

Every member must be installed (`uv sync` does it): the pages say what the classes say.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from importlib import import_module
from typing import Any, cast

import msgspec
from codetether import hookspecs, ports
from codetether.ports import KINDS, Mode, NoSettings, Plugin, Tool
from codetether.settings import AgentSettings, General, RuleSettings
from events_reference import events_reference
from tables import arguments_table, doc, parameters_table, settings_table
from workspace import Member, Workspace

WRITTEN = "<!-- Written by core/dev/reference.py from the code. Change the code, then run it. -->\n"
TITLES = {
    "providers": "Providers", "tools": "Tools", "modes": "Modes", "ui": "Interfaces", "routers": "Routers",
    "secrets": "Secrets", "sandboxes": "Sandboxes", "executors": "Executors", "extensions": "Extensions",
}  # fmt: skip


class _Kernel:
    """What a plugin may use while it is built: its settings, here the defaults."""

    def settings(self, key: str, cls: type[msgspec.Struct]) -> msgspec.Struct:
        return cls()


class Entry:
    """One plugin of the workspace: its key, its distribution, its class, and an instance."""

    def __init__(self, key: str, value: str, member: Member) -> None:
        module, _, name = value.partition(":")
        self.key, self.member = key, member
        self.kind, _, self.name = key.partition(":")
        self.cls: type[Plugin] = getattr(import_module(module), name)
        self.plugin = self.cls(cast("Any", _Kernel()), key)


def entries(workspace: Workspace) -> list[Entry]:
    """Every plugin, by key."""
    found = [
        Entry(key, value, member)
        for member in workspace.plugins
        for key, value in member.entry_points.items()
    ]
    return sorted(found, key=lambda entry: entry.key)


# --- hooks -------------------------------------------------------------------------------------------------------
def hooks_page() -> str:
    """docs/hooks.md."""
    parts = [
        "# Hooks\n",
        WRITTEN,
        doc(hookspecs).replace("\n\nhistoric ", "\n\n```\nhistoric ") + "\n```\n",
    ]
    for name, function in vars(hookspecs.Specs).items():
        if name not in hookspecs.WAYS:
            continue
        word = "async def" if inspect.iscoroutinefunction(function) else "def"
        signature = inspect.signature(function)
        arguments = ", ".join(
            f"{p.name}: {p.annotation}" if p.annotation is not p.empty else p.name
            for p in signature.parameters.values()
        )
        parts.append(f"## `{name}`\n")
        parts.append(f"Way: **{hookspecs.WAYS[name]}**.\n")
        parts.append(
            f"```python\n{word} {name}({arguments}) -> {signature.return_annotation}\n```\n"
        )
        parts.append(doc(function) + "\n")
    return "\n".join(parts)


# --- plugins -----------------------------------------------------------------------------------------------------
GUARDS = """\
Each has one effect, and what guards it follows from that ([permissions](../permissions.md)); rules, grants, agents and hooks
can make it stricter, plugins never looser. A call in a `batch` or of a sub-agent is judged as any other.

| effect | unasked with access | beyond that |
|---|---|---|
| `read` | `ask`, `auto`, `full` | file tools stay in the workspace, links that lead out included, and leave out what rules deny |
| `write` | `auto`, `full` | in the workspace only, never in `.git`, never the agent's own settings; those of the repository are always asked; can be undone |
| `execute` | `auto` in a [sandbox](../sandbox.md), `full` | without a sandbox, or with its network open, commands that may send are asked in every mode; ended with all they started |
| `network` | `full` | an address the model made up is asked in every mode; private addresses are refused |
| `agent` | `ask`, `auto`, `full` | sub-agents may do no more than who started them, two levels deep, within budgets |
"""


def kind_page(kind: str, found: list[Entry]) -> str:
    """docs/plugins/<kind>.md."""
    singular = next(one for one, many in KINDS.items() if many == kind)
    port = getattr(ports, singular.capitalize())
    parts = [f"# {TITLES[kind]}\n", WRITTEN, doc(port) + "\n"]
    if port is Tool:
        parts += ["## What guards them\n", GUARDS]
    parts += ["| name | what it does | distribution |", "|---|---|---|"]
    parts += [
        f"| [`{entry.name}`](#{_anchor(entry.name)}) | {entry.member.table['description']} | {entry.member.name} |"
        for entry in found
    ]
    return "\n".join([*parts, "", *(section(entry) for entry in found)])


def section(entry: Entry) -> str:
    """One plugin: what it says of itself, what the model or the command line is told, its settings."""
    plugin = entry.plugin
    parts = [f"## `{entry.name}`\n", f"{entry.member.table['description']}. Key `{entry.key}`.\n"]
    own = doc(entry.cls)
    if own and own.rstrip(".") != entry.member.table["description"].rstrip("."):
        parts.append(own + "\n")
    if isinstance(plugin, Tool):
        parts += _tool(plugin)
    if isinstance(plugin, Mode):
        parser = argparse.ArgumentParser(prog=f"codetether {entry.name}", add_help=False)
        plugin.arguments(parser)
        parts += [*arguments_table(parser), ""]
    if entry.cls.Settings is not NoSettings:
        parts += [
            f'Settings, in the table `[plugins."{entry.key}"]`:\n',
            *settings_table(entry.cls.Settings),
            "",
        ]
    hooks = [name for name in hookspecs.WAYS if hasattr(entry.cls, name)]
    if hooks:
        parts.append(f"Hooks: {', '.join(f'[`{name}`](../hooks.md#{name})' for name in hooks)}.\n")
    return "\n".join(parts)


def _tool(tool: Tool[Any]) -> list[str]:
    schema = tool.schema()
    about = [f"Effect: [{tool.effect.value}](#what-guards-them)."]
    if tool.aliases:
        about.append(f"Also answers to {', '.join(f'`{alias}`' for alias in tool.aliases)}.")
    quoted = "\n".join(f"> {line}".rstrip() for line in schema.description.splitlines())
    return [" ".join(about) + "\n", quoted + "\n", *parameters_table(schema.parameters), ""]


def _anchor(name: str) -> str:
    return name.lower()


# --- settings ----------------------------------------------------------------------------------------------------
CONFIG = """\
Settings are TOML. The user's file is `config.toml` in the config directory (`codetether config path` names it);
`codetether.toml` and `.codetether/config.toml` of a repository come after it, and of those, until you trust the
repository, only what makes things stricter counts. The environment comes after all files, the command line last.
`codetether config show --origin` says where each value comes from; `config set KEY VALUE` writes one.
"""


def config_page(found: list[Entry]) -> str:
    """docs/config.md."""
    parts = ["# Settings\n", WRITTEN, CONFIG, "## The kernel's\n", *settings_table(General), ""]
    parts += ["## `[agents.NAME]`\n", doc(AgentSettings) + "\n", *settings_table(AgentSettings), ""]
    parts += [
        "## `[[permissions.rules]]`\n",
        doc(RuleSettings) + "\n",
        *settings_table(RuleSettings),
        "",
    ]
    parts.append("## The plugins'\n")
    for entry in found:
        if entry.cls.Settings is not NoSettings:
            parts += [f'### `[plugins."{entry.key}"]`\n', *settings_table(entry.cls.Settings), ""]
    return "\n".join(parts)


# --- all ---------------------------------------------------------------------------------------------------------
def pages(workspace: Workspace) -> dict[str, str]:
    """Every page by its path below docs/."""
    found = entries(workspace)
    kinds = [kind for kind in TITLES if any(entry.kind == kind for entry in found)]
    return {
        "hooks.md": hooks_page(),
        "events.md": events_reference(),
        "config.md": config_page(found),
        **{
            f"plugins/{kind}.md": kind_page(kind, [e for e in found if e.kind == kind])
            for kind in kinds
        },
    }


def main(words: list[str]) -> int:
    """Write, or with --check compare."""
    workspace = Workspace()
    docs = workspace.root / "docs"
    new = {docs / name: text.rstrip("\n") + "\n" for name, text in pages(workspace).items()}
    stale = {path for path in docs.glob("plugins/*.md") if path not in new}
    wrong = [
        path for path, text in new.items() if not path.exists() or path.read_text("utf-8") != text
    ]
    if "--check" in words:
        for path in [*wrong, *sorted(stale)]:
            print(
                f"{path.relative_to(workspace.root)} is out of step: run core/dev/reference.py",
                file=sys.stderr,
            )
        return int(bool(wrong or stale))
    for path in wrong:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(new[path], "utf-8")
    for path in stale:
        path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
