"""What the NATS executor and the swarm worker share: the connection, the messages, and commits on their way.

Names load on first use. docs/swarm.md, "More than one machine", says how the parts play together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_nats.bundles import check_tip, fetch, import_commits, pack
    from codetether_nats.link import Link, Unreachable
    from codetether_nats.messages import Bundle, Job, Record, Told, key_of, stamp
    from codetether_nats.place import Place

_WHERE = {
    "bundles": "check_tip fetch import_commits pack",
    "link": "Link Unreachable",
    "messages": "Bundle Job Record Told key_of stamp",
    "place": "Place",
}

__all__ = [
    "Bundle",
    "Job",
    "Link",
    "Place",
    "Record",
    "Told",
    "Unreachable",
    "check_tip",
    "fetch",
    "import_commits",
    "key_of",
    "pack",
    "stamp",
]

__getattr__ = lazy(globals(), _WHERE)
