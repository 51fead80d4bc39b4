"""Swarms of a scripted model on real repositories: every stage runs, work is merged, nothing is lost."""

import json

import pytest
import trio
from codetether.testing import Reply, call
from codetether.words import Usage
from codetether_mode_swarm.plan import PlanError
from codetether_worktrees import create
from swarms import Model, branches, git, kernel_at, plan, repository, result, swarm, task, writes


@pytest.fixture
def user(tmp_path, monkeypatch):
    where = repository(tmp_path / "repo")
    monkeypatch.chdir(where)
    return where


THREE = plan(
    task("base"), task("left", "base"), task("right", "base"), task("top", "left", "right")
)


async def test_every_stage_runs_and_builds_on_the_one_before(tmp_path, user, capsys):
    def top(request, step):
        if step == 0:
            return call("bash", command="cat base.txt left.txt right.txt > top.txt")
        return "the top stands"

    model = Model(
        THREE, base=writes("base.txt", "base\n", "base says 42"), left=writes("left.txt", "left\n"),
        right=writes("right.txt", "right\n"), top=top,
    )  # fmt: skip
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "build a tower")
    assert (code, said["success"]) == (0, True)
    assert (user / "top.txt").read_text() == "base\nleft\nright\n"
    assert "base says 42" in model.prompts["left"][0]
    assert "base says 42" not in model.prompts["top"][0]
    stats = said["stats"]
    assert [each["subagent_count"] for each in stats["stages"]] == [1, 2, 1]
    assert stats["critical_path_length"] == 6
    assert stats["critical_path"][0] == "base"
    assert stats["critical_path"][2] == "top"
    assert stats["subagents_completed"] == stats["subagents_spawned"] == 4
    assert stats["possible_speedup"] >= stats["speedup_factor"] > 0
    assert said["branches"] == {"result": "", "merged_into": "main", "unmerged": []}
    assert said["tokens"]["total"] == 110 * (1 + 8)
    assert branches(user) == ["main"]
    assert git(user, "status", "--porcelain") == ""
    assert len(git(user, "worktree", "list").splitlines()) == 1
    assert {each["status"] for each in said["subtask_results"]} == {"completed"}


@pytest.fixture
def late(monkeypatch):
    """The result's worktree is made when this event is set, and no sooner."""
    event = trio.Event()

    async def wait(*args, **how):
        with trio.fail_after(20):
            await event.wait()
        return await create(*args, **how)

    monkeypatch.setattr("codetether_mode_swarm.ground.create", wait)
    return event


async def test_the_model_plans_while_the_result_gets_its_worktree(tmp_path, user, capsys, late):
    model = Model(plan(task("one")), one=writes("one.txt", "1\n"))

    def asked(request):
        late.set()
        return model(request)

    async with kernel_at(tmp_path, asked, user) as kernel:
        code, said = await result(kernel, capsys, "do it")
    assert (code, said["branches"]["merged_into"]) == (0, "main")


async def test_a_plan_that_failed_leaves_no_worktree_that_was_being_made(tmp_path, user, capsys, late):  # fmt: skip
    def asked(request):
        late.set()
        return Reply(fault=_fault())

    async with kernel_at(tmp_path, asked, user) as kernel:
        with pytest.raises(PlanError, match="could not be planned"):
            await swarm(kernel, "do it")
    assert branches(user) == ["main"]
    assert len(git(user, "worktree", "list").splitlines()) == 1


async def test_a_failed_part_skips_those_that_need_it_and_keeps_its_work(tmp_path, user, capsys):
    def bad(request, step):
        return (
            call("write_file", path="half.txt", content="half\n")
            if step == 0
            else Reply(fault=_fault())
        )

    model = Model(plan(task("bad"), task("good"), task("needs bad", "bad"), task("far", "needs bad")), bad=bad, good=writes("good.txt", "good\n"))  # fmt: skip
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--retries", "0")
    by_name = {each["name"]: each for each in said["subtask_results"]}
    assert code == 1
    assert not said["success"]
    assert by_name["needs bad"]["status"] == by_name["far"]["status"] == "cancelled"
    assert "it needs bad, which did not succeed" in by_name["needs bad"]["error"]
    assert "needs bad" not in model.asked
    assert by_name["good"]["success"]
    [kept] = said["branches"]["unmerged"]
    assert git(user, "show", f"{kept}:half.txt") == "half"
    result_branch = said["branches"]["result"]
    assert git(user, "show", f"{result_branch}:good.txt") == "good"
    assert not (user / "good.txt").exists()


