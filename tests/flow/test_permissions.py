"""Who may do what, from the settings to the exit code: access modes, rules, trust, grants, agents and switches."""

from __future__ import annotations

import json

import pytest
from codetether.testing import Call, Reply
from in_terminal import terminal
from place import results_of

LOOK = Call("read_file", {"path": "a.txt"})
EDIT = Call("edit", {"path": "a.txt", "old_string": "one", "new_string": "two"})
RUN = Call("bash", {"command": "touch ran"})


@pytest.fixture
def repository(place):
    place.write(a_dot_txt="one\n")
    return place


async def done_of(place, *words, calls=(LOOK, EDIT, RUN), **how):
    """Run exec with a model that makes these calls at once; which of them were done, and the exit."""
    async with place.model(Reply("", calls=tuple(calls)), "That is all.") as server:
        done = await place.exec(*words, "go", **how)
    path = place.newest()
    return [result["ok"] for result in results_of(place.messages(path))], done, server


def changed(place):
    return (place.work / "a.txt").read_text() == "two\n", (place.work / "ran").exists()


@pytest.mark.parametrize(
    ("access", "ok"),
    [("ask", [True, False, False]), ("auto", [True, True, False]), ("full", [True, True, True])],
)
async def test_access_modes(repository, access, ok):
    """In `auto` commands need a sandbox, which the one that is none is not."""
    repository.set('sandbox = "none"\n')
    told, done, _ = await done_of(repository, "--access-mode", access)
    assert told == ok
    assert changed(repository) == tuple(ok[1:])
    assert done.code == (0 if all(ok) else 3)
    assert done.out == "That is all.\n"


async def test_a_denial_says_the_line_that_would_allow_it(repository):
    """And that line, put into the settings as it stands, does."""
    told, done, _ = await done_of(repository)
    assert (told, done.code) == ([True, False, False], 3)
    hint = next(line for line in done.err.splitlines() if "[permissions.tools]" in line)
    line = hint.partition("[permissions.tools] ")[2].partition(" (docs")[0]
    assert "--access-mode" in hint
    repository.set("[permissions.tools]\n" + "\n".join(line.replace('" ', '"\n').splitlines()))
    told, done, _ = await done_of(repository)
    assert (told, done.code) == ([True, True, True], 0), line


async def test_denials_in_json(repository):
    _, done, _ = await done_of(repository, "--format", "json")
    result = json.loads(done.out)
    assert (done.code, result["reason"], result["text"]) == (3, "denied", "That is all.")
    assert "edit a.txt" in result["error"]
    assert "bash" in result["error"]
    assert 'edit = "allow"' in result["hint"]


@pytest.mark.parametrize(
    ("rules", "ok"),
    [
        ('[permissions.commands]\n"touch ran" = "allow"', [True, False, True]),
        ('[permissions.commands]\n"touch *" = "allow"\n"touch ran" = "deny"', [True, False, False]),
        ('[permissions.paths]\n"*.txt" = "allow"', [True, True, False]),
        ('[permissions.paths]\n"*.txt" = "deny"', [False, False, False]),
        ('access = "full"\n[permissions.tools]\nbash = "deny"', [True, True, False]),
        ('access = "full"\n[permissions.tools]\nedit = "ask"', [True, False, True]),
        ('access = "full"\n[permissions.paths]\n"a.txt" = "ask"', [False, False, True]),
    ],
)
async def test_rules_of_the_person(repository, rules, ok):
    repository.set(rules)
    told, done, _ = await done_of(repository)
    assert told == ok
    assert done.code == 3


async def test_a_project_may_tighten_and_only_when_trusted_loosen(repository):
    project = repository.work / "codetether.toml"
    project.write_text('[permissions.tools]\nedit = "allow"\nbash = "deny"\n')
    told, done, _ = await done_of(repository, "--access-mode", "full")
    assert told == [True, True, False], "it may forbid"
    repository.git("checkout", "-q", "a.txt")
    told, done, _ = await done_of(repository)
    assert told == [True, False, False], "it may not allow"
    assert "config trust" in done.err
    assert (await repository("config", "trust")).code == 0
    told, done, _ = await done_of(repository)
    assert told == [True, True, False], "trusted, it may"
    assert "config trust" not in done.err
    repository.git("checkout", "-q", "a.txt")
    project.write_text('[permissions.tools]\nedit = "allow"\nbash = "allow"\n')
    told, done, _ = await done_of(repository)
    assert told == [True, False, False], "changed since, it may not any more"
    assert (await repository("config", "trust")).code == 0
    assert (await repository("config", "distrust")).code == 0
    told, _, _ = await done_of(repository)
    assert told == [True, False, False]


