"""The loop's own cost per step with three parallel tool calls: a scripted model that answers at once, tools that do
nothing, a real transcript on disk."""

from __future__ import annotations

import sys
import time

import msgspec
import trio

STEPS = 200


async def _run() -> tuple[float, int]:
    from codetether.api import Effect, Tool, ToolOutput
    from codetether.testing import Call, Reply, make_kernel

    class Nothing(msgspec.Struct):
        pass

    class Noop(Tool[Nothing]):
        """Does nothing."""

        api = 1
        params = Nothing
        effect = Effect.READ
        text = "Do nothing."

        async def run(self, params: Nothing, ctx: object) -> ToolOutput:
            return ToolOutput("done")

    step = Reply(calls=(Call("noop"),) * 3)
    asked = 0

    def script(_: object) -> Reply:
        nonlocal asked
        asked += 1
        return step if asked <= STEPS else Reply(text="done")

    async with (
        make_kernel(
            replies=script,
            plugins=["sandboxes"],
            extra={"tools:noop": Noop},
            settings={"session.max_steps": STEPS + 1},
        ) as kernel,
        kernel.open_session(directory=kernel.dirs.data.parent.parent, access="full") as session,
    ):
        start = time.perf_counter()
        finished = await session.prompt("go")
        return time.perf_counter() - start, finished.steps


def measure() -> list[tuple[str, str, str, bool]]:
    seconds, steps = min(trio.run(_run) for _ in range(3))
    assert steps == STEPS + 1, steps
    each = seconds / steps * 1000
    return [
        (
            "loop overhead per step with 3 parallel calls, wall",
            "<= 5 ms",
            f"{each:.2f} ms",
            each <= 5,
        )
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))
