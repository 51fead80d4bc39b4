"""The tool `batch`: several calls in one, each with its own permission and its own result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import trio
from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

LOOKING = frozenset({Effect.READ, Effect.NETWORK, Effect.AGENT})


class Inner(Struct):
    """One call."""

    tool: Annotated[str, Meta(description="Name of the tool")]
    # Text in the schema: strict modes take no object with unknown keys. A real object is taken as well.
    args: Annotated[
        Any,
        Meta(
            description='Its parameters as JSON text, such as {"path": "a.py"}',
            extra_json_schema={"type": "string"},
        ),
    ] = None


class Params(Struct):
    """The calls."""

    calls: Annotated[list[Inner], Meta(description="The calls", min_length=1, max_length=10)]


class Batch(Tool[Params]):
    """It does nothing itself: what the inner calls do is asked for each of them."""

    api = 1
    params = Params
    effect = Effect.READ
    alone = True

    def title(self, params: Params) -> str:
        """The tools called."""
        return f"{self.name} {', '.join(call.tool for call in params.calls)}"

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """All results, in the order of the calls. Raises ToolError INVALID_ARGUMENT for a batch in a batch."""
        toolbox = ctx.session.toolbox
        if any(toolbox.find(call.tool) is self for call in params.calls):
            raise ToolError(
                "A batch cannot hold a batch: list all calls in one.", "INVALID_ARGUMENT"
            )
        given = [_arguments(number, call) for number, call in enumerate(params.calls, 1)]
        outputs: dict[int, ToolOutput] = {}

        async def one(at: int) -> None:
            outputs[at] = await ctx.call(params.calls[at].tool, given[at])

        for group in _groups([_looks(toolbox.find(call.tool)) for call in params.calls]):
            async with trio.open_nursery() as nursery:
                for at in group:
                    nursery.start_soon(one, at)
        return _together(params.calls, [outputs[at] for at in range(len(params.calls))])


def _arguments(number: int, call: Inner) -> dict[str, Any]:
    """The parameters of an inner call. Raises ToolError before anything has run."""
    args = call.args
    try:
        if isinstance(args, str):
            args = msgspec.json.decode(args) if args.strip() else {}
    except (msgspec.DecodeError, RecursionError) as error:
        text = f"Call {number} ({call.tool}): args is not JSON: {error}. Nothing was run."
        raise ToolError(text, "INVALID_ARGUMENT") from None
    if args is None:
        args = {}
    if not isinstance(args, dict):
        text = f"Call {number} ({call.tool}): args must be a JSON object. Nothing was run."
        raise ToolError(text, "INVALID_ARGUMENT")
    return args


def _looks(tool: Tool[Any] | None) -> bool:
    return tool is None or (tool.effect in LOOKING and not tool.alone)


def _groups(looks: list[bool]) -> Iterator[list[int]]:
    """Neighbours that only look, together; each of the others for itself."""
    group: list[int] = []
    for at, look in enumerate(looks):
        if look:
            group.append(at)
            continue
        if group:
            yield group
        yield [at]
        group = []
    if group:
        yield group


def _together(calls: list[Inner], outputs: list[ToolOutput]) -> ToolOutput:
    done = sum(output.ok for output in outputs)
    summary = f"{done} done, {len(outputs) - done} failed"
    parts = [summary]
    for number, (call, output) in enumerate(zip(calls, outputs, strict=True), 1):
        parts.append(f"[{number}] {call.tool}: {'ok' if output.ok else 'FAILED'}\n{output.text}")
    return ToolOutput(
        "\n\n".join(parts),
        ok=done == len(outputs),
        summary=summary,
        images=tuple(image for output in outputs for image in output.images),
        meta={"done": done, "failed": len(outputs) - done},
    )
