"""Sub-agents in this process: their own session and workspace, their result, their end."""

import msgspec
import trio
from codetether.api import AgentResult, AgentTask, TurnFinished, list_sessions
from codetether.testing import Reply, make_kernel
from codetether.words import Usage

PLUGINS = ["executors:local", "sandboxes"]


def task(tmp_path, **fields):
    return AgentTask(id="t1", prompt="do it", directory=str(tmp_path), access="full", **fields)


async def test_a_task_is_done_in_a_session_of_its_own(tmp_path):
    seen = []

    async def observe(event):
        seen.append(event)

    replies = [Reply(text="Done it.", usage=Usage(10, 3))]
    async with make_kernel(tmp_path / "home", replies=replies, plugins=PLUGINS) as kernel:
        result = await kernel.executor().run(task(tmp_path, started_by="s-parent"), observe)
        assert (result.ok, result.text, result.reason, result.steps) == (
            True,
            "Done it.",
            "done",
            1,
        )
        assert (result.input_tokens, result.output_tokens) == (10, 3)
        assert isinstance(seen[-1], TurnFinished)
        assert kernel.sessions == []
        assert (kernel.sessions_folder / f"{result.session}.jsonl").exists()
        assert (
            list_sessions(kernel.sessions_folder) == []
        )  # a sub-agent's session is not the person's
    assert msgspec.json.decode(msgspec.json.encode(result), type=AgentResult) == result


async def test_failure_is_a_result(tmp_path):
    async with make_kernel(tmp_path / "home", replies=["x"], plugins=PLUGINS) as kernel:
        result = await kernel.executor().run(task(tmp_path, agent="nobody"))
        assert not result.ok
        assert "no agent 'nobody'" in result.error


async def test_the_time_limit_and_cancelling_end_it(tmp_path):
    async with make_kernel(
        tmp_path / "home", replies=lambda r: Reply(stall=True), plugins=PLUGINS
    ) as kernel:
        result = await kernel.executor().run(task(tmp_path, timeout=0.3))
        assert "longer than 0.3 s" in result.error
        with trio.move_on_after(0.3) as scope:
            await kernel.executor().run(task(tmp_path))
        assert scope.cancelled_caught
        assert kernel.sessions == []
