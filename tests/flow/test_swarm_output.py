"""`codetether swarm` whose standard output takes nothing: said in a sentence, and the run stops where it can go on."""

from __future__ import annotations

import json

import pytest

PLAN = json.dumps({"subtasks": [{"name": "one", "instruction": "Look.", "writes": False}]})


def said(asked):
    return PLAN if "You plan work" in json.dumps(asked["messages"]) else "done"


@pytest.mark.parametrize(
    ("form", "why"),
    [("json", "standard output cannot be written: No space"), ("stream-json", "events cannot be written any more: No space")],
)  # fmt: skip
async def test_a_full_disk_below_standard_output(place, form, why):
    place.write(a_dot_txt="one\n")
    script = f'exec "$@" --format {form} > /dev/full'
    async with place.model(said):
        running = await place.start(
            "swarm", "look", "-m", "local/scripted", argv=("bash", "-c", script, "sh")
        )
        done = await running.end()
    assert done.code == 1
    assert why in done.err
    assert "Traceback" not in done.err
