"""The catalog against importlib.metadata, and its switches."""

import subprocess
import sys
from importlib import metadata

from codetether.catalog import Row, scan, switched


def dist_info(
    root,
    name,
    entry_points,
    summary="Says hello",
    version="1.2",
    suffix="dist-info",
    meta="METADATA",
):
    folder = root / f"{name.replace('-', '_')}-{version}.{suffix}"
    folder.mkdir()
    (folder / "entry_points.txt").write_text(entry_points)
    (folder / meta).write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {summary}\n\nSummary: body\n"
    )


def row(key, dist="d"):
    kind, _, name = key.partition(":")
    return Row(kind, name, "m:C", dist, "1", "", "")


def test_equals_importlib_metadata():
    slow = sorted({
        (f"{ep.group.removeprefix('codetether.')}:{ep.name}", ep.value, dist.name, dist.version)
        for dist in metadata.distributions()
        for ep in dist.entry_points
        if ep.group.startswith("codetether.")
    })  # fmt: skip
    assert slow
    assert sorted((r.key, r.value, r.dist, r.version) for r in scan()) == slow


def test_reads_what_tools_write(tmp_path):
    dist_info(
        tmp_path,
        "acme-hello",
        "[console_scripts]\nx = y:z\n\n[codetether.tools]\n# a comment\nhello=acme_hello:Hello [extra]\n",
    )
    dist_info(
        tmp_path,
        "old-style",
        "[codetether.modes]\nold = old:Old\n",
        suffix="egg-info",
        meta="PKG-INFO",
    )
    (tmp_path / "junk.dist-info").mkdir()
    found = scan([str(tmp_path), str(tmp_path / "absent")])
    assert [(r.key, r.value, r.dist, r.version, r.summary) for r in found] == [
        ("modes:old", "old:Old", "old-style", "1.2", "Says hello"),
        ("tools:hello", "acme_hello:Hello", "acme-hello", "1.2", "Says hello"),
    ]


def test_first_on_the_path_wins(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        dist_info(tmp_path / name, "acme", f"[codetether.tools]\n{name} = m:C\n")
    assert [r.name for r in scan([str(tmp_path / "b"), str(tmp_path / "a")])] == ["b"]


def test_switches_name_a_key_a_kind_or_a_distribution():
    rows = [row("tools:bash"), row("tools:grep"), row("modes:run"), row("ui:plain", "acme")]

    def keys(*args):
        return [r.key for r in switched(rows, *args)]

    assert keys(("tools:bash",)) == ["tools:grep", "modes:run", "ui:plain"]
    assert keys(("tools", "acme")) == ["modes:run"]
    assert keys((), ("tools", "modes:run")) == ["tools:bash", "tools:grep", "modes:run"]
    assert keys(("tools:bash",), ("tools",)) == ["tools:grep"]
    assert keys((), ()) == []


def test_scan_imports_nothing_but_itself():
    code = (
        "import sys; before = set(sys.modules); from codetether.catalog import scan; scan();"
        "print(sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['codetether', 'codetether.catalog']"
