"""The RLM worker through its owner's side: real processes, real files, whatever sandbox works here."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from codetether.api import CodetetherError
from codetether.testing import make_kernel, processes_with
from codetether_rlm.limits import Limits, Query, Reply
from codetether_rlm.sources import Source, SourceError
from codetether_rlm.worker import worker

LOG = "".join(f"2024-05-01 12:00:{n % 60:02} INFO step {n} done\n" for n in range(1, 2001))


async def shout(queries: list[Query]) -> list[Reply]:
    """A sub-model that says the prompt loudly, and how long the context is."""
    return [Reply(f"{query.prompt.upper()} {len(query.context)}") for query in queries]


@asynccontextmanager
async def working(place, sources, *, query=shout, sandbox="auto", **limits):
    """A worker whose cells run also where nothing confines them: what confines is tested by itself.

    The home is that of all these tests, so that the sandbox is tried once.
    """
    limits.setdefault("unconfined_python", True)
    settings = {"sandbox": sandbox}
    async with (
        make_kernel(
            place.parent / "rlm-home", replies=["x"], plugins=["sandboxes"], settings=settings
        ) as kernel,
        worker(kernel, sources, query=query, limits=Limits(**limits)) as made,
    ):
        yield made


def file_of(place, text, name="app.log"):
    path = place / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Source(name, path)


async def test_commands_read_a_file_and_say_which_lines(tmp_path):
    async with working(tmp_path, [file_of(tmp_path, LOG)]) as made:
        assert made.facts["sources"][0]["name"] == "app.log"
        assert (made.facts["kind"], made.facts["lines"], made.facts["bytes"]) == (
            "logs",
            2000,
            len(LOG),
        )
        assert made.facts["confidence"] > 0.9
        lines = LOG.splitlines()
        first = await made.command("head(2)")
        assert first.output.splitlines()[:2] == lines[:2]
        assert first.ranges == [("app.log", 1, 2)]
        last = await made.command("tail(3)")
        assert last.output.splitlines()[:3] == lines[-3:]
        assert last.ranges == [("app.log", 1998, 2000)]
        middle = await made.command("slice(700, 702)")
        assert middle.output.splitlines()[:3] == lines[699:702]
        found = await made.command('grep("step 77 ")')
        assert found.output.strip() == f"77: {lines[76]}"
        assert found.ranges == [("app.log", 77, 77)]
        assert (await made.command('count("INFO")')).output.strip() == "2000"
        assert (await made.command("lines()")).output.strip() == "2000"
        assert (await made.command('grep("no such thing")')).output.strip() == "(no matches)"
        # ":02" is in every minute: 100 of the matches are shown, and it says that there are more
        assert "there are more" in (await made.command('grep("INFO")')).output
        seen = await made.ranges()
        assert seen == [("app.log", 1, 100), ("app.log", 700, 702), ("app.log", 1998, 2000)]


async def test_commands_as_models_write_them(tmp_path):
    async with working(tmp_path, [file_of(tmp_path, LOG)]) as made:
        done = await made.command(
            '// look\nlet hits = grep("step 1[0-9] ", limit=3);\nconst n = count("a=b");\nprint(n)\nhits[1:2]'
        )
        assert done.error is None
        assert done.output == f"0\n11: {LOG.splitlines()[10]}\n"
        asked = await made.command('x = llm_query("what is it?", slice(1, 2))\nx')
        assert (
            asked.output.strip()
            == f"WHAT IS IT? {sum(len(each) + 1 for each in LOG.splitlines()[:2])}"
        )
        assert (asked.queries, asked.failed) == (1, 0)
        for text, answer in (
            ("FINAL(42)", "42"),
            ('FINAL("two\\nlines")', "two\nlines"),
            ("FINAL(it's a needle (7))", "it's a needle (7)"),
            ("FINAL!('quoted')", "quoted"),
            ('FINAL("""over\nlines""")', "over\nlines"),
            ("FINAL(x)", "WHAT IS IT? 74"),
            ("head(1)\nFINAL(over\nlines)", "over\nlines"),
        ):
            done = await made.command(text)
            assert (done.final, done.error) == (answer, None), text


async def test_an_answer_of_several_lines_stays_as_it_was_written(tmp_path):
    answer = "see:\n  int x = 1;\nlet y = 2;\n// a comment  \n```\nend;"
    async with working(tmp_path, [file_of(tmp_path, LOG)]) as made:
        for text in (
            f'let n = 1;\nFINAL("""{answer}""");',
            f'FINAL("{answer}")',
            f"FINAL({answer})",
        ):
            assert (await made.command(text)).final == answer, text


@pytest.mark.parametrize("text", ['FINAL("")', "FINAL(' \\n')", "FINAL(", "x = ''\nFINAL_VAR('x')"])
async def test_an_empty_answer_is_none_and_that_is_told(tmp_path, text):
    async with working(tmp_path, [file_of(tmp_path, LOG)]) as made:
        done = await made.command(text)
        assert done.final is None
        assert "an empty answer is none" in (done.error or "")


@pytest.mark.parametrize(
    "text",
    [
        "what now",
        "open('/etc/passwd')",
        "__import__('os')",
        "head.__globals__",
        "[x for x in (1,)]",
        "(lambda: 1)()",
        "import os",
        "head(*[1])",
        'f"{1:{10}}"',
        "nothing",
        "a.b = 1",
    ],
)
def test_what_is_no_command_is_told_and_does_nothing(text):
    from codetether_rlm.inside.commands import Commands, NotUnderstood

    with pytest.raises(NotUnderstood):
        Commands({}, {}).run(text)


async def test_what_python_only_warns_of_is_not_among_the_output(tmp_path):
    """From Python 3.12 on a pattern such as `"\\d"` is warned of, each time."""
    async with working(tmp_path, [file_of(tmp_path, LOG)]) as made:
        assert (await made.command('grep("step \\d\\d7 ", limit=1) is 1')).error
        assert (await made.command('count("step \\d\\d7 ")')).output == "90\n"
        assert (await made.python('count("step \\d\\d7 "), 1 is 1')).output == "(90, True)\n"


async def test_cells_keep_their_state_whatever_they_do(tmp_path):
    async with working(
        tmp_path, [file_of(tmp_path, LOG)], cell_seconds=2.0, memory_bytes=256 << 20
    ) as made:
        first = await made.python(
            "import re\nkept = [1, 2]\ndef twice(n):\n    return 2 * n\ntwice(21)"
        )
        assert (first.output, first.error) == ("42\n", None)
        raised = await made.python("kept.append(3)\n1 / 0")
        assert raised.error == "ZeroDivisionError: division by zero (line 2)"
        looped = await made.python("kept.append(4)\nwhile True: pass")
        assert "stopped after 2 s" in (looped.error or "")
        grown = await made.python("kept.append(5)\nbig = bytearray(1 << 30)")
        assert "MemoryError" in (grown.error or "")
        wrong = await made.python("def (")
        assert (wrong.error or "").startswith("SyntaxError")
        left = await made.python("import sys\nsys.exit(3)")
        assert "SystemExit" in (left.error or "")
        deep = await made.python("def down(): down()\ndown()")
        assert "RecursionError" in (deep.error or "")
        assert (await made.python("kept, twice(4)")).output == "([1, 2, 3, 4, 5], 8)\n"
        # both languages share their variables
        assert (await made.command("kept[1:3]")).output == "[2, 3]\n"
        assert (await made.command("n = lines()")).error is None
        assert (await made.python("n + 1")).output == "2001\n"


async def test_a_process_that_ends_is_replaced_with_what_was_kept(tmp_path):
    async with working(tmp_path, [file_of(tmp_path, LOG)], restarts=2) as made:
        await made.python(
            "import os, json\nclass Point:\n    x = 3\np = Point()\np.x = 4\ngone = (n for n in [1])\nn = 5"
        )
        ended = await made.python("n = 6\nos._exit(9)")
        assert "code 9" in (ended.error or "")
        assert "kept: n, p" in (ended.error or "")
        assert "lost: gone" in (ended.error or "")
        again = await made.python("n, p.x, json.dumps([1]), Point.x")
        assert (again.error, again.output.strip()) == (None, "(5, 4, '[1]', 3)")
        assert (await made.command("head(1)")).ranges == [("app.log", 1, 1)]
        for _ in range(2):
            assert "ended" in ((await made.python("os._exit(1)")).error or "")
        with pytest.raises(CodetetherError, match="ended 3 times"):
            await made.python("1")
        assert await made.ranges() == [("app.log", 1, 1)]


async def test_what_is_lost_when_it_ends_between_two_cells_is_told_too(tmp_path, monkeypatch):
    marker = f"UTC0-{os.getpid()}-idle"
    monkeypatch.setenv("TZ", marker)
    async with working(tmp_path, [file_of(tmp_path, LOG)]) as made:
        await made.python("n = 5\ngone = (each for each in [1])")
        for pid in processes_with(marker):
            with suppress(ProcessLookupError):  # one ends with the other
                os.kill(pid, signal.SIGKILL)
        with trio.fail_after(60):
            while not made._process._child.ended:  # its files are closed after its memory is gone
                await trio.sleep(0.01)
        again = await made.python("n, 'gone' in globals()")
        assert again.output.splitlines() == ["[started again without gone]", "(5, False)"]


async def test_what_cannot_be_restored_is_told_and_holds_nobody_up(tmp_path):
    """A class body that was not reached is not run again; one that hangs the second time is given up."""
    async with working(tmp_path, [file_of(tmp_path, LOG)], cell_seconds=1.0) as made:
        await made.python("n = 1\nclass Never:\n    while True: pass")
        await made.python(
            "import os, time\nclass Odd:\n    def __reduce__(self): return (time.sleep, (60,))\nodd = Odd()\nz = 2"
        )
        assert (await made.python("os._exit(1)")).error
        again = await made.python("n, 'Never' in globals(), 'odd' in globals()")
        assert again.output.splitlines() == ["[started again without odd, z]", "(1, False, False)"]


async def test_what_could_not_be_kept_in_time_is_kept_after_the_next_cell(tmp_path):
    slow = "class Slow:\n    def __reduce__(self):\n        time.sleep(60)\nlate = Slow()"
    async with working(tmp_path, [file_of(tmp_path, LOG)], cell_seconds=1.0) as made:
        await made.python(f"import os, time\nn = 1\n{slow}")
        await made.python("del late\nm = 2")
        assert "kept: m, n" in ((await made.python("os._exit(1)")).error or "")
        assert (await made.python("n, m")).output == "(1, 2)\n"


async def test_a_name_that_became_a_function_is_one_after_a_restart(tmp_path):
    async with working(tmp_path, [file_of(tmp_path, LOG)]) as made:
        await made.python("import os\nf = 5")
        await made.python("def f(): return 6")
        await made.python("os._exit(1)")
        assert (await made.python("f()")).output == "6\n"


async def test_a_cell_that_cannot_be_interrupted_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("codetether_rlm.worker.GRACE", 1.0)
    async with working(tmp_path, [file_of(tmp_path, LOG)], cell_seconds=1.0) as made:
        await made.python("kept = 7")
        stubborn = "while True:\n    try:\n        n = 0\n        while True: n += 1\n    except BaseException: pass"
        assert "killed after 2 s" in ((await made.python(stubborn)).error or "")
        assert (await made.python("kept")).output == "7\n"
        assert "killed after" in (
            (await made.python("import itertools\nmax(itertools.repeat(1))")).error or ""
        )
        assert (await made.python("kept")).output == "7\n"


async def test_cancelling_ends_the_process_and_the_next_cell_starts_one(tmp_path):
    async with working(tmp_path, [file_of(tmp_path, LOG)]) as made:
        await made.python("n = 1")
        with trio.move_on_after(0.5) as scope:
            await made.python("while True: pass")
        assert scope.cancelled_caught
        assert (await made.python("n")).output == "1\n"


async def test_output_is_short_and_clean(tmp_path):
    text = "\x1b]0;title\x07\x1b[31mred\x1b[0m \u202eevil\n" + "x" * 100 + "\n"
    async with working(tmp_path, [file_of(tmp_path, text)], output_bytes=1_000) as made:
        shown = await made.command("head(1)")
        assert "\x1b" not in shown.output
        assert "\u202e" not in shown.output
        long = await made.python("print('a' * 600); print('b' * 100_000); print('the end')")
        assert long.truncated
        assert len(long.output.encode()) < 1_200
        assert long.output.startswith("aaa")
        assert long.output.endswith("the end\n")
        assert "characters left out" in long.output
        wide = await made.python("print('\\x1b' * 900)")  # what is made visible is longer
        assert len(wide.output.encode()) < 1_200
        assert "\x1b" not in wide.output
        half = await made.python("print('\\ud800')\nFINAL('a\\ud800b\\x1b')")
        assert half.final == "a?b\u241b"


async def test_an_answer_too_long_says_that_it_is_cut(tmp_path):
    async with working(tmp_path, [file_of(tmp_path, LOG)]) as made:
        whole = (await made.python("FINAL('a' * 2 ** 20)")).final
        assert whole == "a" * 2**20
        cut = (await made.python("FINAL('a' * 2 ** 20 + 'bc')")).final or ""
        assert cut.endswith("aaa\n[the answer is cut here: it has 1,048,578 characters]")


async def test_sub_calls_are_one_batch_and_their_failures_are_typed(tmp_path):
    batches = []

    async def some(queries):
        batches.append(len(queries))
        return [
            Reply("", "no budget left") if "3" in each.prompt else Reply(each.prompt + each.context)
            for each in queries
        ]

    async with working(
        tmp_path, [file_of(tmp_path, LOG)], query=some, queries=10, query_bytes=1000
    ) as made:
        done = await made.python(
            "replies = llm_query_batched([f'q{n}' for n in range(8)], ['c'] * 8)\n"
            "[str(each) for each in replies], replies[3].error"
        )
        assert batches == [8]
        assert (done.queries, done.failed) == (8, 1)
        assert "[1 of 8 sub-calls failed: no budget left]" in done.output
        assert (
            "['q0c', 'q1c', 'q2c', '', 'q4c', 'q5c', 'q6c', 'q7c'], 'no budget left'" in done.output
        )
        assert "NoAnswer: no budget left" in ((await made.python("llm_query('q3')")).error or "")
        assert "11 sub-calls at once" in (
            (await made.python("llm_query_batched(['a'] * 11)")).error or ""
        )
        assert "at most 1,000" in ((await made.python("llm_query('a', 'b' * 2000)")).error or "")
        assert batches == [8, 1]
        assert "2 prompts and 1 contexts" in (
            (await made.python("llm_query_batched(['a', 'b'], ['c'])")).error or ""
        )


async def test_a_chunk_goes_to_a_sub_model_from_its_file_and_counts_as_read(tmp_path):
    asked = []

    async def keep(queries):
        asked.extend(queries)
        return [Reply("seen") for _ in queries]

    text = "".join(f"# Part {n}\n\näöü {n}\n" for n in range(300))
    async with working(
        tmp_path, [file_of(tmp_path, text, "t.md")], query=keep, batch_bytes=9_000
    ) as made:
        done = await made.python(
            "parts = chunks(size=500)\nllm_query_batched(['what?'] * 3, parts[1:4])"
        )
        assert done.error is None
        assert "".join(each.context for each in asked) in text
        assert asked[0].context.startswith("# Part")
        [(_, first, last)] = done.ranges
        lines = text.split("\n")
        assert "\n".join(lines[first - 1 : last]) + "\n" == "".join(each.context for each in asked)
        assert (await made.python("llm_query('and?', context)")).ranges == [("t.md", 1, 900)]
        assert asked[-1].context == text
        much = await made.python("llm_query_batched(['what?'] * 2 * len(parts), parts * 2)")
        assert "at once; at most 9,000" in (much.error or "")
        assert much.ranges == []


async def test_a_chunk_whose_sub_call_failed_does_not_count_as_read(tmp_path):
    async def some(queries):
        return [
            Reply("", "no budget left") if n == 1 else Reply("seen") for n, _ in enumerate(queries)
        ]

    text = "".join(f"line {n}\n" for n in range(1, 301))
    async with working(tmp_path, [file_of(tmp_path, text, "t.txt")], query=some) as made:
        done = await made.python("parts = chunks(3)\nllm_query_batched(['what?'] * 3, parts[:3])")
        told = await made.python("[(part.first_line, part.last_line) for part in parts[:3]]")
    (_, before), (_, _), (after, last) = eval(told.output)
    assert done.ranges == [("t.txt", 1, before), ("t.txt", after, last)]


async def test_many_small_sources_are_a_few_chunks(tmp_path):
    asked = []

    async def keep(queries):
        asked.extend(queries)
        return [Reply("seen") for _ in queries]

    sources = [Source(f"f{n:02}", data=f"text {n}\n".encode() * 3) for n in range(30)]
    sources.insert(7, Source("long", data=LOG.encode()))
    async with working(tmp_path, sources, query=keep) as made:
        done = await made.python("parts = chunks(size=200)\nlen(parts) < 600, parts[0]")
        assert done.output == "(True, 7 sources (147 bytes), f00 to f06)\n"
        done = await made.python(
            "llm_query('what?', parts[0])\nprint(parts[0].text == str(parts[0]))"
        )
        assert done.output == "True\n"
        assert done.ranges == [(f"f{n:02}", 1, 3) for n in range(7)]
        assert asked[0].context.startswith(
            "=== f00 ===\ntext 0\ntext 0\ntext 0\n\n=== f01 ===\ntext 1\n"
        )
        told = await made.python(
            "found = []\n"
            "for part in parts: found += [(each.source.name, each.start, each.end) for each in getattr(part, 'parts', [part])]\n"
            "all(sum(b - a for n, a, b in found if n == name) == len(text) for name, text in sources.items())"
        )
        assert told.output == "True\n"


async def test_of_thousands_of_sources_all_that_were_read_are_named(tmp_path):
    sources = [Source(f"f{n:04}", data=b"text\n") for n in range(3_000)]
    async with working(tmp_path, sources) as made:
        done = await made.python("for part in chunks(size=1_000): part.text")
        assert done.error is None
        assert await made.ranges() == [(f"f{n:04}", 1, 1) for n in range(3_000)]


async def test_the_time_of_sub_calls_is_not_the_cells(tmp_path):
    async def slow(queries):
        await trio.sleep(1.5)
        return [Reply("late") for _ in queries]

    async with working(tmp_path, [file_of(tmp_path, LOG)], query=slow, cell_seconds=1.0) as made:
        done = await made.python("llm_query('a')")
        assert (done.output, done.error) == ("late\n", None)
        assert done.seconds < 1.5
        assert "stopped after" in (
            (await made.python("llm_query('a')\nwhile True: pass")).error or ""
        )


async def test_sub_calls_that_are_refused_at_once_take_time_of_the_cell(tmp_path, monkeypatch):
    """Each takes its moment, in which nobody answers anything: a cell could ask a million times."""

    async def refused(queries):
        return [Reply("", "no budget left") for _ in queries]

    def slowly(self, asked):
        time.sleep(0.3)
        return [Query(each.prompt) for each in asked]

    monkeypatch.setattr("codetether_rlm.worker.Worker._read", slowly)
    async with working(tmp_path, [file_of(tmp_path, LOG)], query=refused, cell_seconds=1.0) as made:
        with trio.fail_after(60):
            done = await made.python("n = 0\nwhile True:\n    llm_query_batched(['a'])\n    n += 1")
        assert "stopped after 1 s" in (done.error or "")
        assert (await made.python("0 < n < 9")).output == "True\n"


async def test_the_time_of_searches_is(tmp_path):
    async with working(tmp_path, [file_of(tmp_path, LOG)], cell_seconds=1.0) as made:
        done = await made.python("while True: count('step')")
        assert "stopped after 1 s" in (done.error or "")
        assert (await made.command("lines()")).output == "2000\n"


async def test_what_a_sub_call_raises_ends_the_cell_for_its_owner(tmp_path):
    async def broken(_):
        raise RuntimeError("the owner's own fault")

    async with working(tmp_path, [file_of(tmp_path, LOG)], query=broken) as made:
        with pytest.raises(RuntimeError, match="own fault"):
            await made.python("llm_query('a')")
        assert (await made.command("lines()")).output == "2000\n"


async def test_several_sources_are_searched_together_and_named(tmp_path):
    sources = [
        file_of(tmp_path, "alpha\nneedle one\n", "a.txt"),
        Source("piped", data=b"needle two, without an end of line"),
        file_of(tmp_path, "", "empty.txt"),
        file_of(tmp_path, "beta\n\nneedle three\n", "c.txt"),
    ]
    async with working(tmp_path, sources) as made:
        found = await made.command('grep("^needle")')
        assert found.output.splitlines() == [
            "a.txt:2: needle one",
            "piped:1: needle two, without an end of line",
            "c.txt:3: needle three",
        ]
        assert found.ranges == [("a.txt", 2, 2), ("piped", 1, 1), ("c.txt", 3, 3)]
        assert (await made.command('count("needle", "piped")')).output == "1\n"
        assert (await made.command('count("e")')).output.strip() == str(4 + 5 + 6)
        assert (await made.command('head(1, "c.txt")')).output.startswith("beta")
        assert (await made.command("lines()")).output == "6\n"
        unnamed = await made.command("head(1)")
        assert "name a source: 'a.txt', 'piped'" in (unnamed.error or "")
        assert "there is no source 'x'" in ((await made.command('head(1, "x")')).error or "")
        told = await made.python("list(sources), len(sources['piped']), 'context' in globals()")
        assert told.output.startswith("(['a.txt', 'piped', 'empty.txt', 'c.txt'], 34, False)")


async def test_text_in_python_is_bytes_cut_between_characters(tmp_path):
    text = "äöü€\n" * 50
    async with working(tmp_path, [file_of(tmp_path, text, "t.txt")]) as made:
        cells = {
            "len(context)": str(len(text.encode())),
            "context[0:3]": "äö",
            "context[1:5]": "öü",
            "'€' in context, context.find('€')": "(True, 6)",
            "sum(1 for line in context)": "50",
            "len(str(context).splitlines()), context.splitlines()[3]": "(50, 'äöü€')",
            "import re\nlen(re.findall('€'.encode(), context.raw))": "50",
            "''.join(part.text for part in chunks(size=64)) == str(context)": "True",
            "chunks(2)": "[0] t.txt:1-25 (250 bytes) äöü€\n[1] t.txt:26-50 (250 bytes) äöü€",
        }
        for cell, output in cells.items():
            done = await made.python(cell)
            assert (done.error, done.output.rstrip("\n")) == (None, output), cell


async def test_patterns_are_ripgreps_and_linear(tmp_path):
    text = "a" * 50_000 + "!\nGrüße\nx=1\n-e\n"
    async with working(tmp_path, [file_of(tmp_path, text, "t.txt")]) as made:
        assert (await made.command('count("(a+)+$")')).output == "0\n"
        assert "no regular expression" in ((await made.command('grep("(")')).error or "")
        assert (await made.command('grep("x=1")')).output == "3: x=1\n"
        assert (await made.command('grep("-e")')).output == "4: -e\n"
        assert (await made.command('grep("GRÜSSE|grüße", ignore_case=True)')).output == "2: Grüße\n"
        assert (await made.command('count("GRÜ|X=", ignore_case=True)')).output == "2\n"
        assert (await made.command('grep("")')).error is not None
        assert (await made.command('grep("a", limit=1)')).output.startswith("1: [byte 0] aaaa")


async def test_a_pattern_no_command_line_holds_is_searched_or_refused(tmp_path):
    async with working(tmp_path, [file_of(tmp_path, b"a\0b\nc\n")]) as made:
        assert (await made.python("count('a\\0b|[\\0]b')")).output == "1\n"
        long = await made.python("grep('|'.join(f'word {n}' for n in range(40_000)))")
        assert "the pattern has 428,889 bytes, and 65,536 is the most" in (long.error or "")
        assert (await made.command("lines()")).output == "2\n"


async def test_lines_that_end_as_those_of_windows_are_found_by_their_ends(tmp_path):
    text = "one done\r\ntwo\r\nthree done\r\nfour done\n"
    async with working(tmp_path, [file_of(tmp_path, text)]) as made:
        found = await made.command('grep("done$")')
        assert found.output == "1: one done\n3: three done\n4: four done\n"
        assert (await made.command('count("^two$")')).output == "1\n"
        assert (await made.command('count("\\\\r$")')).output == "3\n"
        lines = await made.python("[line for line in context]")
        assert lines.output == f"{text.splitlines()}\n"
        assert (await made.python("grep('four')[0].start")).output == f"{text.index('four')}\n"


@pytest.mark.parametrize("others", [0, 70])
async def test_in_a_line_too_long_to_show_each_match_is_shown_with_what_is_around_it(
    tmp_path, others
):
    first, line = (
        "needle in a short line\n",
        "ä" * 5_000 + "<needle 1>" + "b" * 9_000 + "<needle 2>\n",
    )
    text = first + line + "x" * 3_000 + "\nneedle\n"
    sources = [Source(f"f{n}", data=b"needle\n") for n in range(others)]
    async with working(tmp_path, [*sources, file_of(tmp_path, text, "t.json")]) as made:
        made_of = await made.python("hits = grep('needle', 't.json', limit=4)\n[(hit.line, hit.start) for hit in hits]")  # fmt: skip
        places = [text.encode().index(b"needle 1"), text.encode().index(b"needle 2")]
        assert (
            made_of.output
            == f"[(1, 0), (2, {places[0]}), (2, {places[1]}), (4, {len(text.encode()) - 7})]\n"
        )
        assert (
            await made.python("hits[0], hits[3]")
        ).output == "('needle in a short line', 'needle')\n"
        shown = (await made.python("print(hits[1]); print(hits[2])")).output.splitlines()
        assert shown[0].startswith(f"[byte {places[0]:,}] ää")
        assert "ä<needle 1>bbb" in shown[0]
        assert shown[1].endswith("bbb<needle 2>")
        assert max(map(len, shown)) < 900
        less = await made.python("hits = grep('needle', 't.json', limit=2)\nlen(hits), hits.more")
        assert less.output == "(2, True)\n"
        assert (
            await made.python("len(grep('b*$|needle', 't.json')), count('needle', 't.json')")
        ).error is None


async def test_the_first_matches_are_shown_whichever_file_is_searched_sooner(tmp_path):
    sources = [
        file_of(tmp_path, "x" * 60_000_000 + "needle", "a.json"),
        file_of(tmp_path, "y" * 3_000 + "needle" * 5, "b.json"),
    ]
    async with working(tmp_path, sources) as made:
        found = await made.python(
            "hit = grep('needle', limit=1)[0]\nhit.source, hit.start, hit[:6]"
        )
    assert found.output == "('a.json', 60000000, '[byte ')\n"


async def test_a_search_that_did_not_end_well_is_no_search_without_matches(tmp_path, monkeypatch):
    broken = tmp_path / "rg"
    broken.write_text("#!/bin/sh\necho /proc/self/fd/64:1:0:one\nkill -BUS $$\n")
    broken.chmod(0o755)
    async with working(tmp_path, [file_of(tmp_path, LOG)]) as made:
        monkeypatch.setattr("codetether.ripgrep.ripgrep_path", lambda: str(broken))
        for words in ("grep('INFO')", "count('INFO')"):
            assert "not all of the text could be searched" in ((await made.command(words)).error or "")  # fmt: skip


async def test_a_file_that_becomes_shorter_loses_no_state(tmp_path):
    """Reading a mapped page that is gone kills a process: it is the worker's, and it comes back."""
    path = tmp_path / "shrinks.log"
    path.write_text(LOG * 4)
    async with working(tmp_path, [Source("shrinks.log", path)]) as made:
        await made.python("n = 1")
        os.truncate(path, 5_000)
        ended = await made.command("tail(2)")
        assert "the worker ended" in (ended.error or "")
        assert (await made.python("n, len(context)")).output == "(1, 5000)\n"
        assert (await made.command("lines()")).error is None


