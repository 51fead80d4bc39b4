"""The tool `grep`: text in files, found by ripgrep, told in a bounded and repeatable form."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Annotated, Literal

from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from codetether.api import Completed

    from codetether_tool_grep.lines import Found

SECONDS = 30
COLLECTED = 2_000_000  # bytes of ripgrep's output read; more is found again, in path order, and cut
COLUMNS = 300


class Params(Struct):
    """What to search for, and where."""

    pattern: Annotated[str, Meta(description="Text to find, or a regular expression with is_regex")]
    path: Annotated[str, Meta(description="File or directory")] = "."
    is_regex: Annotated[bool, Meta(description="Read the pattern as a regular expression")] = False
    include: Annotated[
        str,
        Meta(description="Only files named so, such as *.{c,h} or src/**/*.rs"),
    ] = ""
    type: Annotated[str, Meta(description="Only files of this type: py, js, ts, rust, go, ...")] = (
        ""
    )
    mode: Annotated[
        Literal["lines", "files", "count"],
        Meta(description="Show matching lines, only file names, or matches per file"),
    ] = "lines"
    case_sensitive: Annotated[bool, Meta(description="Whether case matters")] = True
    multiline: Annotated[bool, Meta(description="`.` also matches line ends")] = False
    context: Annotated[int, Meta(ge=0, le=20, description="Lines shown around each match")] = 0
    before: Annotated[int, Meta(ge=0, le=20)] = 0
    after: Annotated[int, Meta(ge=0, le=20)] = 0
    no_ignore: Annotated[bool, Meta(description="Search ignored files too")] = False
    limit: Annotated[int, Meta(ge=1, le=1000, description="Matches (or files) shown at most")] = 50
    offset: Annotated[int, Meta(ge=0, description="Matches (or files) to skip")] = 0


class Grep(Tool[Params]):
    """Searches; it starts ripgrep and nothing else."""

    api = 1
    params = Params
    effect = Effect.READ

    def title(self, params: Params) -> str:
        """What is looked for, and where."""
        where = "" if params.path == "." else f" {params.path}"
        return f"{self.name} {params.pattern[:100]}{where}"

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The matches. Raises ToolError: INVALID_ARGUMENT for a bad pattern, NOT_FOUND, DENIED, TIMEOUT."""
        where = _where(params, ctx)
        done = await _search(params, where, str(ctx.workspace.root), sort=False)
        if done.killed_for_output:
            done = await _search(params, where, str(ctx.workspace.root), sort=True)
        found = _read(params.mode, _whole_lines(done))
        _check(done, found)
        found.leave_out(ctx.session.permissions.hidden(found.counts, self.name))
        return _told(found, params, partial=done.killed_for_output or done.timed_out)


def _where(params: Params, ctx: ToolContext) -> str:
    if not params.pattern or "\0" in params.pattern:
        raise ToolError("The pattern must be text without NUL characters.", "INVALID_ARGUMENT")
    mode = ctx.workspace.stat(params.path).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise ToolError(f"{params.path} is no file and no directory.", "INVALID_ARGUMENT")
    real = ctx.workspace.real(params.path)
    if ".git" in real.split("/"):
        raise ToolError("The inside of .git is not searched. Use git commands.", "INVALID_ARGUMENT")
    return real if real == "." or os.path.isabs(real) else f"./{real}"


def _read(mode: str, output: str) -> Found:
    from codetether_tool_grep import lines

    reads = {"lines": lines.read_lines, "files": lines.read_files, "count": lines.read_counts}
    return reads[mode](output)


