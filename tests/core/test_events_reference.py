"""The page about events says what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import get_args

from codetether import events

ROOT = Path(__file__).parents[2]


def reference():
    spec = importlib.util.spec_from_file_location(
        "events_reference", ROOT / "core/dev/events_reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.events_reference()


def test_the_page_is_in_step():
    page = (ROOT / "docs/events.md").read_text("utf-8")
    assert page == reference(), "run: python core/dev/events_reference.py --write"


def test_every_event_and_key_is_there():
    text = reference()
    for event in get_args(events.SessionEvent):
        section = text.split(f"### `{event.__struct_config__.tag}`\n")[1].split("\n### ")[0]
        assert all(f"| `{name}` |" in section for name in event.__struct_fields__)