def _fault():
    from codetether.events import ProviderFault

    return ProviderFault("invalid", "no")


async def test_a_part_that_failed_is_tried_again_and_told_why(tmp_path, user, capsys):
    tries = []

    def shaky(request, step):
        tries.append(request)
        return Reply(fault=_fault()) if len(tries) == 1 else "now it works"

    model = Model(plan(task("shaky")), shaky=shaky)
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it")
    assert code == 0
    assert said["subtask_results"][0]["attempts"] == 2
    assert "An earlier attempt failed" in model.prompts["shaky"][1]


async def test_a_conflict_is_resolved_by_an_agent_and_accepted_by_the_gates(tmp_path, user, capsys):
    model = Model(
        plan(task("one"), task("two")), one=writes("a.txt", "ONE\n"), two=writes("a.txt", "TWO\n"),
        conflict=writes("a.txt", "ONE and TWO\n", "took both"),
    )  # fmt: skip
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--gate", "! grep -q '<<<' a.txt")
    assert code == 0
    assert (user / "a.txt").read_text() == "ONE and TWO\n"
    [conflict] = said["conflicts"]
    assert conflict["resolved"]
    assert conflict["files"] == ["a.txt"]
    assert said["gates"]["verified"]
    assert branches(user) == ["main"]


@pytest.mark.parametrize(
    ("resolution", "why"),
    [("<<<<<<< ours\nONE\n", "marks of the conflict"), ("BROKEN\n", "gate: ")],
)
async def test_a_conflict_that_stays_keeps_the_branch(tmp_path, user, capsys, resolution, why):
    model = Model(
        plan(task("one"), task("two")), one=writes("a.txt", "ONE\n"), two=writes("a.txt", "TWO\n"),
        conflict=writes("a.txt", resolution),
    )  # fmt: skip
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--gate", "! grep -q BROKEN a.txt")
    assert code == 1
    [bad] = [each for each in said["subtask_results"] if not each["success"]]
    assert bad["status"] == "conflict"
    assert why in bad["error"]
    lost = {"one": "ONE", "two": "TWO"}
    assert git(user, "show", f"{bad['branch']}:a.txt") == lost.pop(bad["name"])
    assert git(user, "show", f"{said['branches']['result']}:a.txt") == next(iter(lost.values()))
    assert (user / "a.txt").read_text() == "one\ntwo\nthree\n"


async def test_gates_that_fail_are_mended_once_or_keep_the_result_away(tmp_path, user, capsys):
    gate = ["--gate", "cat bad.txt && exit 1 || exit 0"]
    model = Model(plan(task("one")), one=writes("bad.txt", "FAILED t::x\n"), gates=[call("bash", command="rm bad.txt"), "mended"])  # fmt: skip
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", *gate)
        assert code == 0
        assert "FAILED t::x" in model.prompts["gates"][0]
        assert not (user / "bad.txt").exists()
        model.parts["gates"] = ["I cannot"]
        code, said = await result(kernel, capsys, "do it", *gate)
    assert code == 1
    assert "the checks of the project fail" in said["error"]
    assert git(user, "show", f"{said['branches']['result']}:bad.txt") == "FAILED t::x"
    assert not (user / "bad.txt").exists()


async def test_what_failed_before_does_not_count(tmp_path, user, capsys):
    model = Model(plan(task("one")), one=writes("x.txt", "x"))
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--gate", "echo FAILED old::one; exit 1")
    assert code == 0
    assert (said["gates"]["ok"], said["gates"]["verified"]) == (True, False)


async def test_the_users_uncommitted_work_is_left_alone(tmp_path, user, capsys):
    (user / "a.txt").write_text("mine\n")
    (user / "untracked.txt").write_text("mine too\n")
    model = Model(plan(task("one")), one=writes("x.txt", "x"))
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it")
    assert code == 0
    assert (user / "a.txt").read_text() == "mine\n"
    assert not (user / "x.txt").exists()
    assert git(user, "show", f"{said['branches']['result']}:x.txt") == "x"
    assert "uncommitted changes" in capsys.readouterr().err or said["branches"]["merged_into"] == ""


