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
    path: Annotated[str, Meta(description="File or directory inside the workspace")] = "."
    is_regex: Annotated[bool, Meta(description="Read the pattern as a regular expression")] = False
    include: Annotated[
        str,
        Meta(description="Only files with this name pattern, such as *.py, *.{c,h} or src/**/*.rs"),
    ] = ""
    limit: Annotated[int, Meta(ge=1, le=1000, description="Matches (or files) shown at most")] = 50
    case_sensitive: Annotated[bool, Meta(description="Whether case matters")] = True
    context: Annotated[int, Meta(ge=0, le=10, description="Lines shown around each match")] = 0
    mode: Annotated[
        Literal["lines", "files", "count"],
        Meta(description="Show matching lines, only file names, or matches per file"),
    ] = "lines"


class Grep(Tool[Params]):
    """Searches; it starts ripgrep and nothing else."""

    api = 1
    params = Params
    effect = Effect.READ

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The matches. Raises ToolError: INVALID_ARGUMENT for a bad pattern, NOT_FOUND, DENIED, TIMEOUT."""
        from codetether_tool_grep.lines import read_counts, read_lines

        where = _where(params, ctx)
        done = await _search(params, where, str(ctx.workspace.root), sort=False)
        if done.killed_for_output:
            done = await _search(params, where, str(ctx.workspace.root), sort=True)
        read = read_lines if params.mode == "lines" else read_counts
        found = read(_whole_lines(done))
        _check(done, found)
        found.leave_out(
            path for path in found.paths if ctx.session.permissions.hides(path, self.name)
        )
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


async def _search(params: Params, where: str, root: str, *, sort: bool) -> Completed:
    from codetether.api import ripgrep

    from codetether_tool_grep.includes import include_options

    options = [
        *_mode(params),
        *("--sort=path",) * sort,
        *("--fixed-strings",) * (not params.is_regex),
        *("--multiline",)
        * ("\n" in params.pattern or (params.is_regex and r"\n" in params.pattern)),
        "--case-sensitive" if params.case_sensitive else "--ignore-case",
        *include_options(params.include),
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
    if params.mode != "lines":
        return ["--no-heading", "--with-filename", "--count-matches"]
    from codetether_tool_grep.lines import AFTER_MATCH, AFTER_NEAR

    around = f"--context={params.context}" if params.context else "--trim"
    separators = f"--field-match-separator={AFTER_MATCH}", f"--field-context-separator={AFTER_NEAR}"
    width = f"--max-columns={COLUMNS}", "--max-columns-preview"
    return ["--no-heading", "--with-filename", "--line-number", around, *width, *separators]


def _whole_lines(done: Completed) -> str:
    """The output without its last line, when that may have been cut."""
    if done.truncated:
        return done.output.rpartition("\n[")[0].rpartition("\n")[0]
    return done.output.rpartition("\n")[0] if done.timed_out else done.output


def _check(done: Completed, found: Found) -> None:
    if done.timed_out and not found.matches:
        raise ToolError(f"No match within {SECONDS} s. Narrow it with path or include.", "TIMEOUT")
    if done.code == 2 and done.errors.strip():
        told = "\n".join(done.errors.strip().splitlines()[:12])
        raise ToolError(f"The search was refused.\n{told}", "INVALID_ARGUMENT")


def _told(found: Found, params: Params, *, partial: bool) -> ToolOutput:
    shown, text = found.show(params.mode, params.limit, groups=params.context > 0)
    files = len(found.paths)
    if not found.matches:
        text = _nothing(params)
    total = f"{'at least ' * partial}{_many(found.matches, 'match', 'matches')} in {_many(files, 'file', 'files')}"
    every = found.matches if params.mode == "lines" else files
    cut = partial or shown < every
    if found.left_out:
        text += f"\n[{_many(found.left_out, 'file', 'files')} left out: denied by a rule]"
    if cut:
        text += f"\n[{shown} shown of {total}; narrow with path or include, or raise limit]"
    return ToolOutput(
        text,
        summary=total if found.matches else "no matches",
        meta={"count": shown, "matches": found.matches, "files": files, "truncated": cut},
    )


def _nothing(params: Params) -> str:
    hints = []
    if not params.is_regex and any(sign in params.pattern for sign in r"\.*+?[]()|^$"):
        hints.append("the pattern was taken literally: set is_regex for a regular expression")
    if params.case_sensitive:
        hints.append("case matters: set case_sensitive to false")
    if params.include:
        hints.append(f"only files matching {params.include} were searched")
    hints.append("ignored files are searched only when path names them")
    return f"No matches for {params.pattern!r} in {params.path}. " + "; ".join(hints) + "."


def _many(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
