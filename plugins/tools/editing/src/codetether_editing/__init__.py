"""The text edit engine: byte-true documents, edit matching with fallbacks, bounded diffs.

Pure functions on bytes, shared by every tool that changes text (edit, write_file, multiedit, apply_patch). Names load
on first use: reading a file needs no diffs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_editing.diff import Diff, unified_diff
    from codetether_editing.document import Document, NotText, decode, render
    from codetether_editing.edit import EditOutcome, apply_edit
    from codetether_editing.kinds import image_mime, kind_of

_WHERE = {
    "diff": "Diff unified_diff",
    "document": "Document NotText decode render",
    "edit": "EditOutcome apply_edit",
    "kinds": "image_mime kind_of",
}

__all__ = [
    "Diff",
    "Document",
    "EditOutcome",
    "NotText",
    "apply_edit",
    "decode",
    "image_mime",
    "kind_of",
    "render",
    "unified_diff",
]

__getattr__ = lazy(globals(), _WHERE)
