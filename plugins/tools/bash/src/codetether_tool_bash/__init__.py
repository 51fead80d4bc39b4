"""The tool `bash`: one shell command, ended with all it started, its output bounded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from codetether.api import Completed

HEAD = 16_000  # bytes; errors are at the end of most output, so the tail gets more
TAIL = 32_000
SPILL = 64_000_000
LONGEST = 600


class Params(Struct):
    """What to run."""

    command: Annotated[str, Meta(description="The command line, for bash -c")]
    timeout: Annotated[
        int, Meta(ge=1, le=LONGEST, description="Seconds; then it is ended and its output kept")
    ] = 120
    cwd: Annotated[str, Meta(description="Directory inside the workspace to run it in")] = "."
    background: Annotated[
        bool, Meta(description="Return at once with an id for bash_output; timeout is ignored")
    ] = False


class BashSettings(Struct, frozen=True):
    """What commands get."""

    pass_env: Annotated[
        tuple[str, ...],
        Meta(
            description="Further environment variables that commands see; the model can then read them"
        ),
    ] = ()
    network: Annotated[
        bool, Meta(description="Whether the sandbox lets commands use the network")
    ] = False
    background_at_once: Annotated[
        int, Meta(ge=0, le=64, description="Background commands of a session at one time")
    ] = 8
    background_seconds: Annotated[
        float, Meta(gt=0, description="Seconds a background command may take")
    ] = 3600.0


class Bash(Tool[Params]):
    """Runs what the model wrote, in the session's sandbox."""

    api = 1
    Settings = BashSettings
    params = Params
    effect = Effect.EXECUTE

    @property
    def online(self) -> bool:
        """As the person set it."""
        return bool(self.settings.network)

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The output. Raises ToolError: INVALID_ARGUMENT, NOT_FOUND or DENIED for `cwd`. A failed command is no
        exception: its output comes with `ok` False.
        """
        from codetether.api import clean_env

        _check(params.command)
        settings = self.settings
        kept = {name: os.environ[name] for name in settings.pass_env if name in os.environ}
        argv = [_shell(), "-c", params.command]
        how = {
            "cwd": _directory(params.cwd, ctx),
            "env": clean_env(kept),
            "network": settings.network,
            "merge": True,
            "head": HEAD,
            "tail": TAIL,
            "spill": ctx.session.files / f"{ctx.call_id}.out",
            "spill_limit": SPILL,
        }
        if params.background:
            from codetether_background import start

            return await start(
                params.command,
                argv,
                ctx.session,
                at_once=settings.background_at_once,
                seconds=settings.background_seconds,
                **how,
            )
        done = await ctx.run(argv, timeout=params.timeout, on_output=ctx.progress, **how)
        return _told(done, params.timeout)


def _check(command: str) -> None:
    from codetether_tool_bash.interactive import refusal

    if not command.strip():
        raise ToolError("The command is empty.", "INVALID_ARGUMENT")
    if "\0" in command:
        raise ToolError("The command holds a NUL character.", "INVALID_ARGUMENT")
    if why := refusal(command):
        raise ToolError(why, "INVALID_ARGUMENT")


def _shell() -> str:
    import shutil

    return "bash" if shutil.which("bash") else "sh"


def _directory(cwd: str, ctx: ToolContext) -> str:
    real = ctx.workspace.real(cwd)
    if os.path.isabs(real):
        raise ToolError(f"{cwd} is not inside the workspace.", "DENIED")
    path = os.path.join(ctx.workspace.root, real)
    ctx.workspace.stat(cwd)
    if not os.path.isdir(path):
        raise ToolError(f"{cwd} is not a directory.", "INVALID_ARGUMENT")
    return os.path.normpath(path)


def _told(done: Completed, timeout: int) -> ToolOutput:
    from codetether_background import settled

    from codetether_tool_bash.interactive import wants_input

    text = settled(done.output)
    lines = len(text.splitlines())
    end = _end(done, timeout)
    notes = [f"[{end}]"]
    if not done.ok and wants_input(text):
        notes.append("[it asked for input: nobody can answer. Give the answer by a flag or stdin]")
    if done.spilled is not None:
        notes.append(f"[all of the output: read_file {done.spilled}]")
    if done.killed_for_output:
        notes.append("[write long output to a file, or filter it]")
    return ToolOutput(
        "\n".join([text.rstrip("\n") or "(no output)", *notes]),
        ok=done.ok,
        summary=f"{end}, {lines} {'line' if lines == 1 else 'lines'}",
        meta={
            "exit_code": done.code,
            "seconds": round(done.seconds, 3),
            "timed_out": done.timed_out,
            "bytes": done.total_bytes,
            "truncated": done.truncated,
            **({"spilled": str(done.spilled)} if done.spilled is not None else {}),
        },
    )


def _end(done: Completed, timeout: int) -> str:
    if done.timed_out:
        return f"timed out after {timeout} s and was ended; at most {LONGEST} s can be asked for"
    if done.killed_for_output:
        return f"ended: it wrote more than {SPILL // 1_000_000} MB"
    if done.outgrown:
        return "ended: it had too many processes at one time"
    if done.signal is not None:
        return f"exit {done.code}, signal {done.signal}"
    return f"exit {done.code}"