async def _search(params: Params, where: str, root: str, *, sort: bool) -> Completed:
    from codetether.api import line_ends, ripgrep

    from codetether_tool_grep.includes import include_options, type_options

    over_lines = "\n" in params.pattern or (params.is_regex and r"\n" in params.pattern)
    options = [
        *_mode(params),
        "--binary",
        *("--sort=path",) * sort,
        *(line_ends(params.pattern) if params.is_regex else ("--fixed-strings",)),
        *("--multiline",) * (over_lines or params.multiline),
        *("--multiline-dotall",) * params.multiline,
        *("--no-ignore",) * params.no_ignore,
        "--case-sensitive" if params.case_sensitive else "--ignore-case",
        *type_options(params.type),
        *include_options(params.include, typed=bool(params.type)),
    ]
    return await ripgrep(
        options,
        [where],
        cwd=root,
        pattern=params.pattern,
        timeout=SECONDS,
        head=COLLECTED,
        tail=0,
        spill_limit=COLLECTED,
    )


def _mode(params: Params) -> list[str]:
    if params.mode == "files":
        return ["--files-with-matches"]
    if params.mode == "count":
        return ["--no-heading", "--with-filename", "--count-matches"]
    from codetether_tool_grep.lines import AFTER_MATCH, AFTER_NEAR

    before, after = params.before or params.context, params.after or params.context
    around = [f"--before-context={before}", f"--after-context={after}"]
    separators = f"--field-match-separator={AFTER_MATCH}", f"--field-context-separator={AFTER_NEAR}"
    width = f"--max-columns={COLUMNS}", "--max-columns-preview"
    shown = around if before or after else ["--trim"]
    return ["--no-heading", "--with-filename", "--line-number", *shown, *separators, *width]


def _whole_lines(done: Completed) -> str:
    """The output without its last line, when that may have been cut."""
    if done.truncated:
        return done.output.rpartition("\n[")[0].rpartition("\n")[0]
    return done.output.rpartition("\n")[0] if done.timed_out else done.output


def _check(done: Completed, found: Found) -> None:
    if done.timed_out and not found.counts:
        raise ToolError(f"No match within {SECONDS} s. Narrow it with path or include.", "TIMEOUT")
    if done.code == 2 and done.errors.strip():
        told = "\n".join(done.errors.strip().splitlines()[:12])
        raise ToolError(f"The search was refused.\n{told}", "INVALID_ARGUMENT")


def _told(found: Found, params: Params, *, partial: bool) -> ToolOutput:
    shown, text = found.show(params.mode, params.offset, params.limit)
    files, matches = len(found.counts), found.matches
    every = matches if params.mode == "lines" else files
    total = _many(files, "file", "files")
    if params.mode != "files":
        total = f"{_many(matches, 'match', 'matches')} in {total}"
    total = "at least " * partial + total
    if not files:
        text = _nothing(params)
    cut = partial or params.offset + shown < every
    notes = []
    if found.left_out:
        notes.append(f"[{_many(found.left_out, 'file', 'files')} left out: denied by a rule]")
    if files and (cut or params.offset):
        notes.append(_part_of(total, shown, every, params))
    meta = {"count": shown, "files": files, "truncated": cut}
    if params.mode != "files":
        meta["matches"] = matches
    return ToolOutput(
        "\n".join(filter(None, [text, *notes])),
        summary=total if files else "no matches",
        meta=meta,
    )


def _part_of(total: str, shown: int, every: int, params: Params) -> str:
    """What part of all this is, and how to have the next."""
    if not shown:
        return f"[nothing at offset {params.offset}: {total}]"
    last = params.offset + shown
    more = f"; more with offset {last}, or narrow it" if last < every else ""
    return f"[{params.offset + 1}-{last} of {total}{more}]"


def _nothing(params: Params) -> str:
    hints = []
    if not params.is_regex and any(sign in params.pattern for sign in r"\.*+?[]()|^$"):
        hints.append("the pattern was taken literally: set is_regex for a regular expression")
    if params.case_sensitive:
        hints.append("case matters: set case_sensitive to false")
    if only := params.include or params.type:
        hints.append(f"only {only} files were searched")
    if not params.no_ignore:
        hints.append("ignored files were not searched (no_ignore)")
    return f"No matches for {params.pattern!r} in {params.path}. {'; '.join(hints)}".rstrip() + "."


def _many(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
