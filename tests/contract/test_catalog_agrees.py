"""The kernel's quick scan against importlib.metadata, the slow authority."""

from __future__ import annotations

from importlib.metadata import distributions

from codetether.catalog import scan


def test_the_catalog_finds_what_importlib_metadata_finds():
    slow = {}
    for dist in distributions():
        for entry in dist.entry_points if dist.name not in {d for d, _ in slow} else ():
            if entry.group.startswith("codetether."):
                slow[dist.name, f"{entry.group.removeprefix('codetether.')}:{entry.name}"] = (
                    entry.value,
                    dist.version,
                    dist.metadata["Summary"],
                )
    quick = {(row.dist, row.key): (row.value, row.version, row.summary) for row in scan()}
    assert quick == slow
    assert quick
