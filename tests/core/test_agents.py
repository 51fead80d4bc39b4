"""Agents from files and settings, and the instructions a repository carries."""

import pytest
from codetether import instructions
from codetether.agents import all_agents, built_in, choose, read_agent
from codetether.errors import ConfigError, UsageError
from codetether.words import Effect


def test_plan_and_explore_cannot_change_anything():
    agents = built_in()
    assert agents["build"].effects == frozenset(Effect)
    for name in ("plan", "explore"):
        assert not agents[name].effects & {Effect.WRITE, Effect.EXECUTE}


def test_a_file_makes_an_agent(tmp_path):
    path = tmp_path / "reviewer.md"
    path.write_text(
        "---\ndescription: Reviews\ntools: read_file, gre*\neffects: [read]\nmax_steps: 7\n---\nReview it.\n"
    )
    agent = read_agent(path)
    assert (agent.name, agent.description, agent.prompt) == ("reviewer", "Reviews", "Review it.")
    assert (agent.tools, agent.effects, agent.max_steps) == (
        ("read_file", "gre*"),
        frozenset({Effect.READ}),
        7,
    )
    assert agent.origin == str(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("---\ntools: [a\n---\nx", "not YAML"),
        ("---\n- a\n---\nx", "not a mapping"),
        ("---\nmax_steps: many\n---\nx", r"max_steps"),
        ("---\neffects: [fly]\n---\nx", "effects"),
        ("---\ndescription: x\n", "no closing"),
        ("---\nx: !!python/object/apply:os.system ['true']\n---\n", "not YAML"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, words):
    path = tmp_path / "bad.md"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_agent(path)
    assert str(path) in caught.value.message


def test_the_users_file_wins_and_settings_change_fields(tmp_path):
    user, project = tmp_path / "user", tmp_path / "project"
    user.mkdir(), project.mkdir()
    (project / "build.md").write_text("project's build")
    (project / "own.md").write_text("project's own")
    (user / "build.md").write_text("user's build")
    agents = all_agents(user, project, {"plan": {"max_steps": 3}, "fresh": {"prompt": "Be fresh."}})
    assert agents["build"].prompt == "user's build"
    assert agents["own"].prompt == "project's own"
    assert agents["plan"].max_steps == 3
    assert not agents["plan"].effects & {Effect.WRITE}
    assert agents["fresh"].prompt == "Be fresh."
    assert "own" not in all_agents(user, None, {})


def test_an_unknown_agent_is_told_which_there_are():
    with pytest.raises(UsageError) as caught:
        choose(built_in(), "biuld")
    assert caught.value.hint == "there are: build, explore, plan"


def test_instructions_nearest_last_and_claude_where_there_is_no_other(tmp_path):
    root = tmp_path / "repo"
    deep = root / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "AGENTS.md").write_text("outside the repository")
    (root / "AGENTS.md").write_text("root rules")
    (root / "CLAUDE.md").write_text("not read: there is an AGENTS.md")
    (root / "a" / "CLAUDE.md").write_text("a rules")
    (deep / "AGENTS.md").write_text("b rules")
    found = instructions.find(deep, root)
    assert [p.relative_to(root).as_posix() for p in found] == [
        "AGENTS.md",
        "a/CLAUDE.md",
        "a/b/AGENTS.md",
    ]
    text = instructions.text(found, root)
    assert text.index("root rules") < text.index("a rules") < text.index("b rules")
    assert "# Instructions from a/b/AGENTS.md" in text
    assert instructions.find(deep, None) == [deep / "AGENTS.md"]


def test_instructions_are_capped_and_links_out_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    root = tmp_path / "repo"
    (root / "a").mkdir(parents=True)
    (root / "a" / "AGENTS.md").symlink_to(secret)
    (root / "AGENTS.md").write_text("z" * 100_000)
    found = instructions.find(root / "a", root)
    assert found == [root / "AGENTS.md"]
    text = instructions.text(found, root)
    assert text.count("z") == instructions.FILE_LIMIT
    assert "[cut: 32768 of 100000 bytes]" in text
