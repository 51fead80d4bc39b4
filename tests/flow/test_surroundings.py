"""Odd places to be started in: no directory, no streams, a full pipe, no home, few descriptors, another locale (F62)."""

from __future__ import annotations

import json

import pytest

SHELL = ("bash", "-c")


@pytest.fixture
def repository(place):
    place.write(a_dot_txt="one\n")
    return place


async def through(place, script, *words, **env):
    """`codetether exec WORDS... hi` as "$@" of a shell's script."""
    async with place.model("Hello.") as server:
        done = await place.exec(*words, "hi", argv=(*SHELL, script, "bash"), **env)
    assert "Traceback" not in done.err, done.err
    return done, server


@pytest.mark.parametrize("form", ["text", "json", "stream-json"])
async def test_standard_output_that_takes_nothing(repository, form):
    """Said in one line and a failure; the answer is in the session, unless events stopped it before there was one."""
    done, _ = await through(repository, 'exec "$@" >/dev/full', "--format", form)
    assert done.code == 1
    assert "No space left on device" in done.err
    assert "standard output" in done.err
    said = [m["role"] for m in repository.messages()]
    assert said[0] == "user"
    assert said == ["user", "assistant"] or form == "stream-json"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_streams_that_are_closed(repository, closed):
    """No file takes the number of a stream, and nothing meant for one stream comes out of another."""
    done, _ = await through(repository, f'exec "$@" {closed}')
    assert done.code == 0, done.err
    assert done.out == ("" if ">&-" in closed.replace("2>&-", "") else "Hello.\n")
    assert [m["role"] for m in repository.messages()] == ["user", "assistant"]


@pytest.mark.parametrize("words", ["exec -m local/scripted hi", "tools", "config show", "--help"])
async def test_a_directory_that_is_gone(repository, words):
    script = f'mkdir gone; cd gone; rmdir ../gone; exec "$0" {words}'
    async with repository.running(argv=(*SHELL, script)) as run:
        done = await run.end()
    assert "Traceback" not in done.err
    assert done.code in (0, 1)
    assert done.code == 0 or "no longer exists" in done.err


async def test_no_home(repository):
    """Then the account's own is taken: said by the system, not by a variable."""
    done, _ = await through(repository, 'HOME=/dev/null exec "$@"', XDG_DATA_HOME="")
    assert done.code == 1
    assert "Cannot write /dev/null/" in done.err


async def test_few_descriptors(repository):
    done, _ = await through(repository, 'ulimit -n 14; exec "$@"')
    assert done.code in (0, 1)
    assert done.code == 0 or "Too many open files" in done.err


async def test_words_that_are_no_text(repository):
    """Bytes of another encoding are replaced, and what is sent is valid."""
    script = "exec \"$@\" $'caf\\xe9 \\xff'"
    done, server = await through(
        repository, script, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    assert done.code == 0, done.err
    asked = server.asked[0]["messages"][-1]["content"]
    assert asked.startswith("hi caf")
    json.dumps(asked).encode("ascii")
    asked.encode("utf-8")
    assert repository.messages()[0]["parts"][-1]["text"].startswith("hi caf")


async def test_a_terminal_that_knows_nothing(repository):
    done, _ = await through(repository, 'exec "$@"', TERM="", LANG="", COLUMNS="1", LINES="0")
    assert (done.code, done.out) == (0, "Hello.\n")