async def test_a_sub_agent_cannot_write_outside_its_worktree(tmp_path, user, capsys):
    outside = [call("write_file", path=str(user / "leak.txt"), content="x"), call("bash", command=f"echo x > {user}/leak2.txt"), "tried"]  # fmt: skip
    model = Model(
        plan(task("one"), task("looks", writes=False)), one=outside, looks=writes("b.txt", "x")
    )
    async with kernel_at(tmp_path, model, user) as kernel:
        await result(kernel, capsys, "do it")
    assert sorted(path.name for path in user.iterdir()) == [".git", "a.txt"]


# --- budgets, limits ---
async def test_the_budget_ends_it_before_the_next_call(tmp_path, user, capsys):
    model = Model(plan(*(task(f"t{n}") for n in range(6))), usage=Usage(900, 100))
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(
            kernel, capsys, "do it", "--budget-tokens", "3000", "--concurrency", "1"
        )
    assert code == 1
    assert sum(model.asked.values()) == 3
    assert said["tokens"]["total"] == 3000
    assert "budget of 3,000 tokens is used up" in said["error"]
    assert said["stats"]["subagents_completed"] == 2


async def test_a_budget_that_is_used_up_is_to_be_raised(tmp_path, user, capsys):
    model = Model(plan(task("one")), one=[call("bash", command="true")], usage=Usage(900, 100))
    async with kernel_at(tmp_path, model, user) as kernel:
        assert await swarm(kernel, "do it", flags=["--budget-tokens", "2000"]) == 1
    told = capsys.readouterr().err
    assert told.strip().endswith("--budget-tokens N")
    assert "2.0k tokens" in told


async def test_the_budget_stops_a_sub_agent_in_the_middle(tmp_path, user, capsys):
    model = Model(plan(task("one")), one=[call("bash", command="true")], usage=Usage(900, 100))
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--budget-tokens", "4000")
    assert (code, model.asked["one"]) == (1, 3)
    assert said["subtask_results"][0]["attempts"] == 1
    assert "used up" in said["subtask_results"][0]["error"]


async def test_a_stuck_sub_agent_is_stopped(tmp_path, user, capsys):
    model = Model(plan(task("one")), one=[call("bash", command="echo again")])
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--retries", "0")
    assert code == 1
    assert "stuck: it called bash 6 times in a row" in said["subtask_results"][0]["error"]
    assert model.asked["one"] <= 8


async def test_a_silent_sub_agent_is_stopped(tmp_path, user, capsys):
    model = Model(plan(task("one")), one=[Reply(stall=True)])
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--retries", "0", "--timeout", "0.3")
    assert code == 1
    assert said["subtask_results"][0]["status"] == "timed_out"
    assert "no progress for 0.3 s" in said["error"]


async def test_steps_are_limited(tmp_path, user, capsys):
    model = Model(plan(task("one")), one=lambda request, step: call("bash", command=f"echo {step}"))
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--retries", "0", "--max-steps", "3")
    assert code == 1
    assert "limit of 3 steps" in said["error"]


async def test_no_more_than_so_many_at_a_time(tmp_path, user, capsys):
    running, most = set(), [0]

    def slow(request, step):
        who = Model.who(request)[0]
        running.add(who)
        most[0] = max(most[0], len(running))
        if step == 1:
            running.discard(who)
            return "done"
        return call("bash", command="sleep 0.3")

    parts = {f"t{n}": slow for n in range(6)}
    model = Model(plan(*(task(f"t{n}") for n in range(6))), **parts)
    async with kernel_at(tmp_path, model, user) as kernel:
        code, _ = await result(kernel, capsys, "do it", "--concurrency", "3", "--no-gates")
    assert (code, most[0]) == (0, 3)