async def test_a_piece_that_is_gone_with_the_end_of_its_file_is_empty(tmp_path):
    path = tmp_path / "shrinks.log"
    path.write_text(LOG * 4)
    async with working(tmp_path, [Source("shrinks.log", path)]) as made:
        await made.python("parts = chunks(8)")
        left = LOG.index("\n", 5_000) + 1
        os.truncate(path, left)
        assert (await made.command("tail(2)")).ended
        done = await made.python(f"{{str(each) for each in llm_query_batched(['q'] * len(parts), parts)}} == {{'Q {left}', 'Q 0'}}")  # fmt: skip
        assert (done.error, done.output) == (None, "True\n")
        assert done.ranges == [("shrinks.log", 1, LOG[:left].count("\n"))]


async def test_more_lines_than_are_read_at_once_are_cut_and_that_is_told(tmp_path):
    text = "häu\n" * 4_000_000
    async with working(tmp_path, [file_of(tmp_path, text, "long.txt")]) as made:
        for words in ("head(4_000_000)", "tail(4_000_000)"):
            done = await made.python(f"len({words})")
            assert done.output.startswith("[cut at 16 MB: ask for fewer lines]\n"), words
            done = await made.python(f"len({words.replace('4_', '3_')})")
            assert done.output == "12000000\n"


