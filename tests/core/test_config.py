"""Layers, old spellings, mistakes and their messages, and the command `config`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from codetether import layers
from codetether.__main__ import main
from codetether.config import Config, Dirs
from codetether.errors import ConfigError
from codetether.fill import from_text
from codetether.settings import General, description
from hypothesis import given
from hypothesis import strategies as st


class Shell(msgspec.Struct, frozen=True):
    timeout: Annotated[
        float, msgspec.Meta(gt=0, description="Seconds", extra_json_schema={"env": "SHELL_TIMEOUT"})
    ] = 10.0
    login: Annotated[bool, msgspec.Meta(description="Login shell")] = False
    names: Annotated[list[str], msgspec.Meta(description="Names")] = []


@pytest.fixture
def user(home):
    file = home / "config" / "codetether-agent" / "config.toml"
    file.parent.mkdir(parents=True)
    return file


@pytest.fixture
def repo(tmp_path):
    repo = tmp_path / "repo"
    (repo / ".git").mkdir(parents=True)
    return repo


# --- places ---
def test_directories_follow_xdg_and_the_overrides(tmp_path):
    env = {"HOME": "/home/a"}
    assert Dirs.find(env) == Dirs(
        Path("/home/a/.config/codetether-agent"),
        Path("/home/a/.local/share/codetether-agent"),
        Path("/home/a/.cache/codetether-agent"),
        Path("/home/a/.config/codetether-agent/config.toml"),
    )
    env |= {
        "XDG_CONFIG_HOME": "/x",
        "XDG_DATA_HOME": "relative",
        "CODETETHER_DATA_DIR": "/d",
        "CODETETHER_CONFIG": "/f.toml",
    }
    dirs = Dirs.find(env)
    assert (dirs.config, dirs.data, dirs.file) == (
        Path("/x/codetether-agent"),
        Path("/d"),
        Path("/f.toml"),
    )
    assert Dirs.find(env | {"CODETETHER_DATA_DIR": ""}).data == Path(
        "/home/a/.local/share/codetether-agent"
    )


def test_a_named_file_that_is_not_there_is_told(repo, monkeypatch):
    monkeypatch.setenv("CODETETHER_CONFIG", str(repo / "nowhere.toml"))
    assert "nowhere.toml" in Config.load(repo).notices[0][0]


# --- layers ---
def test_each_layer_beats_the_one_before(repo, user):
    from codetether.trust import trust

    sub = repo / "sub"
    (sub / ".codetether").mkdir(parents=True)
    env = {"HOME": str(user.parent), "XDG_CONFIG_HOME": str(user.parents[1])}
    seen = []

    def now(**more):
        config = Config.load(sub, more.pop("overrides", None), env | more)
        seen.append(config.origin("default_model"))
        return config.kernel.default_model

    assert now() == ""
    user.write_text('default_model = "a/user"')
    assert now() == "a/user"
    for number, file in enumerate(
        [repo / "codetether.toml", sub / "codetether.toml", sub / ".codetether" / "config.toml"]
    ):
        file.write_text(f'default_model = "a/{number}"')
        trust(sub)
        assert now() == f"a/{number}"
    assert now(CODETETHER_DEFAULT_MODEL="a/env") == "a/env"
    assert now(CODETETHER_DEFAULT_MODEL="") == "a/2"
    assert now(CODETETHER_DEFAULT_MODEL="a/env", overrides={"default_model": "a/line"}) == "a/line"
    assert seen[0] == "default"
    assert seen[1] == str(user)
    assert seen[-1] == "command line"


def test_projects_are_looked_for_up_to_the_repository_root_only(repo):
    (repo.parent / "codetether.toml").write_text('access = "ask"')
    (repo / "sub").mkdir()
    assert Config.load(repo / "sub").files == []
    assert Config.load(repo.parent).files == [repo.parent / "codetether.toml"]


def test_tables_merge_key_by_key_and_lists_replace(repo, user):
    user.write_text(
        '[session]\nmax_steps = 5\n[plugins."tools:bash"]\nnames = ["a"]\nlogin = true\n'
    )
    config = Config.load(repo, {"session.budget_usd": 1.5, "tools:bash.names": ["b"]})
    assert config.kernel.session.max_steps == 5
    assert config.kernel.session.budget_usd == 1.5
    assert config.settings("tools:bash", Shell) == Shell(names=["b"], login=True)


def test_numbers_of_limits_come_from_the_environment_too(repo):
    config = Config.load(
        repo, env={"HOME": "/h", "CODETETHER_MAX_STEPS": "7", "CODETETHER_BUDGET_USD": "0.5"}
    )
    assert (config.kernel.session.max_steps, config.kernel.session.budget_usd) == (7, 0.5)


def test_switches_add_up(repo, user):
    user.write_text(
        '[plugins]\noff = ["tools:a"]\nonly = ["tools"]\nchoose = {"tools:x" = "acme"}\n'
    )
    env = {
        "HOME": "/h",
        "XDG_CONFIG_HOME": str(user.parents[1]),
        "CODETETHER_PLUGINS_OFF": "tools:b, ui",
    }
    config = Config.load(repo, env=env, off=["tools:c"])
    assert config.off == {"tools:a", "tools:b", "ui", "tools:c"}
    assert config.only == ("tools",)
    assert config.choose == {"tools:x": "acme"}
    assert "CODETETHER_PLUGINS_OFF" in config.off_origin()


def test_the_originals_spellings_are_understood(repo, user):
    user.write_text(
        '[default]\nprovider = "openai"\nmodel = "gpt"\n[ui]\ntheme = "dark"\n[telemetry]\ncrash_reporting = true\n'
        '[providers.openai]\napi_key = "sk-canary-123456"\nbase_url = "https://x"\n[permissions.rules]\nbash = "ask"\n'
    )
    config = Config.load(repo)
    assert (config.kernel.default_provider, config.kernel.default_model) == ("openai", "gpt")
    assert config.plugin_keys() == ["extensions:crash_report", "providers:openai", "ui:tui"]
    assert str(config.rules[0]).startswith("rule `bash`")
    assert "Vault" in config.notices[0][0]
    assert "canary" not in str(config.notices) + str(config.table("providers:openai"))


# --- mistakes ---
def test_all_wrong_values_are_told_at_once_with_their_files(repo, user):
    user.write_text(
        'access = "sometimes"\ndefault_agent = 5\n[session]\nmax_steps = 0\n[plugins]\noff = [1]\n[permissions.tools]\nbash = "maybe"\n'
    )
    with pytest.raises(ConfigError) as caught:
        Config.load(repo, {"session.budget_usd": "much"})
    lines = caught.value.message.splitlines()
    assert len(lines) == 6
    assert sum(str(user) in line for line in lines) == 5
    for key in ("access", "default_agent", "session.max_steps", "plugins.off", "permissions"):
        assert any(key in line for line in lines), key
    assert "command line: session.budget_usd" in caught.value.message


def test_wrong_and_unknown_values_of_a_plugin(repo, user):
    user.write_text('[plugins."tools:bash"]\ntimeout = "long"\nlogin = 3\ntimeot = 5\n')
    config = Config.load(repo)
    with pytest.raises(ConfigError) as caught:
        config.settings("tools:bash", Shell)
    assert len(caught.value.message.splitlines()) == 2
    user.write_text('[plugins."tools:bash"]\ntimeot = 5\n')
    config = Config.load(repo)
    told = []
    config.tell = lambda text, hint: told.append(text)
    assert config.settings("tools:bash", Shell) == Shell()
    config.settings("tools:bash", Shell)
    assert len(told) == 1
    assert "did you mean timeout" in told[0]
    assert str(user) in told[0]


def test_a_plugins_environment_beats_files_and_text_is_converted(repo, user):
    user.write_text('[plugins."tools:bash"]\ntimeout = 5\n')
    env = {"HOME": "/h", "XDG_CONFIG_HOME": str(user.parents[1]), "SHELL_TIMEOUT": "2.5"}
    assert Config.load(repo, env=env).settings("tools:bash", Shell).timeout == 2.5
    with pytest.raises(ConfigError, match="environment SHELL_TIMEOUT"):
        Config.load(repo, env=env | {"SHELL_TIMEOUT": "-1"}).settings("tools:bash", Shell)
    assert (
        Config.load(repo, {"tools:bash.timeout": 9}, env).settings("tools:bash", Shell).timeout == 9
    )


@pytest.mark.parametrize("content", [b"a = ", b"\xff", b"[a]\n[a]\n", b"x" * 1_100_000])
def test_a_broken_file_is_named(repo, user, content):
    user.write_bytes(content)
    with pytest.raises(ConfigError, match=str(user)):
        Config.load(repo)


@pytest.mark.parametrize(
    "content",
    [
        "session = 5",
        "plugins = 5",
        "permissions = 5",
        "agents = 5",
        "[agents]\nx = 5",
        '[plugins]\n"tools:x" = 5',
    ],
)
def test_a_value_where_a_table_belongs_is_told_not_raised(repo, user, content):
    user.write_text(content)
    with pytest.raises(ConfigError, match=str(user)):
        Config.load(repo).settings("tools:x", Shell)


def test_unknown_keys_are_told_with_what_was_meant(repo, user):
    user.write_text('acess = "full"\n[session]\nmax_step = 3\n[agents.x]\nprompts = "x"\n')
    told = " ".join(text for text, _ in Config.load(repo).notices)
    for meant in ("did you mean access", "did you mean max_steps", "did you mean prompt"):
        assert meant in told


def test_agents_come_as_the_fields_that_were_set(repo, user):
    user.write_text('[agents.plan]\nmodel = "a/b"\nmax_steps = 3\n')
    assert Config.load(repo).kernel.agents == {"plan": {"model": "a/b", "max_steps": 3}}


@given(st.text(max_size=20))
def test_keys_split_or_are_refused(text):
    try:
        parts = layers.split_key(text)
    except ConfigError:
        return
    assert parts
    assert all(parts)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [("on", bool, True), ("0", bool, False), ("5", int, 5), ("5", str, "5"), ("a,b", list[str], ["a", "b"]),
     ('["a"]', list[str], ["a"]), ("2.5", float | None, 2.5), ("true", str, "true")],
)  # fmt: skip
def test_text_becomes_what_the_setting_is(text, kind, value):
    assert from_text(text, kind) == value


def test_every_setting_is_described():
    for name, kind in __import__("typing").get_type_hints(General, include_extras=True).items():
        assert description(kind), name


# --- the command ---
@pytest.fixture
def here(repo, monkeypatch):
    monkeypatch.chdir(repo)
    return repo


def test_init_writes_a_commented_file_once(here, home, capsys):
    file = home / "config" / "codetether-agent" / "config.toml"
    assert main(["config", "init"]) == 0
    text = file.read_text()
    assert tomllib.loads(text) == {}
    assert '# access = "ask"' in text
    own = text.partition("\n# [")[0].splitlines()  # a plugin may have settings of the same name
    uncommented = "\n".join(
        line[2:] for line in own if line.startswith(("# access", "# default_agent"))
    )
    assert tomllib.loads(uncommented) == {"access": "ask", "default_agent": "build"}
    file.write_text("access = 'auto' # mine\n")
    assert main(["config", "--init"]) == 1
    assert file.read_text() == "access = 'auto' # mine\n"
    assert "left as it is" in capsys.readouterr().err


def test_set_keeps_comments_and_order(here, user):
    user.write_text('# mine\naccess = "ask"  # careful\n\n[session] # limits\nmax_steps = 3\n')
    assert main(["config", "set", "access", "auto"]) == 0
    assert main(["config", "--set", "session.budget_usd=2.5"]) == 0
    text = user.read_text()
    assert '# mine\naccess = "auto"  # careful\n' in text
    assert "[session] # limits\nmax_steps = 3\nbudget_usd = 2.5\n" in text
    assert main(["config", "set", "agents.plan.model", "a/b"]) == 0
    assert main(["config", "set", "permissions.paths.secrets/**", "deny"]) == 0
    assert main(["config", "set", "plugins.off", "tools:x,ui"]) == 0
    config = Config.load(here)
    assert config.kernel.agents == {"plan": {"model": "a/b"}}
    assert config.rules[0].path == "secrets/**"
    assert config.off == {"tools:x", "ui"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["access", "sometimes"], "access"),
        (["acess", "auto"], "did you mean access"),
        (["session", "5"], "table"),
        (["session.max_steps", "0"], "max_steps"),
        (["access.x", "5"], "not a table"),
        (["tools:nothing.x", "5"], "no plugin tools:nothing"),
        (["providers.openai.api_key", "sk-canary-1"], "Vault"),
        (["access"], "a key and a value"),
    ],
)
def test_set_refuses_and_leaves_the_file(here, user, capsys, words, told):
    user.write_text("# nothing\n")
    assert main(["config", "set", *words]) == 2
    assert user.read_text() == "# nothing\n"
    error = capsys.readouterr().err
    assert told in error
    assert "canary" not in error


def test_set_on_a_fresh_machine_makes_the_file(here, home):
    assert main(["config", "set", "default_model", "a/b"]) == 0
    assert Config.load(here).kernel.default_model == "a/b"


def test_set_project_and_trust(here, capsys):
    assert main(["config", "set", "access", "full", "--project"]) == 0
    assert "config trust" in capsys.readouterr().out
    assert Config.load(here).kernel.access == "ask"
    assert main(["config", "trust"]) == 0
    assert Config.load(here).kernel.access == "full"
    assert main(["config", "set", "access", "auto", "--project"]) == 0
    assert Config.load(here).kernel.access == "auto"  # what the user changes stays trusted
    assert main(["config", "distrust"]) == 0
    assert Config.load(here).kernel.access == "ask"


def test_show_says_values_and_origins_and_hides_secrets(here, user, capsys):
    user.write_text(
        'access = "auto"\n[plugins."tools:x"]\napi_token = "canary-123456"\nnested = {a = [1]}\n[permissions.tools]\nbash = "ask"\n'
    )
    assert main(["config", "show", "--origin"]) == 0
    out = capsys.readouterr().out
    assert f'access = "auto"  # {user}' in out
    assert 'default_agent = "build"  # default' in out
    assert "canary" not in out
    shown = tomllib.loads(out)
    assert shown["plugins"]["tools:x"]["nested"] == {"a": [1]}
    assert shown["permissions"]["rules"] == [{"tool": "bash", "verdict": "ask"}]
    assert main(["config", "--show", "--json", "--origin"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["access"] == {"value": "auto", "origin": str(user)}
    assert found["session.max_steps"]["value"] is None


def test_path_and_schema(here, user, capsys):
    user.write_text("")
    assert main(["config", "path"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(user)
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    definitions = schema["$defs"]
    assert schema["$ref"].rpartition("/")[2] in definitions
    assert definitions["General"]["properties"]["access"]["env"] == "CODETETHER_ACCESS"
    assert "secrets:vault" in definitions["PluginSettings"]["properties"]
    reference = definitions["PluginSettings"]["properties"]["secrets:vault"]["$ref"].rpartition(
        "/"
    )[2]
    assert "address" in definitions[reference]["properties"]


def test_one_thing_at_a_time(here):
    assert main(["config", "--show", "--init"]) == 2
    assert main(["config", "show", "more"]) == 2


def test_two_writers_lose_nothing(here, user):
    from concurrent.futures import ThreadPoolExecutor
    from types import SimpleNamespace

    from codetether.commands.config_edit import put

    kernel = SimpleNamespace(dirs=Dirs.find(), config=Config.load(here))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: put(kernel, f"permissions.tools.t{n}", "deny", False), range(12)))
    assert len(Config.load(here).rules) == 12
