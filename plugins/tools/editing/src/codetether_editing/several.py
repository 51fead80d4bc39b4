"""Several files changed by one call: drafts in memory, one diff, and all of them written or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from codetether.api import Change, ToolError, Workspace

from codetether_editing.diff import LARGEST, Diff, unified_diff
from codetether_editing.edit import apply_edit

if TYPE_CHECKING:
    from codetether_editing.asked import OneEdit


class Draft(msgspec.Struct):
    """What a file was and will be (None: no file). `known`: the agent had read `before`; `loose`: how edits that were
    not found as written were matched; `executable` and `mode` as codetether.changes.Change; `origin`: the path and
    content this one was moved or copied from, which then is `moved`.
    """

    path: str
    before: bytes | None
    after: bytes | None
    digest: str = ""
    known: bool = True
    changed: bool = False
    executable: bool | None = None
    mode: int | None = None
    edits: int = 0
    loose: list[str] = []
    origin: tuple[str, bytes] | None = None
    moved: bool = False


@asynccontextmanager
async def locked(workspace: Workspace, paths: Iterable[str]) -> AsyncIterator[None]:
    """Hold the locks of all files, taken in one order whoever asks. Raises ToolError for paths outside."""
    async with AsyncExitStack() as stack:
        for path in sorted({workspace.real(path) for path in paths}):
            await stack.enter_async_context(workspace.lock(path))
        yield


async def drafts_of(edits: Sequence[OneEdit], workspace: Workspace) -> list[Draft]:
    """The files as they will be after `edits`, each made in what the edits before it left.

    Raises ToolError that tells every edit that cannot be made; its code is the first one's.
    """
    drafts: dict[str, Draft] = {}
    failed: list[tuple[int, str, ToolError]] = []
    for number, edit in enumerate(edits, 1):
        try:
            key = workspace.real(edit.path)
            if key not in drafts:
                drafts[key] = await _read(edit.path, workspace)
            _apply(edit, drafts[key])
        except ToolError as error:
            failed.append((number, edit.path, error))
    if failed:
        raise _all_failures(failed, len(edits))
    return [draft for draft in drafts.values() if draft.before != draft.after]


async def _read(path: str, workspace: Workspace) -> Draft:
    before = await workspace.read(path)
    digest, seen = workspace.digest(before), workspace.last_seen(path)
    changed = seen is not None and seen != digest
    return Draft(workspace.relative(path), before, before, digest, seen == digest, changed)


def _apply(edit: OneEdit, draft: Draft) -> None:
    outcome = apply_edit(draft.after or b"", edit.old_string, edit.new_string, edit.replace_all)
    if draft.changed and (outcome.strategy != "exact" or len(outcome.lines) != 1):
        raise ToolError("It has changed since you read it. Read it again, then edit.", "CONFLICT")
    draft.after = outcome.data
    draft.edits += 1
    if outcome.strategy != "exact":
        draft.loose.append(f"line {outcome.lines[0]} matched {outcome.strategy}")


def _all_failures(failed: Sequence[tuple[int, str, ToolError]], count: int) -> ToolError:
    if count == 1:
        return failed[0][2]
    lines = [f"Edit {number} ({path}): {error.text}" for number, path, error in failed]
    head = f"{len(failed)} of {count} edits cannot be made; nothing was changed."
    return ToolError(
        "\n".join([head, *lines]),
        failed[0][2].code,
        failed=[number for number, _, _ in failed],
    )


async def commit(drafts: Sequence[Draft], workspace: Workspace) -> None:
    """Write all drafts or none, when nobody changed the files meanwhile. Hold their locks. Raises ToolError."""
    await workspace.change(
        [
            Change(draft.path, draft.after, draft.digest, draft.executable, draft.known, draft.mode)
            for draft in drafts
        ]
    )


def diff_of(drafts: Sequence[Draft]) -> Diff:
    """One diff of all drafts, cut at 64 KiB."""
    diffs = [_diff(draft) for draft in drafts if not (draft.moved and draft.after is None)]
    text = "".join(diff.text for diff in diffs)
    if len(text) > LARGEST:
        text = text[: text.rfind("\n", 0, LARGEST) + 1] + "[more of the diff is left out]\n"
    return Diff(text, sum(diff.added for diff in diffs), sum(diff.removed for diff in diffs))


def _diff(draft: Draft) -> Diff:
    if draft.origin is None:
        return unified_diff(draft.before, draft.after, draft.path)
    name, before = draft.origin
    diff = unified_diff(before, draft.after, draft.path)
    return Diff(
        f"rename from {name}\nrename to {draft.path}\n{diff.text}", diff.added, diff.removed
    )
