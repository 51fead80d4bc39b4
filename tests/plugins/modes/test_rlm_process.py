"""`codetether rlm` as a process: piped text, Ctrl-C, a worker that is killed, a reader that leaves."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from rlms import log

FAILSAFE = 120
BEGIN = [sys.executable, "-m", "codetether"]


def script(tmp_path, *replies):
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"replies": list(replies)}))
    return f"scripted/file:{path}"


def start(tmp_path, model, *words, **how):
    argv = [*BEGIN, "rlm", "-m", model, "what?", *map(str, words)]
    return subprocess.Popen(
        argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how
    )


def events(process, kind):
    """Read events until one of `kind`."""
    while line := process.stdout.readline():
        event = json.loads(line)
        if event["type"] == kind:
            return event
    raise AssertionError(process.stderr.read())


def test_what_is_piped_in_is_looked_through_and_leaves_nothing_behind(tmp_path, home):
    big = log(tmp_path / "big.log", l29_000="needle")
    model = script(tmp_path, {"text": "grep('needle')"}, {"text": 'FINAL("at 29000")'})
    process = start(tmp_path, model, "--content", "-", "--json", stdin=subprocess.PIPE)
    out, err = process.communicate(big.read_text(), timeout=FAILSAFE)
    assert process.returncode == 0, err
    said = json.loads(out)
    assert said["answer"] == "at 29000"
    assert said["ranges"] == [{"source": "standard input", "first_line": 29_000, "last_line": 29_000}]  # fmt: skip
    spool = home / "cache" / "codetether-agent" / "rlm"
    assert not [path for path in spool.rglob("*") if path.is_file()]
    assert "\x1b" not in err  # lines in a pipe, no picture


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_gives_what_it_has_and_no_worker_stays(tmp_path, number):
    log(tmp_path / "big.log", l29_000="needle in line 29000")
    model = script(tmp_path, {"text": "grep('needle')"}, {"text": "so", "stall": True})
    process = start(tmp_path, model, "-f", "big.log", "--format", "stream-json")
    events(process, "rlm_step")
    workers = children(process.pid)
    assert workers
    process.send_signal(number)
    said = events(process, "rlm_finished")["result"]
    process.communicate(timeout=FAILSAFE)
    assert process.returncode == 130
    assert (said["ended"], said["partial"], said["error"]) == ("interrupted", True, "interrupted")
    assert "needle in line 29000" in said["answer"]
    assert said["ranges"] == [{"source": "big.log", "first_line": 29_000, "last_line": 29_000}]
    assert all(map(gone, workers))


def test_stopped_while_the_text_is_still_coming_it_ends(tmp_path, home):
    process = start(tmp_path, "scripted/demo", "--content", "-", stdin=subprocess.PIPE)
    process.stdin.write("text\n" * 100_000)
    process.stdin.flush()  # most of it is read by now, so it has begun
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=FAILSAFE)
    assert process.returncode == 130
    assert "interrupted before all of the text was there" in err


def test_wrong_use_is_told_before_any_text_is_read(tmp_path, home):
    words = ["--content", "-", "--concurrency", "1000"]
    process = start(tmp_path, "scripted/demo", *words, stdin=subprocess.PIPE)
    assert process.wait(FAILSAFE) == 2
    assert "--concurrency" in process.communicate()[1]


def test_who_waits_for_a_slow_pipe_is_told_what_for(tmp_path, home):
    model = script(tmp_path, {"text": "it says text"})
    process = start(tmp_path, model, "--content", "-", stdin=subprocess.PIPE)
    process.stdin.write("text\n")
    process.stdin.flush()
    assert process.stderr.readline() == "reading standard input, until it ends\n"
    out, _ = process.communicate(timeout=FAILSAFE)
    assert (process.returncode, out.partition("\n")[0]) == (0, "it says text")


def test_a_time_limit_holds_while_the_text_is_still_coming(tmp_path, home):
    words = ["--content", "-", "--timeout", "1"]
    process = start(tmp_path, "scripted/demo", *words, stdin=subprocess.PIPE)
    process.stdin.write("text\n")
    process.stdin.flush()
    assert process.wait(FAILSAFE) == 1
    out, err = process.communicate()
    assert (out, err.splitlines()[0]) == ("", "codetether: took longer than 1 s, before all of the text was there")  # fmt: skip


def test_a_worker_that_is_killed_is_started_again_and_the_answer_comes(tmp_path):
    log(tmp_path / "big.log", l29_000="needle")
    model = script(
        tmp_path, {"text": "```python\nkept = 41\nprint('first')\n```"},
        {"text": "```python\nimport time\nprint('second')\ntime.sleep(1)\n```"},
        {"text": "```python\nprint(kept + 1, grep('needle'))\n```"}, {"text": 'FINAL("found")'},
    )  # fmt: skip
    process = start(tmp_path, model, "-f", "big.log", "--format", "stream-json")
    events(process, "rlm_step")
    for pid in children(process.pid):
        with suppress(ProcessLookupError):  # one ends with the other
            os.kill(pid, signal.SIGKILL)
    second = events(process, "rlm_step")
    third = second if "42" in second["output"] else events(process, "rlm_step")
    said = events(process, "rlm_finished")["result"]
    process.communicate(timeout=FAILSAFE)
    assert process.returncode == 0
    assert "42" in third["output"]
    assert "needle" in third["output"]
    assert said["answer"] == "found"


def test_it_stops_when_nobody_reads_any_more(tmp_path):
    log(tmp_path / "big.log")
    replies = [{"text": f"slice({number}, {number + 1})"} for number in range(1, 100)]
    model = script(tmp_path, *replies)
    process = start(tmp_path, model, "-f", "big.log", "--format", "stream-json", "--max-iterations", 90)  # fmt: skip
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(FAILSAFE) == 1
    assert "nobody reads the events any more" in process.stderr.read()
    process.stderr.close()


def children(pid):
    """The processes started by `pid`, all the way down; what goes meanwhile is not told."""
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    found += [int(child), *children(int(child))]
    return found


def gone(pid):
    """Whether a process has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True
