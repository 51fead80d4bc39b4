"""Budgets in dollars: what has no known price is never taken for free, however deep below the run it is asked."""

import msgspec
import pytest
import ralphs
import rlms
import swarms
import unpriced
from codetether.api import CodetetherError
from codetether.testing import Reply, call, make_kernel
from codetether.words import Usage
from codetether_crew import budget
from codetether_provider_scripted import Scripted
from swarms import git, plan, task

CENT = Usage(1_000, 100, cost=0.01)
DEEP = call("task", description="d", prompt='Your part, "deep" is this', agent="explore")


@pytest.fixture
def user(tmp_path, monkeypatch):
    where = swarms.repository(tmp_path / "repo")
    (where / "big.log").write_text("a line of a log\n" * 30_000)
    git(where, "add", "-A")
    git(where, "commit", "-qm", "log")
    monkeypatch.chdir(where)
    return where


async def swarm(tmp_path, capsys, model, user, *flags, extra=unpriced.EXTRA, **how):
    """The exit code, the object --json prints, and what the model without a price was asked."""
    async with swarms.kernel_at(tmp_path, model, user, extra=extra, **how) as kernel:
        dear = kernel.provider("unpriced")
        dear.use(lambda request: Reply(text="seen", usage=Usage(900, 100)))
        code, said = await swarms.result(kernel, capsys, "do it", *flags)
        return code, said, dear.asked


@pytest.mark.parametrize("limit", [["--budget-usd", "5"], []])
async def test_a_sub_agents_sub_agent_of_unknown_price(tmp_path, user, capsys, limit):
    model = swarms.Model(plan(task("one")), one=[DEEP, "done"], usage=CENT)
    settings = {"agents.explore.model": unpriced.MODEL}
    how = {"more": ["tools:task"], "settings": settings}
    code, said, asked = await swarm(tmp_path, capsys, model, user, *limit, **how)
    if not limit:
        assert (code, len(asked)) == (0, 1)
        return
    assert (code, asked) == (1, [])
    why = "a budget in dollars is set, and the price of unpriced/test is unknown"
    assert why in said["subtask_results"][0]["error"]
    assert why in said["error"]


async def with_a_sub_model(tmp_path, capsys, user, *limit, provider=unpriced.Unpriced):
    """As `swarm`, of one whose sub-agent has the sub-model `unpriced/test` asked eight times."""
    look = call("rlm", query="what?", paths=["big.log"])
    model = swarms.Model(plan(task("one", writes=False)), one=[look, "done"], usage=CENT)
    batch = "```python\nllm_query_batched(['what?'] * 8)\n```"

    def said(request):
        if request.system.startswith("You answer a question about texts"):
            step = sum(message.role == "assistant" for message in request.messages)
            return Reply(text=[batch, 'FINAL("x")'][min(step, 1)], usage=CENT)
        return model(request)

    settings = {"plugins.modes:rlm.sub_model": unpriced.MODEL}
    how = {"more": ["modes:rlm", "tools:rlm"], "settings": settings, "context": 30_000}
    extra = {"providers:unpriced": provider}
    return await swarm(tmp_path, capsys, said, user, *limit, extra=extra, **how)


async def test_a_sub_model_of_unknown_price_within_a_sub_agent(tmp_path, user, capsys):
    code, _, asked = await with_a_sub_model(tmp_path, capsys, user)
    assert (code, len(asked)) == (0, 8)
    code, told, asked = await with_a_sub_model(tmp_path, capsys, user, "--budget-usd", "5")
    assert (code, asked) == (1, [])
    assert "the price of unpriced/test is unknown" in told["error"]


async def test_a_price_that_nobody_tells_in_time_is_unknown(tmp_path, user, capsys, monkeypatch):
    monkeypatch.setattr(budget, "PRICE_SECONDS", 0.1)
    code, told, asked = await with_a_sub_model(
        tmp_path, capsys, user, "--budget-usd", "5", provider=unpriced.Silent
    )
    assert (code, asked) == (1, [])
    assert "the price of unpriced/test is unknown" in told["error"]


async def test_a_sub_model_of_unknown_price_is_refused(tmp_path, capsys):
    model = rlms.Model('FINAL("x")')
    async with rlms.kernel_at(tmp_path, model, extra=unpriced.EXTRA) as kernel:
        words = ["q", "--content", "x", "--budget-usd", "1", "--sub-model", unpriced.MODEL]
        kernel.provider("unpriced").use(["seen"])
        with pytest.raises(CodetetherError, match=r"the price of unpriced/test is unknown"):
            await rlms.rlm(kernel, *words)
    assert not model.root


