"""What does not fit the model is summarised by itself, with a sentence that says why; what fits is left alone."""

from pathlib import Path

import pytest
import trio
from codetether.events import ProviderFault
from codetether.testing import Reply, call, make_kernel
from rlms import Model, log

ON = ["sandboxes", "modes:rlm", "extensions:rlm_auto", "tools:bash", "tools:read_file"]
SAYS = ["grep('ERROR')", 'FINAL("one error: node 7 is full, line 17000")']


class Talk(Model):
    """A person's session whose model makes `calls`, one a step; the rest is rlm's."""

    def __init__(self, *replies, calls=(), **more):
        super().__init__(*replies, **more)
        self.calls = calls
        self.session = []

    def __call__(self, request):
        if not request.system.startswith(("You answer", "Answer the question")):
            self.session.append(request)
            done = sum(message.role == "tool" for message in request.messages)
            return self.calls[done] if done < len(self.calls) else "told"
        return super().__call__(request)

    @property
    def result(self):
        """The last result the session's model was given."""
        return self.session[-1].messages[-1].results[0]


async def session_of(
    tmp_path, model, *, context=32_000, plugins=ON, state=None, prompt="why does it fail?", **how
):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    async with (
        make_kernel(tmp_path / "home", replies=model, plugins=plugins, directory=work, context=context, **how) as kernel,
        kernel.open_session(directory=work, access="full") as session,
    ):  # fmt: skip
        session.state |= state or {}
        notices = []

        async def listen(feed):
            async for event in feed:
                if type(event).__name__ == "Notice":
                    notices.append(event.text)

        async with trio.open_nursery() as nursery:
            with session.feed.listen(1_000) as feed:
                nursery.start_soon(listen, feed)
                await session.prompt(prompt)
                nursery.cancel_scope.cancel()
        session.notices = notices
        return session


async def test_a_result_too_large_is_kept_and_summarised_and_says_why(tmp_path):
    (tmp_path / "work").mkdir()
    log(tmp_path / "work" / "big.log", l17_000="ERROR node 7 is full")
    model = Talk(*SAYS, calls=[call("bash", command="cat big.log")])
    session = await session_of(tmp_path, model)
    text = model.result.text
    assert text.startswith("[This result of bash has 9")
    assert "tokens are too many for the model's window of 32,000. Below is a summary by rlm" in text
    assert "one error: node 7 is full, line 17000" in text
    assert "request 1 done" in text
    assert "request 30000 done" in text
    assert "request 15000 done" not in text
    kept = text.partition("read_file ")[2].partition(";")[0]
    assert "ERROR node 7 is full" in Path(kept).read_text()
    assert Path(kept).stat().st_mode & 0o777 == 0o600
    query = model.root[0].messages[0].text
    assert "why does it fail?" in query
    assert "cat big.log" in query
    assert session.usage.input >= 200
    assert any("too large for the model: rlm summarises it" in text for text in session.notices)


@pytest.mark.parametrize(
    ("command", "context", "how"),
    [
        ("seq 1 500", 32_000, {}),  # small
        ("cat big.log", None, {}),  # no window is known
        ("cat big.log", 32_000, {"off": ["extensions:rlm_auto"]}),
        ("cat big.log", 32_000, {"settings": {"plugins.extensions:rlm_auto.tools": ["webfetch"]}}),
        ("cat big.log", 2_000_000, {}),  # it fits
        (
            "cat big.log",
            32_000,
            {"settings": {"plugins.extensions:rlm_auto.least_bytes": 2_000_000}},
        ),
    ],
)
async def test_what_fits_or_is_not_wanted_is_left_alone(tmp_path, command, context, how):
    (tmp_path / "work").mkdir()
    log(tmp_path / "work" / "big.log")
    model = Talk(*SAYS, calls=[call("bash", command=command)])
    await session_of(tmp_path, model, context=context, **how)
    assert not model.root
    assert not model.subs
    assert "rlm" not in model.result.text


async def test_a_small_window_has_smaller_results_summarised(tmp_path):
    (tmp_path / "work").mkdir()
    log(tmp_path / "work" / "a.log", 600)
    model = Talk("grep('request 5 ')", 'FINAL("it is a log")', calls=[call("bash", command="cat a.log")])  # fmt: skip
    session = await session_of(
        tmp_path, model, context=8_000, settings={"session.auto_compact": False}
    )
    assert "it is a log" in model.result.text
    kept = model.result.meta["spilled"]
    assert kept.startswith(str(session.files))
    assert "request 300 done" in Path(kept).read_text()