# --- a person at a terminal ---
async def asked(place, calls, *keys, again=False):
    """Answer each question with one of `keys`; the exit code and how many questions there were."""
    words = ("exec", "-m", "local/scripted", *(("--continue",) if again else ()), "go")
    replies = [Reply("", calls=(call,)) for call in calls]
    async with place.model(*replies, "That is all."):
        async with terminal(place, *words) as screen:
            for number, key in enumerate(keys, 1):
                await screen.until("n Deny", number)
                await screen.type(f"{key}\n")
            code = await screen.end()
    assert screen.text.count("n Deny") == len(keys), screen.text
    assert "That is all." in screen.text
    return code, screen.text


async def test_once_is_once(repository):
    code, _ = await asked(repository, [RUN, RUN], "y", "y")
    assert code == 0
    assert changed(repository) == (False, True)


async def test_for_this_session_and_no_longer(repository):
    other = Call("bash", {"command": "touch ran other"})
    assert (await asked(repository, [RUN, RUN, other], "s", "n"))[0] == 0
    assert not (repository.work / "other").exists()
    assert (await asked(repository, [RUN], "n", again=True))[0] == 0


async def test_always_in_this_project_and_nowhere_else(repository, tmp_path):
    assert (await asked(repository, [RUN], "p"))[0] == 0
    (repository.work / "ran").unlink()
    told, done, _ = await done_of(repository, calls=[RUN])
    assert (told, done.code) == ([True], 0)
    (tmp_path / "elsewhere").mkdir()
    told, done, _ = await done_of(repository, calls=[RUN], cwd=tmp_path / "elsewhere")
    assert (told, done.code) == ([False], 3)
    assert not (tmp_path / "elsewhere" / "ran").exists()


async def test_no_and_why_reaches_the_model(repository):
    code, _ = await asked(repository, [EDIT], "n use three instead")
    assert code == 0
    (result,) = results_of(repository.messages())
    assert "use three instead" in result["text"]
    assert changed(repository) == (False, False)


async def test_the_agents_own_settings_are_asked_for_every_time(repository):
    write = Call("write_file", {"path": "codetether.toml", "content": 'access = "full"\n'})
    words = ("exec", "-m", "local/scripted", "--access-mode", "full", "go")
    async with repository.model(Reply("", calls=(write,)), "That is all."):
        async with terminal(repository, *words) as screen:
            await screen.until("n Deny")
            assert "Always allow" not in screen.text
            await screen.type("n\n")
            assert await screen.end() == 0
    assert not (repository.work / "codetether.toml").exists()


# --- agents and switches ---
async def test_plan_looks_and_never_touches(repository):
    repository.set('access = "full"\n[permissions.tools]\n"*" = "allow"\n')
    told, done, server = await done_of(repository, "--agent", "plan")
    assert (told, done.code) == ([True, False, False], 0)
    assert changed(repository) == (False, False)
    offered = {tool["function"]["name"] for tool in server.asked[0]["tools"]}
    assert {"read_file", "grep", "glob"} <= offered
    assert not offered & {"edit", "write_file", "bash"}


async def test_run_has_no_tools_at_all(repository):
    async with repository.model(Reply("", calls=(LOOK, RUN)), "No.") as server:
        done = await repository("run", "-m", "local/scripted", "go")
    assert (done.code, done.out) == (0, "No.\n")
    assert "tools" not in server.asked[0]
    assert changed(repository) == (False, False)


@pytest.mark.parametrize("how", ["flag", "settings", "environment", "only", "session"])
async def test_a_tool_that_is_switched_off_is_not_there(repository, how):
    words, env = ["--access-mode", "full"], {}
    if how == "flag":
        words += ["-p", "no:tools:bash"]
    elif how == "settings":
        repository.set('[plugins]\noff = ["tools:bash"]\n')
    elif how == "environment":
        env["CODETETHER_PLUGINS_OFF"] = "tools:bash"
    elif how == "only":
        repository.set(
            '[plugins]\nonly = ["modes", "providers", "sandboxes", "ui", "tools:read_file", "tools:edit"]\n'
        )
    else:  # what the repository says about plugins counts for nothing until trusted
        (repository.work / "codetether.toml").write_text('[plugins]\noff = ["tools:edit"]\n')
        repository.set('[plugins]\noff = ["tools:bash"]\n')
    told, done, server = await done_of(repository, *words, **env)
    assert told == [True, True, False], done.err
    assert "bash" not in {tool["function"]["name"] for tool in server.asked[0]["tools"]}
    assert changed(repository) == (True, False)
    assert done.code == 0
    assert "There is no tool 'bash'" in results_of(repository.messages())[2]["text"]
