"""Git worktrees for agents that work side by side in one repository.

Each has a branch of its own, and what was done in it is merged by the coordinator. Nothing here deletes a commit that
is not contained in another branch, or touches what the user has not committed. Names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_worktrees.cleanup import Left, discard, remove, spare
    from codetether_worktrees.landing import Landing, advance, land
    from codetether_worktrees.leases import Lease
    from codetether_worktrees.locks import unlock
    from codetether_worktrees.merging import Merge, abort, conclude, merge, unresolved
    from codetether_worktrees.packages import link_packages
    from codetether_worktrees.repository import (
        GitFailed,
        NoRepository,
        Repository,
        names,
        place_of,
        plain,
    )
    from codetether_worktrees.reusing import reuse
    from codetether_worktrees.trees import (
        PREFIX,
        Worktree,
        adopt,
        commit,
        create,
        squash,
        within,
    )

_WHERE = {
    "cleanup": "Left discard remove spare",
    "landing": "Landing advance land",
    "leases": "Lease",
    "locks": "unlock",
    "merging": "Merge abort conclude merge unresolved",
    "packages": "link_packages",
    "repository": "GitFailed NoRepository Repository names place_of plain",
    "reusing": "reuse",
    "trees": "PREFIX Worktree adopt commit create squash within",
}

__all__ = [
    "PREFIX",
    "GitFailed",
    "Landing",
    "Lease",
    "Left",
    "Merge",
    "NoRepository",
    "Repository",
    "Worktree",
    "abort",
    "adopt",
    "advance",
    "commit",
    "conclude",
    "create",
    "discard",
    "land",
    "link_packages",
    "merge",
    "names",
    "place_of",
    "plain",
    "remove",
    "reuse",
    "spare",
    "squash",
    "unlock",
    "unresolved",
    "within",
]

__getattr__ = lazy(globals(), _WHERE)
