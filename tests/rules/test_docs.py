"""Pages written from code say what the code says; pages written by hand name only what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from codetether.commands.new import plan_files, plan_for

ROOT = Path(__file__).parents[2]


def test_reference_pages_are_in_step():
    done = subprocess.run(
        [sys.executable, ROOT / "core/dev/reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_walk_through_shows_exactly_what_is_written(tmp_path):
    page = (ROOT / "docs/write-a-plugin.md").read_text("utf-8")
    blocks = {
        block.strip("\n")
        for block in re.findall(r"^```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    }
    files = plan_files(plan_for("tool", "hello", tmp_path, None))
    shown = {
        path: text.strip("\n") for path, text in files.items() if text and path.name != "README.md"
    }
    assert len(shown) == 4
    assert [path.name for path, text in shown.items() if text not in blocks] == []


def test_every_hook_has_a_page_entry():
    from codetether.hookspecs import WAYS, Specs

    page = (ROOT / "docs/hooks.md").read_text("utf-8")
    assert len(WAYS) == 14
    for name in WAYS:
        entry = page.partition(f"## `{name}`\n")[2].partition("\n## ")[0]
        assert f"**{WAYS[name]}**" in entry
        assert getattr(Specs, name).__doc__.split("\n")[0].strip() in entry


def test_links_between_pages_lead_somewhere(tracked):
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in tracked
        if page.suffix == ".md"
        for target in links(page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def links(text):
    return re.findall(
        r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )


def test_change_notes_are_named_for_their_kind():
    for note in (ROOT / "docs/changes").iterdir():
        assert note.name == "README.md" or re.fullmatch(
            r"[\w-]+\.(added|changed|fixed|removed)\.md", note.name
        )
