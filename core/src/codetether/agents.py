"""The agents: build, plan and explore, and those people write as Markdown files with front matter.

A file `NAME.md` in `.codetether/agents/` (only in a trusted project) or in `agents/` of the user's configuration:
front matter `description`, `tools` (patterns), `effects` (read, write, execute, network, agent), `model`,
`max_steps`, `temperature`; the body is the prompt. The user's file wins over the project's, both over built-in ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from codetether.errors import ConfigError, UsageError
from codetether.words import Agent, Effect

READ_ONLY = frozenset({Effect.READ, Effect.NETWORK, Effect.AGENT})
_TEXTS = Path(__file__).parent / "prompts"


@cache
def _text(name: str) -> str:
    return (_TEXTS / f"{name}.md").read_text("utf-8").strip()


def built_in() -> dict[str, Agent]:
    """The three agents there always are."""
    return dict(_built_in())


@cache
def _built_in() -> dict[str, Agent]:
    return {
        "build": Agent("build", "Does the work with every tool", _text("build")),
        "plan": Agent(
            "plan",
            "Reads and plans, never changes anything",
            _text("plan"),
            READ_ONLY,
            max_steps=50,
        ),
        "explore": Agent(
            "explore",
            "Searches the code and reports",
            _text("explore"),
            frozenset({Effect.READ}),
            max_steps=20,
        ),
    }


def chat_prompt() -> str:
    """The system prompt of `run`: conversation, no tools."""
    return _text("chat")


def all_agents(user: Path, project: Path | None, settings: Mapping[str, Any]) -> dict[str, Agent]:
    """Every agent by name. `user` and `project` are folders of Markdown files (None: not trusted, not read);
    `settings` is the table `[agents]`, whose entries change single fields of an agent of that name.
    """
    agents = built_in()
    for folder in (project, user):
        if folder is not None and os.path.isdir(folder):
            for path in sorted(folder.glob("*.md")):
                agents[path.stem] = read_agent(path)
    for name, change in settings.items():
        base = agents.get(name, Agent(name, "", "", origin="settings"))
        agents[name] = _changed(base, change, f"settings [agents.{name}]")
    return {name: agent for name, agent in agents.items() if agent.prompt}


def choose(agents: Mapping[str, Agent], name: str) -> Agent:
    """The agent called `name`. Raises UsageError naming those there are."""
    if name not in agents:
        raise UsageError(f"there is no agent {name!r}", f"there are: {', '.join(sorted(agents))}")
    return agents[name]


def read_agent(path: Path) -> Agent:
    """One agent from its Markdown file. Raises ConfigError naming the file and the field."""
    head, body = split_front_matter(path.read_text("utf-8"), str(path))
    agent = Agent(path.stem, "", body.strip(), origin=str(path))
    return _changed(agent, head, str(path))


def split_front_matter(text: str, where: str) -> tuple[dict[str, Any], str]:
    """YAML between two lines of `---` at the top, and the rest; an empty mapping when there is none."""
    lines = text.split("\n")
    if lines[0].strip() != "---":
        return {}, text
    end = next((i for i, line in enumerate(lines[1:], 1) if line.strip() == "---"), None)
    if end is None:
        raise ConfigError(f"{where}: the front matter has no closing ---")
    import yaml

    try:
        head = yaml.safe_load("\n".join(lines[1:end])) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: the front matter is not YAML: {error}") from None
    if not isinstance(head, dict):
        raise ConfigError(f"{where}: the front matter is not a mapping")
    return head, "\n".join(lines[end + 1 :])


def _changed(agent: Agent, change: Mapping[str, Any], where: str) -> Agent:
    fields = dict(change)
    if isinstance(fields.get("tools"), str):
        fields["tools"] = [part.strip() for part in fields["tools"].split(",")]
    try:
        merged = msgspec.structs.asdict(agent) | fields
        return msgspec.convert(merged, Agent, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from None