async def test_a_source_that_grows_or_is_replaced_stays_as_it_was(tmp_path):
    path = tmp_path / "grows.log"
    path.write_text(LOG)
    async with working(tmp_path, [Source("grows.log", path)]) as made:
        with path.open("a") as file:
            file.write("new line\n")
        assert (await made.command('grep("new line")')).output == "(no matches)\n"
        assert (await made.command("lines()")).output == "2000\n"
        path.unlink()
        path.write_text("another\n")
        assert (await made.command("head(1)")).output.startswith("2024-05-01")


async def test_sources_that_cannot_be_used_are_told(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for source, words in (
        (Source("x", tmp_path / "absent"), "x cannot be read: No such file"),
        (Source("x", tmp_path / "folder"), "x cannot be read: "),
        (Source("x", tmp_path / "pipe"), "x cannot be read: it is no file"),
        (Source("x"), "x has no content"),
    ):
        with pytest.raises(SourceError, match=words):
            async with working(tmp_path, [source]):
                pass
    with pytest.raises(SourceError, match="two sources are named a"):
        async with working(tmp_path, [Source("a", data=b"1"), Source("a", data=b"2")]):
            pass


async def test_a_needle_in_ten_megabytes_is_found_by_its_line(tmp_path):
    dice = random.Random(7)
    lines = [f"{n:08} {dice.getrandbits(200):050x}" for n in range(180_000)]
    lines[123_455] = "the needle is 4711"
    path = tmp_path / "hay.txt"
    path.write_text("\n".join(lines))
    async with working(tmp_path, [Source("hay.txt", path)]) as made:
        found = await made.python(
            "hit = grep('needle is')[0]\nhit.line, hit, slice(hit.line - 1, hit.line + 1)"
        )
        assert "123456" in found.output
        assert found.ranges == [("hay.txt", 123_455, 123_457)]
        tail = await made.command("tail(1)")
        assert tail.ranges == [("hay.txt", 180_000, 180_000)]


@pytest.mark.parametrize("number", [1, 3, 80])  # mapped by themselves, and copied together
async def test_the_lines_that_are_told_are_those_that_were_read(tmp_path, number):
    dice = random.Random(number)
    words = [b"", b"abc", "äö€".encode(), b"\xff", b"needle", b"q" * 2_500]
    texts = {
        f"s{n}": dice.choice([b"\n", b"\r\n"]).join(dice.choices(words, k=dice.randrange(2, 60)))
        for n in range(number)
    }
    lines = {name: data.removesuffix(b"\n").split(b"\n") for name, data in texts.items()}
    for name, data in texts.items():
        (tmp_path / name).write_bytes(data)
    async with working(tmp_path, [Source(name, tmp_path / name) for name in texts]) as made:
        for _ in range(60):
            name = dice.choice([*texts])
            data, count = texts[name], len(lines[name])
            first, last = sorted(dice.choices(range(1, count + 3), k=2))
            start, end = sorted(dice.choices(range(len(data) + 1), k=2))
            while start < end < len(data) and data[end] & 0xC0 == 0x80:
                end += 1  # a character stays whole
            within = (data.count(b"\n", 0, start) + 1, data.count(b"\n", 0, end - 1) + 1)
            cells = {
                f"head({first}, {name!r})": range(1, min(first, count) + 1),
                f"tail({first}, {name!r})": range(max(1, count - first + 1), count + 1),
                f"slice({first}, {last}, {name!r})": range(first, min(last, count) + 1),
                f"sources[{name!r}][{start}:{end}]": range(within[0], within[1] + (start < end)),
                f"grep('needle', {name!r})": [
                    at for at, line in enumerate(lines[name], 1) if b"needle" in line
                ],
            }
            cell = dice.choice([*cells])
            done = await made.python(f"_ = {cell}")
            told = {(n, line) for n, a, b in done.ranges for line in range(a, b + 1)}
            assert (done.error, told) == (None, {(name, line) for line in cells[cell]}), cell