# --- without a repository ---
async def test_without_a_repository_writers_take_turns_in_place(tmp_path, monkeypatch, capsys):
    where = tmp_path / "plain"
    where.mkdir()
    monkeypatch.chdir(where)
    model = Model(
        plan(task("one"), task("two")), one=writes("1.txt", "1"), two=writes("2.txt", "2")
    )
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "do it", "--access-mode", "auto")
        assert code == 0
        assert {path.name for path in where.iterdir()} == {"1.txt", "2.txt"}
        assert said["branches"]["merged_into"] == ""
        code, said = await result(kernel, capsys, "do it", "--retries", "0")
    assert (code, said["subtask_results"][0]["status"]) == (1, "failed")


# --- the other outputs ---
async def test_a_dry_run_shows_the_plan_and_does_nothing(tmp_path, user, capsys):
    model = Model(THREE)
    async with kernel_at(tmp_path, model, user) as kernel:
        assert await swarm(kernel, "do it", flags=["--dry-run"]) == 0
        text = capsys.readouterr().out
        assert text.startswith("1. base\n")
        assert "3. top  after left, right" in text
        code, said = await result(kernel, capsys, "do it", "--dry-run")
        assert (code, len(said["subtasks"])) == (0, 4)
        assert not list((kernel.dirs.data / "swarm").iterdir())
    assert set(model.asked) == {"plan"}
    assert branches(user) == ["main"]


