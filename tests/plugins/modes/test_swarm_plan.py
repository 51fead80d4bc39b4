"""Plans: what can be wrong in one, what is mended, and the order things start in."""

import json

import pytest
import trio
from codetether_crew.stuck import SAME, WINDOW, Watch
from codetether_mode_swarm.graph import Plan, SubTask, in_line, overlaps
from codetether_mode_swarm.parts import Part
from codetether_mode_swarm.plan import SCHEMA, read, single
from codetether_mode_swarm.schedule import schedule
from codetether_mode_swarm.texts import RESULT, filled, subtask
from hypothesis import given
from hypothesis import strategies as st
from swarms import Model, branches, kernel_at, plan, repository, result, task, writes


def problems(*subtasks, most=10):
    return read(plan(*subtasks), most)[1]


def test_a_plan_in_a_fence_among_words_with_numbers_for_names():
    text = f"Here it is:\n```json\n{plan(task('A b'), task('C', 'a B'), task('D', 'c', '1'))}\n```\nGood luck."
    text = text.replace('"name": "A b"', '"name": "A b", "id": 1')
    made, wrong = read(text, 10)
    assert wrong == []
    assert [(each.id, each.stage, each.dependencies) for each in made.subtasks] == [
        ("a-b", 0, ()), ("c", 1, ("a-b",)), ("d", 2, ("c", "a-b")),
    ]  # fmt: skip
    assert (made.stages, made.width) == (3, 1)


def test_names_that_differ_in_signs_only_get_words_of_their_own():
    made, wrong = read(plan(task("A 3"), task("A"), task("A!", "a"), task("+")), 10)
    assert wrong == []
    assert len({each.id for each in made.subtasks}) == 4
    [last] = [each for each in made.subtasks if each.name == "A!"]
    assert last.dependencies == ("a",)


@pytest.mark.parametrize(
    ("subtasks", "wrong"),
    [
        ([], "it has no sub-tasks"),
        ([task("a"), task("A")], "two sub-tasks are named 'A'"),
        ([task(" ")], "no name or no instruction"),
        ([task("a"), task("b"), task("c")], "it has 3 sub-tasks; 2 are allowed"),
        ([task("a", "nobody")], "'a' depends on 'nobody', which is no sub-task"),
        ([task("a", "a")], "'a' depends on itself"),
        ([task("a", "b"), task("b", "a")], "these wait for each other: a -> b -> a"),
    ],
)
def test_what_is_wrong_is_said(subtasks, wrong):
    made, said = read(plan(*subtasks), 2)
    assert made is None
    assert wrong in said[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        "{",
        '{"subtasks": 3}',
        '{"subtasks": [{"name": "a"}]}',
        "[1]",
        "}{",
        pytest.param('{"a":' * 99_999 + "1" + "}" * 99_999, id="deep"),
    ],
)
def test_no_plan_at_all(text):
    made, said = read(text, 10)
    assert made is None
    assert len(said) == 1


@pytest.mark.parametrize(
    ("one", "two", "meet"),
    [
        ("src/a.py", "src/a.py", True), ("src/a.py", "src/b.py", False), ("src/**", "src/a/b.py", True),
        ("src/", "./src/x.py", True), ("src/*.py", "src/a.py", True), ("src/a/**", "src/b/**", False),
        ("src/a/**", "src/**", True), ("docs/**", "src/docs/x", False),
    ],
)  # fmt: skip
def test_files_that_overlap(one, two, meet):
    made, said = read(plan(task("a", files=[one]), task("b", files=[two])), 10)
    assert made is not None
    assert bool(said) == meet
    assert bool(list(overlaps(made))) == meet
    assert not problems(task("a", files=[one]), task("b", "a", files=[two]))
    assert not problems(task("a", files=[one]), task("b", files=[two], writes=False))
    mended = in_line(made)
    assert not list(overlaps(mended))
    assert mended.stages == (2 if meet else 1)
    assert bool(mended.notes) == meet


names = st.text("abcdef", min_size=1, max_size=2)


@given(st.lists(st.tuples(names, st.lists(names, max_size=4), st.lists(st.sampled_from(["x/**", "x/y", "z"]), max_size=2)), max_size=8))  # fmt: skip
def test_whatever_is_proposed_is_a_plan_or_a_reason(proposed):
    made, said = read(
        plan(*(task(name, *after, files=files) for name, after, files in proposed)), 6
    )
    assert made or said
    if made is None:
        return
    made = in_line(made)
    seen = set()
    for each in made.subtasks:
        assert seen.issuperset(each.dependencies)
        assert each.stage == max(
            (o.stage + 1 for o in made.subtasks if o.id in each.dependencies), default=0
        )
        seen.add(each.id)
    assert len(seen) == len(proposed) <= 6
    assert not list(overlaps(made))


def test_the_schema_takes_what_is_read():
    from jsonschema import validate

    validate(json.loads(plan(task("a"))), SCHEMA)
    assert read(json.dumps({"subtasks": [{"name": "a", "instruction": "b"}]}), 1)[1] == []


# --- the order ---
async def test_urgent_ones_and_those_many_wait_for_start_first():
    made, _ = read(plan(task("alone"), task("urgent", priority=5), task("first"), task("second", "first"), task("third", "second")), 9)  # fmt: skip
    parts = {each.id: Part(each) for each in made.subtasks}
    began = []

    async def work(part):
        began.append(part.task.id)
        await trio.lowlevel.checkpoint()
        part.state = "completed"

    await schedule(made, parts, 1, work)
    assert began == ["urgent", "first", "second", "alone", "third"]


