"""A machine that has nothing to give: no descriptors, no home that can be written, no /tmp, a strange environment (F62).

Either the work is done, or it is said in a line or two what is missing; never a traceback, never half a file. (Closed
streams and deleted directories are in tests/flow/test_surroundings.py; root or not, the same tests hold.)
"""

from __future__ import annotations

import errno

import pytest
from codetether.__main__ import _ran_out_of
from codetether.testing import Call, Reply
from place import Place

TEXT = "é made\n" * 100


@pytest.fixture
def place(home, tmp_path):
    place = Place(home, tmp_path.resolve() / "work")
    yield place
    place.assert_nothing_left()


def answer(asked):
    """Look with a command, write a file, say so."""
    if asked["messages"][-1]["role"] == "tool":
        return "It is made: é."
    looking = Call("bash", {"command": "echo looked"})
    return Reply(
        "I begin.", calls=(looking, Call("write_file", {"path": "n.txt", "content": TEXT}))
    )


async def work(place, *argv, **env):
    """Exit code, what was said; the file is whole or not there."""
    async with place.model(answer):
        done = await place.exec("--access-mode", "full", "make it", argv=argv, **env)
    made = place.work / "n.txt"
    assert not made.exists() or made.read_text("utf-8") == TEXT
    assert "Traceback" not in done.err
    assert (
        made.exists() or done.code or "open files" in done.err
    )  # the model may still call it done
    return done


def shell(words):
    return ("bash", "-c", f'{words}; exec "$@"', "x")


@pytest.mark.parametrize("number", [6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 24, 32, 64])
async def test_f62_few_descriptors(place, number):
    done = await work(place, *shell(f"ulimit -n {number}"))
    if done.code:
        assert done.code in (1, 2)
        assert "open files" in done.err or "files are open" in done.err
        assert len(done.err.splitlines()) <= 6
    else:
        assert "It is made" in done.out
    assert number < 64 or done.code == 0


def test_f62_what_ran_out_is_named():
    """What a limit on memory or threads raises, wherever; at such a limit Python itself may break, so no run is made."""
    assert "memory" in _ran_out_of(MemoryError())
    assert "memory" in _ran_out_of(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert "memory" in _ran_out_of(
        ImportError("libssl.so.3: failed to map segment from shared object")
    )
    assert "threads" in _ran_out_of(RuntimeError("can't start new thread"))
    assert "threads" in _ran_out_of(
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    )
    group = ExceptionGroup("x", [ValueError("y"), ExceptionGroup("z", [OSError(errno.EMFILE, "")])])
    assert "ulimit -n" in _ran_out_of(group)
    for other in (
        ValueError("x"),
        OSError(errno.ENOENT, "x"),
        RuntimeError("x"),
        ExceptionGroup("x", [ValueError()]),
    ):
        assert _ran_out_of(other) == ""


@pytest.mark.parametrize("kind", ["a file in the way", "a place nothing can be made in"])
async def test_f62_a_home_that_cannot_be_written(place, kind, tmp_path):
    if kind == "a file in the way":
        (tmp_path / "blocked").write_text("")
        data = tmp_path / "blocked" / "data"
    else:
        data = "/proc/data"
    done = await work(place, XDG_DATA_HOME=str(data))
    assert done.code == 1
    assert "Cannot write" in done.err
    assert len(done.err.splitlines()) == 2
    assert not (place.work / "n.txt").exists()
    read_only = await place("plugins", "list", XDG_DATA_HOME=str(data), XDG_CACHE_HOME=str(data))
    assert read_only.code == 0  # what writes nothing goes on


async def test_f62_a_cache_that_cannot_be_written(place):
    assert (await work(place, XDG_CACHE_HOME="/proc/cache")).code == 0


async def test_f62_no_home_in_the_environment(place):
    done = await work(place, *shell("unset HOME"))
    assert done.code == 0
    words = "unset HOME XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME; export HOME=relative"
    done = await work(place, *shell(words))
    assert (done.code, done.err.splitlines()[0]) == (2, "codetether: there is no home directory")


async def test_f62_no_tmp(place):
    assert (await work(place, TMPDIR="/proc/none", TMP="/proc/none", TEMP="")).code == 0


async def test_f62_a_huge_environment(place):
    more = {f"HUGE_{number}": "x" * 100_000 for number in range(12)}
    assert (await work(place, **more)).code == 0


async def test_f62_bytes_that_are_no_text_in_the_environment(place):
    assert (
        await work(place, *shell(r"export ODD=$'\xff\xfe' $'W\xc3\xb6=1' 2>/dev/null; true"))
    ).code == 0


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "nowhere.ISO-8859-1", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
    ids=["C", "unknown", "ascii"],
)
async def test_f62_a_locale_without_umlauts(place, env):
    done = await work(place, **env)
    assert done.code == 0  # the file has them (checked in `work`), the terminal what it can show
    assert "It is made: " in done.out


async def test_f62_no_path(place):
    """No `git`, no `bash` to be found by name: the model is told what cannot be run, or it is found where it always is."""
    done = await work(place, PATH="")
    assert done.code == 0