async def test_events_as_lines(tmp_path, user, capsys):
    model = Model(plan(task("one"), task("two", "one")), one=writes("x.txt", "x"))
    async with kernel_at(tmp_path, model, user) as kernel:
        assert await swarm(kernel, "do it", flags=["--format", "stream-json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    kinds = [line["type"] for line in lines if line["type"] != "subagent_event"]
    assert kinds == [
        "swarm_started", "swarm_planned",
        "subtask_changed", "subtask_result", "subtask_changed", "subtask_merged", "subtask_changed", "stage_finished",
        "subtask_changed", "subtask_result", "subtask_changed", "subtask_changed", "stage_finished",
        "swarm_finished",
    ]  # fmt: skip
    states = [
        line["state"]
        for line in lines
        if line["type"] == "subtask_changed" and line["subtask"] == "one"
    ]
    assert states == ["running", "worked", "completed"]
    inner = {line["event"]["type"] for line in lines if line["type"] == "subagent_event"}
    assert {"tool_started", "tool_finished", "turn_finished"} <= inner


async def test_text_for_a_person(tmp_path, user, capsys):
    model = Model(plan(task("one")), one=writes("x.txt", "x", "I wrote x\x1b[2J"))
    async with kernel_at(tmp_path, model, user) as kernel:
        assert await swarm(kernel, "do it") == 0
    said = capsys.readouterr()
    assert "## Subtask 1: one\n\nI wrote x" in said.out
    assert "\x1b" not in said.out + said.err
    assert "one: running" in said.err
    assert "merged into main" in said.err
    assert "no check of the project spoke for it" in said.err


async def test_a_vendors_limit_holds_for_all_sub_agents(tmp_path, user, capsys):
    import sys
    from pathlib import Path
    from time import monotonic

    from codetether.events import ProviderFault
    from codetether.testing import ScriptedServer

    sys.path[:0] = [
        str(Path(__file__).parents[2] / name) for name in ("faults", "plugins/providers", "flow")
    ]
    from dialects import DIALECTS
    from stand import kernel_at as provider_at

    asked = []

    def said(request):
        text = json.dumps(request["messages"])
        if "You plan work" in text:
            return plan(*(task(f"t{n}", writes=False) for n in range(4)))
        asked.append(monotonic())
        if len(asked) == 1:
            return Reply(fault=ProviderFault("rate_limit", "slow down", retry_after=1.0))
        return Reply(text="done")

    dialect = DIALECTS["chat"]
    plugins = ("executors:local", "modes:swarm")
    async with (
        ScriptedServer(said) as server,
        provider_at(tmp_path / "home", {dialect.provider: f"{server.url}/v1"}, tools=(), plugins=plugins, directory=user) as kernel,
    ):  # fmt: skip
        code = await swarm(kernel, "do it", flags=["-m", f"{dialect.provider}/{dialect.model}", "--concurrency", "2", "--retries", "0"])  # fmt: skip
    assert code == 0
    assert len(asked) == 5
    # One was on its way already; those that had not asked yet waited as well, though only one was told to.
    assert asked[2] - asked[0] >= 0.9


# --- what is spent beside the steps ---
def over_rlm(model, subs, root):
    """`model`, and for rlm: `root`, what is said by who looks, in order; `subs` takes the requests of sub-calls."""

    def said(request):
        if request.system.startswith("Answer the question from the text"):
            subs.append(request)
            return Reply(text="seen", usage=model.usage)
        if request.system.startswith("You answer a question about texts"):
            step = sum(message.role == "assistant" for message in request.messages)
            return Reply(text=root[min(step, len(root) - 1)], usage=model.usage)
        return model(request)

    return said


BATCH = "```python\nllm_query_batched(['what?'] * 8)\n```"
LOOKS = ["modes:rlm", "tools:rlm"]


def looks_into_a_log(user):
    """A model whose only sub-agent asks `rlm` about a log that `user` has committed."""
    (user / "big.log").write_text("a line of a log\n" * 30_000)
    git(user, "add", "-A")
    git(user, "commit", "-qm", "log")
    look = call("rlm", query="what?", paths=["big.log"])
    return Model(plan(task("one", writes=False)), one=[look, "done"], usage=Usage(900, 100))


async def test_the_budget_counts_and_stops_the_calls_of_rlm(tmp_path, user, capsys):
    model = looks_into_a_log(user)
    subs = []
    settings = {"plugins.modes:rlm.concurrency": 1}
    how = {"context": 30_000, "settings": settings, "more": LOOKS}
    async with kernel_at(
        tmp_path, over_rlm(model, subs, [BATCH, 'FINAL("x")']), user, **how
    ) as kernel:
        code, said = await result(kernel, capsys, "do it", "--budget-tokens", "6000")
    assert (code, len(subs)) == (1, 3)  # after the plan, a step, and a reply of who looks
    assert said["tokens"]["total"] == 6000
    assert "budget of 6,000 tokens is used up" in said["error"]
    assert "used up" in said["subtask_results"][0]["error"]


async def test_what_rlm_takes_is_told_once(tmp_path, user, capsys):
    model = looks_into_a_log(user)
    subs = []
    async with kernel_at(
        tmp_path, over_rlm(model, subs, [BATCH, 'FINAL("x")']), user, context=30_000, more=LOOKS
    ) as kernel:
        code, said = await result(kernel, capsys, "do it")
    asked = sum(model.asked.values())
    assert (code, len(subs), asked) == (0, 8, 3)
    assert said["tokens"]["total"] == 1000 * (asked + 8 + 2)
    assert said["subtask_results"][0]["tokens"] == 1000 * (2 + 8 + 2)


async def test_what_a_sub_agent_of_a_sub_agent_takes_is_told_once(tmp_path, user, capsys):
    start = call("task", description="d", prompt='Your part, "deep" is this', agent="explore")
    model = Model(plan(task("one")), one=[start, "done"], deep=["deep"], usage=Usage(900, 100))
    async with kernel_at(tmp_path, model, user, more=["tools:task"]) as kernel:
        code, said = await result(kernel, capsys, "do it")
    assert (code, model.asked) == (0, {"plan": 1, "one": 2, "deep": 1})
    assert said["tokens"]["total"] == 4000
    assert said["subtask_results"][0]["tokens"] == 3000


async def test_a_summary_counts_and_no_call_follows_it_when_the_budget_is_used_up(
    tmp_path, user, capsys
):
    order = []

    def said(request):
        if request.system.startswith("You hand over"):
            order.append("summary")
            return Reply(text="short", usage=Usage(90_000, 0))
        order.append(model.who(request)[0])
        return model(request)

    step = Reply(text="word " * 2_000, calls=call("bash", command="true").calls)
    model = Model(plan(task("one")), one=[step] * 20, usage=Usage(9_000, 0))
    how = {"context": 12_000, "more": ["extensions:compact"]}
    async with kernel_at(tmp_path, said, user, **how) as kernel:
        code, told = await result(kernel, capsys, "do it", "--budget-tokens", "100000")
    assert code == 1
    assert order[-1] == "summary"
    assert told["tokens"]["total"] == 90_000 + 9_000 * (len(order) - 1)
    assert "used up" in told["subtask_results"][0]["error"]
