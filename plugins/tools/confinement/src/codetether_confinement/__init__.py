"""What confining sandboxes share: a seccomp filter made in Python, and attacks that show whether a sandbox confines."""

from __future__ import annotations

from codetether_confinement.filter import alone_filter, seccomp_filter
from codetether_confinement.probe import Proof, prove

__all__ = ["Proof", "alone_filter", "prove", "seccomp_filter"]
