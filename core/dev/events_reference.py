"""Write docs/events.md from the code: the events of a session, and the nouns they hold.

python core/dev/events_reference.py            print it
python core/dev/events_reference.py --write    write docs/events.md
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from codetether import events, words

# Events of long work, which its modes write in the same form: title, module, union.
MORE = (
    ("Swarm", "codetether_mode_swarm.events", "SwarmEvent"),
    ("RLM", "codetether_mode_rlm.events", "RlmEvent"),
    ("Ralph", "codetether_mode_ralph.events", "RalphEvent"),
)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "events.md"
HEAD = """\
# Events

What happens in a session, for programs that watch: `codetether exec --format stream-json` writes one event a line on
standard output, UTF-8, each a JSON object. This page is written from `codetether.events` and `codetether.words`.

Every line begins with four keys: `v`, the version of this format (now {version}); `seq`, from 1 without gaps; `ts`, seconds
since 1970; `type`, one of the names below. The event's own keys follow. A key that has its default value may be absent.
New keys and new types may come without a new version: ignore what you do not know.

A turn goes `turn_started`, then for each step `step_started`, deltas, `message_done`, `step_finished`, and for each tool call
`tool_started`, `tool_progress`, `tool_finished` (calls that only read run side by side); at the end `turn_finished`, whose
`reason` says how. A session that is over ends with `session_finished`. Deltas (`text_delta`, `thought_delta`,
`tool_progress`) that a slow reader has not taken join; their text joined is the same. `retrying` makes void what the
deltas of this step said before it.
"""


def events_reference() -> str:
    """The text of docs/events.md."""
    shown = get_args(events.SessionEvent)
    parts = [HEAD.format(version=events.EVENTS_VERSION), "## Events\n"]
    parts += [_section(cls, f"`{cls.__struct_config__.tag}`") for cls in shown]
    parts.append("## What they hold\n")
    parts += [_section(cls, cls.__name__) for cls in _held(shown)]
    for title, name, union in MORE:
        module = import_module(name)
        parts.append(f"## {title}\n\n{inspect.cleandoc(module.__doc__ or '')}\n")
        kinds = get_args(getattr(module, union))
        parts += [_section(cls, f"`{cls.__struct_config__.tag}`") for cls in kinds]
    return "\n".join(parts)


def _held(shown: Iterable[type]) -> list[type[msgspec.Struct]]:
    """The structs reachable from the events, in the order of `codetether.words`."""
    found: dict[type[msgspec.Struct], None] = {}
    todo: list[Any] = list(shown)
    while todo:
        for hint in get_type_hints(todo.pop()).values():
            for leaf in _leaves(hint):
                if (
                    isinstance(leaf, type)
                    and issubclass(leaf, msgspec.Struct)
                    and leaf not in found
                ):
                    found[leaf] = None
                    todo.append(leaf)
    order = list(vars(words))
    return sorted(found, key=lambda cls: order.index(cls.__name__))


def _leaves(hint: Any) -> list[Any]:
    return [leaf for arg in get_args(hint) for leaf in _leaves(arg)] or [hint]


def _section(cls: type[msgspec.Struct], title: str) -> str:
    text = inspect.cleandoc(cls.__doc__ or "")
    tag = cls.__struct_config__.tag
    kind = f"`type` is `{tag}`. " if tag and title == cls.__name__ else ""
    lines = [f"### {title}\n", f"{kind}{text}\n"]
    fields = msgspec.structs.fields(cls)
    if fields:
        hints = get_type_hints(cls)
        lines += ["| key | type | default |", "|---|---|---|"]
        lines += [f"| `{f.encode_name}` | {_type(hints[f.name])} | {_default(f)} |" for f in fields]
        lines.append("")
    return "\n".join(lines)


def _type(hint: Any) -> str:
    """A type in the words of JSON."""
    simple = {str: "string", int: "integer", float: "number", bool: "true or false", bytes: "string (base64)",
              type(None): "null", Any: "anything"}  # fmt: skip
    if hint in simple:
        return simple[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        return " or ".join(_type(arg) for arg in args)
    if origin is Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if origin in (tuple, list, frozenset):
        return f"list of {_type(args[0])}"
    if origin is dict:
        return "object"
    return f"[{hint.__name__}](#{re.sub('[^a-z]', '', hint.__name__.lower())})"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        value = field.default
    elif field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    else:
        return ""
    return f"`{msgspec.json.encode(value).decode()}`"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(events_reference(), "utf-8")
    else:
        print(events_reference(), end="")
