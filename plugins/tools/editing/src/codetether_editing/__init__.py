"""The text edit engine: byte-true documents, edit matching with fallbacks, bounded diffs.

Shared by every tool that changes text (edit, write_file, multiedit, apply_patch). All but `several`, `patch_files`
and `confirm` are pure functions on bytes. Names load on first use: reading a file needs no diffs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_editing.asked import Edits, OneEdit
    from codetether_editing.confirm import confirm
    from codetether_editing.diff import Diff, unified_diff
    from codetether_editing.document import Document, NotText, decode, render
    from codetether_editing.edit import EditOutcome, apply_edit
    from codetether_editing.kinds import image_mime, kind_of
    from codetether_editing.patch import FilePatch, Hunk, parse
    from codetether_editing.patch_files import patched
    from codetether_editing.patch_lines import patch_bytes
    from codetether_editing.several import Draft, commit, diff_of, drafts_of, locked

_WHERE = {
    "asked": "Edits OneEdit",
    "confirm": "confirm",
    "diff": "Diff unified_diff",
    "document": "Document NotText decode render",
    "edit": "EditOutcome apply_edit",
    "kinds": "image_mime kind_of",
    "patch": "FilePatch Hunk parse",
    "patch_files": "patched",
    "patch_lines": "patch_bytes",
    "several": "Draft commit diff_of drafts_of locked",
}

__all__ = [
    "Diff",
    "Document",
    "Draft",
    "EditOutcome",
    "Edits",
    "FilePatch",
    "Hunk",
    "NotText",
    "OneEdit",
    "apply_edit",
    "commit",
    "confirm",
    "decode",
    "diff_of",
    "drafts_of",
    "image_mime",
    "kind_of",
    "locked",
    "parse",
    "patch_bytes",
    "patched",
    "render",
    "unified_diff",
]

__getattr__ = lazy(globals(), _WHERE)
