"""Shell hooks in the program itself: whose they are, what trust does to them, and the exit code."""

from __future__ import annotations

from codetether.testing import call
from place import results_of

RUN = call("bash", command="touch ran")
TABLE = '[plugins."extensions:shell_hooks".hooks.{0}]\nevent = "{1}"\n'


def written(name, event, command, more=""):
    return TABLE.format(name, event) + f"command = '''{command}'''\n{more}\n"


async def done_of(place, *words):
    """Run exec with a model that runs one command; how it ended, and what the model read of it."""
    async with place.model(RUN, "That is all."):
        done = await place.exec("--access-mode", "full", *words, "go")
    results = results_of(place.messages(place.newest()))
    return done, results[0]["text"] if results else ""


async def test_a_veto_of_the_person(place):
    place.set(written("guard", "before_tool", "echo 'not here' >&2; exit 2", 'tools = ["bash"]'))
    done, text = await done_of(place)
    assert done.code == 3
    assert "guard: not here (extensions:shell_hooks)" in text
    assert not (place.work / "ran").exists()
    listed = await place("plugins", "doctor")
    assert "guard (before_tool) runs" in listed.out + listed.err
    shown = await place("config", "show")
    assert "hooks.guard.command" in shown.out


async def test_a_prompt_is_refused(place):
    place.set(written("guard", "on_prompt", "grep -q secret-plan && exit 2; exit 0"))
    async with place.model("never"):
        done = await place.exec("the secret-plan")
    assert done.code == 3
    assert "guard" in done.err


async def test_a_repository_has_hooks_when_it_is_trusted_as_it_is(place):
    """Not before, not once a script in `.codetether/hooks` is another; and each time it is said."""
    script = place.work / ".codetether/hooks/guard.sh"
    script.parent.mkdir(parents=True)
    script.write_text("touch heard; exit 2\n")
    command = 'sh "$CODETETHER_ROOT"/.codetether/hooks/guard.sh'
    (place.work / "codetether.toml").write_text(written("guard", "before_tool", command))
    done, _ = await done_of(place)
    assert done.code == 0
    assert "have not trusted" in done.err
    assert not (place.work / "heard").exists()
    assert (await place("config", "trust")).code == 0
    (place.work / "ran").unlink()
    done, text = await done_of(place)
    assert (done.code, "guard" in text) == (3, True)
    assert (place.work / "heard").exists()
    (place.work / "heard").unlink()
    script.write_text("touch owned\n")
    done, _ = await done_of(place)
    assert "shell hooks of a repository that changed since you trusted it are left out" in done.err
    assert not (place.work / "owned").exists()


async def test_a_hook_that_changes_under_way_is_not_run_and_denies(place):
    """What a command of the agent writes into the folder of hooks is not run for it."""
    script = place.work / ".codetether/hooks/guard.sh"
    script.parent.mkdir(parents=True)
    script.write_text("exit 0\n")
    command = 'sh "$CODETETHER_ROOT"/.codetether/hooks/guard.sh'
    (place.work / "codetether.toml").write_text(written("guard", "before_tool", command))
    assert (await place("config", "trust")).code == 0
    change = call("bash", command=f"echo 'touch owned' >{script}")
    async with place.model(change, RUN, "That is all."):
        done = await place.exec("--access-mode", "full", "go")
    first, second = results_of(place.messages(place.newest()))
    assert (first["ok"], second["ok"], done.code) == (True, False, 3)
    assert "changed since you trusted it" in done.err
    assert not (place.work / "owned").exists()
    assert not (place.work / "ran").exists()


async def test_settings_that_are_wrong_stop_the_prompt(place):
    place.set(TABLE.format("guard", "sometimes"))
    async with place.model("never"):
        done = await place.exec("go")
    assert done.code == 3
    assert "shell hooks cannot be read" in done.err
    assert str(place.settings) in done.err