@pytest.mark.parametrize(("filler", "summed"), [(44_000, True), (10, False)])
async def test_a_result_that_would_fill_the_window_is_summarised(tmp_path, filler, summed):
    (tmp_path / "work").mkdir()
    log(tmp_path / "work" / "a.log", 600)
    model = Talk("grep('request 5 ')", 'FINAL("it is a log")', calls=[call("bash", command="cat a.log")])  # fmt: skip
    settings = {"session.auto_compact": False}
    prompt = "why? " + "x " * filler
    await session_of(tmp_path, model, prompt=prompt, settings=settings)
    assert ("tokens in use, about" in model.result.text) == summed
    assert bool(model.subs or model.root) == summed


async def test_without_a_summary_the_result_stays_and_it_is_told(tmp_path):
    (tmp_path / "work").mkdir()
    log(tmp_path / "work" / "big.log")
    model = Talk(Reply(fault=ProviderFault("invalid", "not today")), calls=[call("bash", command="cat big.log")])  # fmt: skip
    session = await session_of(tmp_path, model)
    assert "bytes left out" in model.result.text or "read_file" in model.result.text
    assert "summary by rlm" not in model.result.text
    assert any("no summary: scripted/test: not today" in text for text in session.notices)


async def test_a_summary_stops_at_its_own_budget(tmp_path):
    (tmp_path / "work").mkdir()
    log(tmp_path / "work" / "big.log")
    model = Talk("slice(1, 2)", "slice(3, 4)", "slice(5, 6)", calls=[call("bash", command="cat big.log")])  # fmt: skip
    await session_of(tmp_path, model, settings={"plugins.extensions:rlm_auto.max_iterations": 3})
    assert len(model.root) == 3
    assert "It is partial: 3 iterations brought no answer." in model.result.text


async def test_an_attached_file_that_was_cut_is_summarised_before_the_turn(tmp_path):
    from codetether_headless import CUT, add_mentions

    work = tmp_path / "work"
    work.mkdir()
    log(work / "big.log", l17_000="ERROR node 7 is full")
    material = await add_mentions(work, "why? @big.log")
    assert [each.size for each in material.cut] == [(work / "big.log").stat().st_size]
    model = Talk(*SAYS)
    await session_of(
        tmp_path, model, context=60_000, state={CUT: material.cut}, prompt=material.text
    )
    [request] = model.session
    told = request.messages[-1].text
    assert "[This attached file big.log has 9" in told
    assert "one error: node 7 is full, line 17000" in told
    assert "read_file big.log" in told


async def test_of_many_attached_files_those_that_need_it_are_summarised_and_the_rest_is_told(
    tmp_path,
):
    from codetether_headless import CUT, Cut

    work = tmp_path / "work"
    work.mkdir()
    small, large = log(work / "small.log", 3_000), log(work / "large.log", 12_000)
    cut = [Cut(small.relative_to(work), small.stat().st_size, work)] * 6
    cut += [Cut(large.relative_to(work), large.stat().st_size, work)] * 6
    model = Talk('FINAL("nothing went wrong")')
    session = await session_of(
        tmp_path, model, context=200_000, state={CUT: tuple(cut)}, prompt="why?"
    )
    told = model.session[0].messages[-1].text
    assert told.count("[This attached file large.log has") == 5
    assert "small.log" not in told
    assert "1 more of the attached files are not summarised: 5 at most are" in session.notices


async def test_a_file_from_elsewhere_that_was_cut_is_summarised_though_it_would_fit(tmp_path):
    from codetether_headless import CUT, read_material

    work = tmp_path / "work"
    work.mkdir()
    outside = log(tmp_path / "outside.log", 3_000)
    material = await read_material(work, ["why?"], [str(outside)])
    model = Talk(sub="nothing went wrong")
    await session_of(tmp_path, model, context=1_000_000, state={CUT: material.cut}, prompt="why?")
    told = model.session[0].messages[-1].text
    assert "it lies outside of the workspace" in told
    assert "nothing went wrong" in told
    assert "read_file" not in told
