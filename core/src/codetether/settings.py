"""The kernel's own settings, as written in config.toml; docs/config.md and `config schema` come from here.

A field that names an environment variable says so in its Meta: `extra_json_schema={"env": NAME}`; plugins do the
same in their `Settings`. `{"secret": True}` hides a value in `config show`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

VerdictWord = Literal["allow", "ask", "deny"]
AccessWord = Literal["ask", "auto", "full"]


class RuleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One permission rule (docs/permissions.md). It speaks when everything it names matches."""

    verdict: Annotated[VerdictWord, Meta(description="What happens to a call that matches")]
    tool: Annotated[str, Meta(description="Tool name pattern")] = "*"
    command: Annotated[str, Meta(description="Pattern for the whole shell command")] = ""
    path: Annotated[str, Meta(description="Pattern for paths, relative to the workspace")] = ""
    url: Annotated[str, Meta(description="Pattern for the address")] = ""


class PermissionSettings(msgspec.Struct, frozen=True):
    """`[permissions]`: what tools may do without asking. Rules of all files add up; deny beats ask beats allow."""

    rules: Annotated[list[RuleSettings], Meta(description="Rules, see docs/permissions.md")] = []
    tools: Annotated[
        dict[str, VerdictWord], Meta(description='Short form by tool: bash = "ask"')
    ] = {}
    paths: Annotated[
        dict[str, VerdictWord], Meta(description='Short form by path: "secrets/**" = "deny"')
    ] = {}
    commands: Annotated[
        dict[str, VerdictWord], Meta(description='Short form by command: "git status" = "allow"')
    ] = {}


class SessionSettings(msgspec.Struct, frozen=True):
    """`[session]`: limits of a turn."""

    auto_compact: Annotated[
        bool, Meta(description="Shorten old context before it fills the model's window")
    ] = True
    max_steps: Annotated[
        Annotated[int, Meta(gt=0)] | None,
        Meta(
            description="Model calls per turn at most; unset: the agent's own limit",
            extra_json_schema={"env": "CODETETHER_MAX_STEPS"},
        ),
    ] = None
    budget_usd: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="US dollars a session may cost; unset: no limit",
            extra_json_schema={"env": "CODETETHER_BUDGET_USD"},
        ),
    ] = None


class AgentSettings(msgspec.Struct, frozen=True):
    """`[agents.NAME]`: change single fields of an agent, or make one. Unset fields stay as they are."""

    description: Annotated[str | UnsetType, Meta(description="What it is for, one line")] = UNSET
    prompt: Annotated[str | UnsetType, Meta(description="Its system prompt")] = UNSET
    model: Annotated[str | UnsetType, Meta(description="Model it uses, provider/model")] = UNSET
    temperature: Annotated[
        float | UnsetType, Meta(description="Sampling temperature; unset: the vendor's")
    ] = UNSET
    max_steps: Annotated[int | UnsetType, Meta(description="Model calls per turn at most")] = UNSET
    tools: Annotated[
        list[str] | UnsetType, Meta(description="Name patterns of the tools it is offered")
    ] = UNSET
    effects: Annotated[
        list[Literal["read", "write", "execute", "network", "agent"]] | UnsetType,
        Meta(description="What its tools may do; enforced"),
    ] = UNSET


class PluginSettings(msgspec.Struct, frozen=True):
    """`[plugins]`: which plugins are on. A switch is a key (`tools:bash`), a kind (`tools`) or a distribution.
    A plugin's own settings are the table `[plugins."<key>"]`.
    """

    off: Annotated[
        list[str],
        Meta(
            description="Switched off; the lists of all files add up",
            extra_json_schema={"env": "CODETETHER_PLUGINS_OFF"},
        ),
    ] = []
    only: Annotated[
        list[str] | None, Meta(description="If given, only these are on; `off` still takes away")
    ] = None
    choose: Annotated[
        dict[str, str], Meta(description="Which distribution owns a key that several offer")
    ] = {}


class General(msgspec.Struct, frozen=True):
    """Everything in config.toml that belongs to the kernel."""

    default_model: Annotated[
        str,
        Meta(
            description="Model used when none is named: provider/model",
            extra_json_schema={"env": "CODETETHER_DEFAULT_MODEL"},
        ),
    ] = ""
    default_provider: Annotated[
        str,
        Meta(
            description="Provider used when default_model names none",
            extra_json_schema={"env": "CODETETHER_DEFAULT_PROVIDER"},
        ),
    ] = ""
    default_agent: Annotated[
        str,
        Meta(
            description="Agent used when none is named",
            extra_json_schema={"env": "CODETETHER_DEFAULT_AGENT"},
        ),
    ] = "build"
    access: Annotated[
        AccessWord,
        Meta(
            description="What needs no question: ask (reading), auto (also edits, and commands in a sandbox), full",
            extra_json_schema={"env": "CODETETHER_ACCESS"},
        ),
    ] = "ask"
    sandbox: Annotated[
        str,
        Meta(
            description="Name of a sandbox plugin, or auto: the strongest that works here",
            extra_json_schema={"env": "CODETETHER_SANDBOX"},
        ),
    ] = "auto"
    processes: Annotated[
        int, Meta(description="Processes and threads a command may have at one time", ge=10)
    ] = 2000
    session: Annotated[SessionSettings, Meta(description="Limits of a turn")] = SessionSettings()
    permissions: Annotated[PermissionSettings, Meta(description="Rules for tool calls")] = (
        PermissionSettings()
    )
    plugins: Annotated[PluginSettings, Meta(description="Which plugins are on")] = PluginSettings()
    agents: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="Changes to agents, and agents of your own: see AgentSettings"),
    ] = {}


def metas(annotation: Any) -> list[Meta]:
    """The Meta objects of an Annotated type, outermost last."""
    return [item for item in getattr(annotation, "__metadata__", ()) if isinstance(item, Meta)]


def note(annotation: Any, name: str) -> Any:
    """The value of `name` in a field's `extra_json_schema` (env, secret), or None."""
    for meta in metas(annotation):
        if meta.extra_json_schema and name in meta.extra_json_schema:
            return meta.extra_json_schema[name]
    return None


def description(annotation: Any) -> str:
    """A field's description, or nothing."""
    return next((meta.description for meta in metas(annotation) if meta.description), "")