async def test_one_starts_as_soon_as_its_own_inputs_are_there(autojump_clock):
    made, _ = read(plan(task("slow"), task("quick"), task("after", "quick")), 9)
    parts = {each.id: Part(each) for each in made.subtasks}
    ended = []

    async def work(part):
        await trio.sleep(10 if part.task.id == "slow" else 1)
        part.state = "completed"
        ended.append((part.task.id, trio.current_time()))

    began = trio.current_time()
    await schedule(made, parts, 9, work)
    assert [(name, round(at - began)) for name, at in ended] == [
        ("quick", 1),
        ("after", 2),
        ("slow", 10),
    ]


async def test_who_may_begin_is_not_looked_for_among_all_again_and_again():
    looks = []

    class Watched(Part):
        @property
        def over(self):
            looks.append(self.task.id)
            return super().over

    tasks = [
        task(f"t{number}", *([f"t{number - 1}"] if number % 2 else [])) for number in range(200)
    ]
    made, _ = read(plan(*tasks), 200)
    parts = {each.id: Watched(each) for each in made.subtasks}
    began = []

    async def work(part):
        began.append(part.task.id)
        await trio.lowlevel.checkpoint()
        part.state = "completed"

    await schedule(made, parts, 3, work)
    assert sorted(began) == sorted(parts)
    assert all(
        began.index(each.id) > began.index(other)
        for each in made.subtasks
        for other in each.dependencies
    )
    assert len(looks) == 300  # each once, and once for each that waits for it


async def test_what_is_over_is_not_done_again():
    made, _ = read(plan(task("old"), task("new", "old"), task("last", "new")), 9)
    parts = {each.id: Part(each) for each in made.subtasks}
    parts["old"].state = "completed"
    began = []

    async def work(part):
        began.append(part.task.id)
        part.state = "completed"

    await schedule(made, parts, 9, work)
    assert began == ["new", "last"]


# --- repair, once ---
@pytest.fixture
def user(tmp_path, monkeypatch):
    where = repository(tmp_path / "repo")
    monkeypatch.chdir(where)
    return where


async def test_a_wrong_plan_is_mended_by_the_model_once(tmp_path, user, capsys):
    model = Model(plan(task("a", "b"), task("b", "a")), plan(task("a"), task("b", "a")))
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(
            kernel, capsys, "do it", "--strategy", "stage", "--max-subagents", "7"
        )
        asked = kernel.provider("scripted").asked[:2]
    assert (code, len(said["subtask_results"])) == (0, 2)
    assert "Split by the steps of the work" in asked[0].messages[0].text
    assert "at most 7 sub-tasks" in asked[0].messages[0].text
    assert "a.txt" in asked[0].messages[0].text
    assert "these wait for each other: a -> b -> a" in asked[1].messages[-1].text
    assert asked[0].schema == SCHEMA


def test_many_that_change_the_same_file_wait_for_one_each():
    made, wrong = read(plan(*[task(f"t{n}", files=["src/**"]) for n in range(300)]), 300)
    assert len(wrong) == 300 * 299 / 2
    made = in_line(made)
    assert (made.stages, len(made.notes)) == (300, 299)
    assert [each.dependencies for each in made.subtasks] == [(), *[(f"t{n}",) for n in range(299)]]


async def test_overlapping_files_are_put_one_after_another_and_that_is_said(tmp_path, user, capsys):
    both = plan(task("a", files=["a.txt"]), task("b", files=["a.txt"]))
    model = Model(both, both, a=writes("a.txt", "A"), b=writes("a.txt", "AB"))
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it")
    assert code == 0
    assert said["notes"][0] == "b waits for a: both change a.txt"
    assert model.asked["plan"] == 2
    assert (user / "a.txt").read_text() == "AB"
    assert said["conflicts"] == []


async def test_strategy_none_asks_for_no_plan(tmp_path, user, capsys):
    model = Model(**{"Main task": writes("x.txt", "x")})
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--strategy", "none")
    assert code == 0
    assert set(model.asked) == {"Main task"}
    assert said["subtask_results"][0]["subtask_id"] == single("x").subtasks[0].id
    assert branches(user) == ["main"]


# --- texts, watching ---
def test_what_a_model_wrote_is_not_taken_for_a_place_to_fill():
    text = subtask(
        SubTask("a", "A {task}", "Do {name} {"),
        "Whole {results}",
        [("B", "x" * 9000)],
        again="",
        merged=True,
    )
    assert "Do {name} {" in text
    assert "Whole {results}" in text
    assert f"[cut: {9000 - RESULT} characters more]" in text
    assert filled("mend", problems="{}").startswith("That plan cannot be used:\n{}")


async def test_calls_that_differ_in_arguments_or_result_are_progress():
    from codetether.events import ToolFinished, ToolStarted

    def calls(pairs):
        with trio.CancelScope() as scope:
            watch = Watch(scope, 60)
            for number, (arguments, said) in enumerate(pairs):
                watch.see(ToolStarted(f"c{number}", "bash", {"command": arguments}, ""))
                watch.see(ToolFinished(f"c{number}", "bash", True, "", said, 0.0))
        return watch.why

    assert calls([("make", f"line {n}") for n in range(40)]) == ""
    assert calls([(f"cat {n}", "") for n in range(40)]) == ""
    assert "6 times in a row" in calls([("make", "error")] * SAME)
    assert "over and over" in calls([("make", "error"), ("cat x", "x")] * (WINDOW // 2))
    assert calls([("make", "error"), ("cat x", "x"), ("ls", "y")] * 20) == ""


def test_a_plan_is_kept_as_it_is():
    import msgspec

    made, _ = read(plan(task("a"), task("b", "a", files=["x"], writes=False)), 9)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan) == made