async def test_a_storys_sub_agent_of_unknown_price(tmp_path, monkeypatch, capsys):
    where = ralphs.project(tmp_path / "repo", ralphs.story("A"), ralphs.story("B", "A"))
    monkeypatch.chdir(where)
    model = ralphs.Model(A=[DEEP, "done"], usage=CENT)
    settings = {"agents.explore.model": unpriced.MODEL}
    how = {
        "plugins": [*ralphs.PLUGINS, "tools:task"],
        "extra": unpriced.EXTRA,
        "settings": settings,
    }
    async with ralphs.kernel_at(tmp_path, model, where, **how) as kernel:
        kernel.provider("unpriced").use(["seen"])
        code, said = await ralphs.result(kernel, capsys, "run", "--budget-usd", "5")
        assert (code, said["status"], kernel.provider("unpriced").asked) == (1, "stopped", [])
        assert "the price of unpriced/test is unknown" in said["error"]
        assert await ralphs.ralph(kernel, "run", "--budget-usd", "5") == 1
    assert "--budget-usd none" in capsys.readouterr().err  # no sum would do


async def test_a_session_with_a_budget_starts_no_sub_agent_of_unknown_price(tmp_path):
    reports = []

    def said(request):
        if request.messages[-1].role == "user":
            return Reply(calls=DEEP.calls, usage=CENT)
        reports.extend(request.messages[-1].results)
        return "done"

    how = {"plugins": ["tools:task", "executors:local"], "extra": unpriced.EXTRA}
    settings = {"agents.explore.model": unpriced.MODEL}
    async with (
        make_kernel(tmp_path, replies=said, settings=settings, **how) as kernel,
        kernel.open_session(directory=tmp_path / "work", access="full", budget_usd=1.0) as session,
    ):
        kernel.provider("unpriced").use(["seen"])
        finished = await session.prompt("please")
        assert (finished.reason, kernel.provider("unpriced").asked) == ("done", [])
    assert (reports[0].ok, reports[0].meta["code"]) == (False, "DENIED")
    assert "the price of unpriced/test is unknown" in reports[0].text


async def test_a_budget_in_dollars_for_a_run_whose_beginning_has_no_price(tmp_path, user, capsys):
    model = swarms.Model(plan(task("one"), task("two", "one")), usage=Usage(900, 100))
    async with swarms.kernel_at(tmp_path, model, user, extra=unpriced.EXTRA) as kernel:
        kernel.provider("unpriced").use(model)
        flags = ["-m", unpriced.MODEL, "--budget-tokens", "2000"]
        code, told = await swarms.result(kernel, capsys, "do it", *flags)
        assert (code, told["cost"]) == (1, None)
        flags = ["-m", "scripted/test", "--budget-tokens", "9000", "--budget-usd", "5"]
        code = await swarms.swarm(kernel, "resume", told["id"], flags=flags)
    assert code == 0
    assert "price of what was asked before is unknown" in capsys.readouterr().err


async def test_a_run_goes_on_without_the_budget_it_had(tmp_path, user, capsys):
    model = swarms.Model(plan(task("one")), one=[DEEP, "done"], usage=CENT)
    how = {"more": ["tools:task"], "settings": {"agents.explore.model": unpriced.MODEL}}
    async with swarms.kernel_at(tmp_path, model, user, extra=unpriced.EXTRA, **how) as kernel:
        dear = kernel.provider("unpriced")
        dear.use(lambda request: Reply(text="seen", usage=Usage(900, 100)))
        assert await swarms.swarm(kernel, "do it", flags=["--budget-usd", "5"]) == 1
        *_, words = capsys.readouterr().err.strip().partition("codetether swarm ")
        assert words.endswith(" --budget-usd none")
        assert dear.asked == []
        word, run, *flags = words.split()
        assert await swarms.swarm(kernel, word, run, flags=flags) == 0
    assert len(dear.asked) == 1


@pytest.mark.parametrize("limit", [["--budget-tokens", "20000"], ["--budget-usd", "0.02"]])
async def test_what_the_vendor_does_not_count_is_estimated(tmp_path, user, capsys, monkeypatch, limit):  # fmt: skip
    async def model(self, model_id):
        known = await told(self, model_id)
        return msgspec.structs.replace(known, input_price=1.0, output_price=1.0)

    told = Scripted.model
    monkeypatch.setattr(Scripted, "model", model)
    asked = []

    def said(request):
        asked.append(request)
        if swarms.Model.who(request)[0] == "plan":
            return plan(task("one"))
        return call("bash", command=f"echo {len(asked)}; head -c 8000 big.log")

    async with swarms.kernel_at(tmp_path, said, user) as kernel:
        code, data = await swarms.result(kernel, capsys, "do it", "--max-steps", "50", *limit)
    assert code == 1
    assert "is used up" in data["error"]
    assert 3 < len(asked) < 20
