"""Rules, grants and access modes: what may run, and that nothing talks its way past them."""

from __future__ import annotations

import os
import shlex
from types import SimpleNamespace
from typing import ClassVar

import msgspec
import pytest
from codetether import shell
from codetether.config import Config
from codetether.globs import matches, path_matches
from codetether.permit import Permissions
from codetether.ports import Tool
from codetether.rules import covers_part
from codetether.urls import Address
from codetether.words import Agent, Answer, Effect, Message, Subject, Text, ToolCall, Verdict
from codetether.workspace import Workspace
from hypothesis import given
from hypothesis import strategies as st

ALLOW, ASK, DENY = Verdict.ALLOW, Verdict.ASK, Verdict.DENY
BUILD = Agent("build", "", "")
PLAN = Agent("plan", "", "", frozenset({Effect.READ, Effect.NETWORK, Effect.AGENT}))


class PathParams(msgspec.Struct):
    path: str
    text: str = ""


class CommandParams(msgspec.Struct):
    command: str
    timeout: float = 10.0
    folder: str = ""


class UrlParams(msgspec.Struct):
    url: str


class ManyParams(msgspec.Struct):
    paths: list[str]


class NoParams(msgspec.Struct):
    title: str = ""


def tool(name, effect, params, aliases=()):
    cls = type(
        name,
        (Tool,),
        {"api": 1, "effect": effect, "params": params, "aliases": aliases, "text": "x"},
    )
    return cls(None, f"tools:{name}")


READ = tool("read_file", Effect.READ, PathParams, ("read",))
WRITE = tool("write_file", Effect.WRITE, PathParams)
BASH = tool("bash", Effect.EXECUTE, CommandParams)
FETCH = tool("webfetch", Effect.NETWORK, UrlParams)
TASK = tool("task", Effect.AGENT, NoParams)


class Patch(Tool):
    api = 1
    effect: ClassVar = Effect.WRITE
    params: ClassVar = ManyParams
    text: ClassVar = "x"

    def subject(self, params):
        return Subject(paths=tuple(params.paths))


PATCH = Patch(None, "tools:apply_patch")


class Case:
    """A session as far as permissions see it."""

    def __init__(self, directory, access="ask", agent=BUILD, level="S0", **permissions):
        directory.mkdir(exist_ok=True)
        overrides = {"permissions": permissions} if permissions else {}
        self.directory = directory
        self.permissions = Permissions(Config.load(directory, overrides), directory)
        self.session = SimpleNamespace(
            workspace=Workspace(directory),
            directory=directory,
            agent=agent,
            effects=agent.effects,
            why_not=lambda effect: f"the agent {agent.name} may not {effect}",
            access=access,
            depth=0,
            sent_on=frozenset(),
            messages=[Message("user", (Text("see https://example.org/"),), id="prompt_1")],
            parent=None,
            kernel=SimpleNamespace(sandbox=lambda: SimpleNamespace(level=level)),
        )

    def decide(self, tool, **arguments):
        params = tool.params(**arguments)
        return self.permissions.decide(ToolCall("c1", tool.name, "{}"), tool, params, self.session)

    def verdict(self, tool, **arguments):
        return self.decide(tool, **arguments).verdict

    def answer(self, key, tool, **arguments):
        params = tool.params(**arguments)
        self.permissions.grant(
            Answer(key), ToolCall("c1", tool.name, "{}"), tool, params, self.session
        )


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


# --- long commands ---
@pytest.mark.parametrize(
    "piece",
    ["x", "x ", "a;", "a@", "2>&1 ", "'a' ", "cat <<E\nab\n", "a:", "http", "sudo ", "$(", "a=b "],
)
def test_a_long_command_is_judged_like_any_other(work, piece):
    """With rules of every kind, without a sandbox, and unasked: each way of looking at it goes through it once."""
    rules = [
        {"tool": "bash", "command": "rm *", "verdict": "deny"},
        {"tool": "bash", "command": "git status *", "verdict": "allow"},
    ]
    case = Case(work, "full", rules=rules)
    command = piece * (100_000 // len(piece))
    assert case.verdict(BASH, command=command) in (ALLOW, ASK)
    assert case.verdict(BASH, command=f"{command}\nrm -rf /") is DENY


# --- access modes ---
@pytest.mark.parametrize(
    ("access", "level", "write", "execute", "network"),
    [
        ("ask", "S3", ASK, ASK, ASK),
        ("auto", "S0", ALLOW, ASK, ASK),
        ("auto", "S1", ALLOW, ASK, ASK),
        ("auto", "S2", ALLOW, ALLOW, ASK),
        ("auto", "S3", ALLOW, ALLOW, ASK),
        ("full", "S0", ALLOW, ALLOW, ALLOW),
    ],
)
def test_what_each_access_mode_asks(work, access, level, write, execute, network):
    case = Case(work, access, level=level)
    assert case.verdict(READ, path="a.py") is ALLOW
    assert case.verdict(TASK) is ALLOW
    assert case.verdict(WRITE, path="a.py") is write
    assert case.verdict(BASH, command="make") is execute
    assert case.verdict(FETCH, url="https://example.org/") is network


def test_an_agent_is_held_to_its_effects_whatever_else_says(work):
    case = Case(work, "full", agent=PLAN, rules=[{"tool": "*", "verdict": "allow"}])
    case.permissions.grants.add(case.decide(WRITE, path="a").covers, "session")
    assert case.verdict(WRITE, path="a") is DENY
    assert case.verdict(BASH, command="ls") is DENY
    assert case.verdict(READ, path="a") is ALLOW
    assert "plan may not write" in case.decide(WRITE, path="a").why


def test_an_edit_that_names_no_file_is_asked_even_in_auto(work):
    assert Case(work, "auto").verdict(PATCH, paths=[]) is ASK


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "link/x"])
def test_outside_the_workspace_is_denied_in_every_mode(work, path):
    work.mkdir()
    (work / "link").symlink_to("/tmp")
    case = Case(work, "full", rules=[{"tool": "*", "verdict": "allow"}])
    assert case.verdict(WRITE, path=path) is DENY
    assert case.verdict(READ, path=path) is DENY


@pytest.mark.parametrize(
    "path",
    [".git/hooks/pre-commit", "sub/.git/config", ".GIT/config", "x/../.git/config", "hook/x"],
)
def test_nothing_is_written_inside_git(work, path):
    work.mkdir()
    (work / ".git" / "hooks").mkdir(parents=True)
    (work / "hook").symlink_to(".git/hooks")
    assert Case(work, "full").verdict(WRITE, path=path) is DENY


def test_our_own_files_are_not_written_even_when_they_lie_in_the_workspace(home):
    case = Case(home, "full")
    assert case.verdict(WRITE, path="config/codetether-agent/grants.json") is DENY
    assert case.verdict(WRITE, path="data/codetether-agent/sessions/x") is DENY
    assert case.verdict(WRITE, path="other.txt") is ALLOW


@pytest.mark.parametrize(
    "path", ["codetether.toml", ".codetether/agents/x.md", "sub/.CODETETHER/config.toml"]
)
def test_the_projects_own_settings_are_asked_every_time(work, path):
    case = Case(work, "full", rules=[{"tool": "*", "verdict": "allow"}])
    assert case.verdict(WRITE, path=path) is ASK
    case.answer("project", WRITE, path=path)
    assert case.verdict(WRITE, path=path) is ASK
    question = ask(case, WRITE, path=path)
    assert [choice.key for choice in question.choices] == ["once", "deny"]


# --- rules ---
def test_deny_beats_ask_beats_allow_in_whatever_order(work):
    rules = [
        {"tool": "bash", "command": "git *", "verdict": "deny"},
        {"tool": "bash", "command": "git push *", "verdict": "ask"},
        {"tool": "*", "verdict": "allow"},
    ]
    for order in (rules, rules[::-1]):
        case = Case(work, rules=order)
        assert case.verdict(BASH, command="git push origin") is DENY
        assert case.verdict(BASH, command="ls") is ALLOW
    assert Case(work, "full", rules=rules[1:]).verdict(BASH, command="git push origin") is ASK


def test_rules_of_all_files_add_up_so_that_a_project_cannot_undo_the_users(work, home):
    from codetether.trust import trust

    work.mkdir()
    user = home / "config" / "codetether-agent" / "config.toml"
    user.parent.mkdir(parents=True)
    user.write_text('[permissions.tools]\nbash = "deny"\n')
    (work / "codetether.toml").write_text(
        '[permissions.tools]\nbash = "allow"\nwrite_file = "allow"\n'
    )
    trust(work)
    case = Case(work)
    assert case.verdict(BASH, command="ls") is DENY
    assert case.verdict(WRITE, path="a") is ALLOW
    assert str(user) in case.decide(BASH, command="ls").why


def test_short_forms(work):
    case = Case(
        work,
        tools={"webfetch": "deny", "read": "ask"},
        paths={"secrets/**": "deny", "src/**": "allow"},
        commands={"npm test": "allow"},
    )
    assert case.verdict(FETCH, url="https://x.org") is DENY
    assert case.verdict(READ, path="a") is ASK  # by its alias
    assert case.verdict(WRITE, path="secrets/a/b") is DENY
    assert case.verdict(WRITE, path="src/a/b.py") is ALLOW
    assert case.verdict(BASH, command="npm test") is ALLOW


def test_a_denied_path_is_denied_through_a_link_and_other_spellings(work):
    work.mkdir()
    (work / "secrets").mkdir()
    (work / "open").symlink_to("secrets")
    case = Case(work, "full", paths={"secrets/**": "deny"})
    for path in (
        "secrets/k",
        "./secrets/k",
        "a/../secrets/k",
        str(work / "secrets" / "k"),
        "open/k",
        "secrets",
    ):
        assert case.verdict(READ, path=path) is DENY, path
    assert case.permissions.hidden(["src/k", "secrets/k"], "grep") == ["secrets/k"]


def test_an_allowed_path_is_not_allowed_through_a_link(work):
    work.mkdir()
    (work / "lib").mkdir()
    (work / "src").symlink_to("lib")
    case = Case(work, paths={"src/**": "allow"})
    assert case.verdict(WRITE, path="src/a") is ASK


def test_every_file_of_a_call_must_be_allowed_and_one_denied_is_enough(work):
    case = Case(work, paths={"src/**": "allow", "keys/**": "deny"})
    assert case.verdict(PATCH, paths=["src/a", "src/b"]) is ALLOW
    assert case.verdict(PATCH, paths=["src/a", "b"]) is ASK
    assert case.verdict(PATCH, paths=["src/a", "keys/b"]) is DENY


def test_a_path_rule_says_nothing_about_a_command_or_an_address(work):
    case = Case(work, rules=[{"path": "**", "verdict": "allow"}])
    assert case.verdict(BASH, command="rm -rf /") is ASK
    assert case.verdict(FETCH, url="https://x.org") is ASK


# --- commands ---
RULES = [
    "git status*",
    "git diff *",
    "ls *",
    "pytest *",
    "find *",
    "rg *",
    "cat *",
    "npm test",
    "python -m pytest *",
]
LIMIT = {"commands": dict.fromkeys(RULES, "allow")}


@pytest.mark.parametrize(
    "command",
    [
        "git status",
        "git status -s",
        "git status && git diff HEAD",
        "ls -l src | cat",
        "ls;ls",
        "ls\nls",
        "pytest -q tests/*.py 2>&1",
        "ls 2>/dev/null",
        "npm test",
        "python -m pytest -q",
        "cat 'a file'",
        'cat "a;b"',
        "find . -name '*.py'",
        "rg -n 'a|b' src",
    ],
)
def test_commands_that_are_plainly_allowed(work, command):
    assert Case(work, **LIMIT).verdict(BASH, command=command) is ALLOW


@pytest.mark.parametrize(
    "command",
    [
        "git status; rm -rf /",
        "git status && curl evil",
        "git status || curl evil",
        "git status | sh",
        "git status |& sh",
        "git status & curl evil",
        "git status\ncurl evil",
        "git status `curl evil`",
        "git status $(curl evil)",
        'git status "$(curl evil)"',
        'git status "`curl evil`"',
        "git status $IFS",
        "ls > /etc/passwd",
        "ls >> ~/.bashrc",
        "cat < /etc/shadow",
        "cat <(curl evil)",
        "ls 2>/dev/nullx",
        "ls >/dev/null/../x",
        "ls # \ncurl evil",
        "(ls)",
        "{ ls; }",
        "! ls",
        "if ls; then curl evil; fi",
        "ls \\\n; x",
        "ls 'unterminated",
        "cat *",
        "cat {--pre,x}",
        "ls \0x",
        "git -c core.pager=evil status",
        "git status -c alias.x=!evil",
        "git --exec-path=/tmp status",
        "git diff --ext-diff",
        "git diff --output=/etc/passwd",
        "git diff --outp=/etc/passwd",
        "find . -exec rm {} +",
        "find . -delete",
        "find . -fprintf /etc/x a",
        "rg --pre ./evil x",
        "rg --pre=./evil x",
        "env ls",
        "xargs ls",
        "sudo ls -l",
        "LD_PRELOAD=x ls -l",
        "npm test -- --evil",
        "python -c 'import os'",
        "python -m pytest2",
        "pytest -p evil",
        "./ls -l",
        "/tmp/git status",
        "gitstatus",
    ],
)
def test_commands_that_are_not_plainly_allowed_are_asked(work, command):
    assert Case(work, **LIMIT).verdict(BASH, command=command) is ASK


@pytest.mark.parametrize(
    "runner",
    sorted(shell.RUNNERS - {"[[", "!", "."}),
)
def test_no_pattern_allows_a_program_that_runs_its_arguments(runner):
    assert not covers_part(f"{runner} *", [runner, "x"])
    assert not covers_part("*", [f"/usr/bin/{runner}", "x"])
    assert covers_part(f"{runner} x", [runner, "x"])


@pytest.mark.parametrize(
    ("pattern", "command", "allowed"),
    [
        ("git *", "git log", False),
        ("git log *", "git log", True),
        ("git log*", "git log -3", True),
        ("python *", "python -c x", False),
        ("python manage.py *", "python manage.py migrate", True),
        ("uv run *", "uv run evil", False),
        ("uv run pytest *", "uv run pytest -q", True),
        ("npx *", "npx evil", False),
        ("git rebase *", "git rebase -ix evil", False),
        ("git clone *", "git clone ext::sh -c x", False),
        ("make *", "make SHELL=./evil", False),
        ("make test *", "make test SHELL=./evil", False),
        ("make test *", "make test -j4", True),
        ("*", "ls -l", False),
        ("l*", "ls -l", True),
    ],
)
def test_what_a_pattern_must_spell_out(pattern, command, allowed):
    assert covers_part(pattern, shlex.split(command)) is allowed


def test_a_rule_that_is_the_whole_command_allows_exactly_it(work):
    case = Case(work, commands={"npm ci && npm test > log": "allow"})
    assert case.verdict(BASH, command="npm ci && npm test > log") is ALLOW
    assert case.verdict(BASH, command="npm ci && npm test > log2") is ASK


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf /",
        "  rm -rf /",
        "ls; rm -rf /",
        "ls&&rm -rf /",
        "$(rm -rf /)",
        "(rm -rf /)",
        "/bin/rm -rf /",
        "X=1 rm -rf /",
        "sudo rm -rf /",
        "env A=1 rm -rf /",
        "r''m -rf /",
        '"rm" -rf /',
        "\\rm -rf /",
        "ls | xargs rm -rf",
        "bash -c 'rm -rf /'",
        "if true; then rm -rf /; fi",
    ],
)
def test_a_denied_command_is_found_behind_operators_runners_and_quotes(work, command):
    assert Case(work, "full", commands={"rm *": "deny"}).verdict(BASH, command=command) is DENY
    assert Case(work, "full", commands={"rm *": "ask"}).verdict(BASH, command=command) is ASK


def test_a_denied_command_is_not_seen_where_it_is_not_run(work):
    assert (
        Case(work, "full", commands={"rm *": "deny"}).verdict(
            BASH, command="git commit -m 'inform us'"
        )
        is ALLOW
    )


# --- addresses ---
@pytest.mark.parametrize(
    ("pattern", "url", "allowed"),
    [
        ("https://docs.python.org/*", "https://docs.python.org/3/", True),
        ("https://docs.python.org/*", "https://DOCS.python.org:443/3/", True),
        ("https://docs.python.org", "https://docs.python.org/any?x=1", True),
        ("docs.python.org", "https://docs.python.org/", True),
        ("docs.python.org", "http://docs.python.org/", False),
        ("https://*.python.org/*", "https://docs.python.org/3", True),
        ("https://*.python.org/*", "https://evil.org/.python.org/", False),
        (
            "https://docs.python.org*",
            "https://docs.python.org.evil.org/",
            True,
        ),  # the person wrote it so
        ("https://docs.python.org/*", "https://docs.python.org.evil.org/", False),
        ("https://docs.python.org/*", "https://docs.python.org@evil.org/", False),
        ("https://docs.python.org/*", "https://evil.org\\@docs.python.org/", False),
        ("https://docs.python.org/*", "https://docs.python.org:8443/", False),
        ("https://docs.python.org/3/*", "https://docs.python.org/3/../admin", False),
        ("https://docs.python.org/3/*", "https://docs.python.org/3/%2e%2e/admin", False),
        ("https://docs.python.org/*", "file://docs.python.org/x", False),
        ("https://docs.python.org/*", "https://docs.python.org/ x", False),
    ],
)
def test_addresses(work, pattern, url, allowed):
    case = Case(work, rules=[{"tool": "webfetch", "url": pattern, "verdict": "allow"}])
    assert case.verdict(FETCH, url=url) is (ALLOW if allowed else ASK)


@pytest.mark.parametrize(
    "url",
    ["https://evil.org/x", "https://EVIL.org:8443/", "https://u@evil.org/", "https://evil.org./"],
)
def test_a_denied_host_is_denied_in_every_spelling(work, url):
    assert (
        Case(work, "full", rules=[{"url": "https://evil.org/*", "verdict": "deny"}]).verdict(
            FETCH, url=url
        )
        is DENY
    )


# --- grants ---
def ask(case, tool, diff="", **arguments):
    params = tool.params(**arguments)
    call = ToolCall("c1", tool.name, "{}")
    decision = case.permissions.decide(call, tool, params, case.session)
    return case.permissions.question_for("q1", call, tool, params, decision, diff, case.session)


def test_the_question_says_what_each_answer_covers(work):
    case = Case(work)
    question = ask(case, BASH, command="make all")
    assert [choice.key for choice in question.choices] == ["once", "session", "project", "deny"]
    assert "exactly this command" in question.choices[1].label
    assert str(work) in question.choices[2].label
    assert question.default == "deny"
    assert question.call_id == "c1"
    assert "make all" in question.detail
    assert "src/" in ask(case, WRITE, diff="+x", path="src/a.py").choices[1].label
    assert "https://example.org" in ask(case, FETCH, url="https://example.org/a?b").choices[1].label


def test_once_and_deny_grant_nothing(work):
    case = Case(work)
    for key in ("once", "deny", "", "nonsense"):
        case.answer(key, BASH, command="make")
    assert case.verdict(BASH, command="make") is ASK


def test_a_session_grant_covers_just_what_it_said(work):
    case = Case(work)
    case.answer("session", BASH, command="make")
    assert case.verdict(BASH, command="make") is ALLOW
    assert case.verdict(BASH, command="make", timeout=99) is ALLOW
    assert case.verdict(BASH, command="make all") is ASK
    assert case.verdict(BASH, command="make", folder="sub") is ASK
    case.answer("session", WRITE, path="src/a.py")
    assert case.verdict(WRITE, path="src/b.py") is ALLOW
    assert case.verdict(WRITE, path="./src/b.py") is ALLOW
    assert case.verdict(WRITE, path="src/deep/b.py") is ASK
    assert case.verdict(WRITE, path="b.py") is ASK
    assert case.verdict(PATCH, paths=["src/b.py"]) is ASK  # another tool
    case.answer("session", FETCH, url="https://example.org/a")
    assert case.verdict(FETCH, url="https://example.org/b") is ALLOW
    assert case.verdict(FETCH, url="http://example.org/b") is ASK
    assert Case(work).verdict(BASH, command="make") is ASK


def test_a_grant_answers_an_ask_rule_but_never_a_deny_rule(work):
    case = Case(work, "full", commands={"make *": "ask"})
    assert case.verdict(BASH, command="make x") is ASK
    case.answer("session", BASH, command="make x")
    assert case.verdict(BASH, command="make x") is ALLOW
    denied = Case(work, "full", commands={"make *": "deny"})
    denied.answer("session", BASH, command="make x")
    assert denied.verdict(BASH, command="make x") is DENY


def test_a_directory_grant_does_not_reach_through_a_link(work):
    work.mkdir()
    (work / "src").mkdir()
    (work / "src" / "other").symlink_to("../lib")
    case = Case(work)
    case.answer("session", WRITE, path="src/a")
    assert case.verdict(WRITE, path="src/other") is ASK


def test_a_project_grant_is_kept_in_the_users_config_and_for_that_directory_only(
    work, tmp_path, home
):
    before = set(os.listdir(Case(work).directory))
    Case(work).answer("project", BASH, command="make")
    assert Case(work).verdict(BASH, command="make") is ALLOW
    assert Case(tmp_path / "elsewhere").verdict(BASH, command="make") is ASK
    assert set(os.listdir(work)) == before
    file = home / "config" / "codetether-agent" / "grants.json"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("{broken")
    assert Case(work).verdict(BASH, command="make") is ASK


def test_two_processes_granting_at_once_lose_nothing(work):
    from concurrent.futures import ThreadPoolExecutor

    cases = [Case(work) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(
            pool.map(
                lambda pair: pair[1].answer("project", BASH, command=f"make {pair[0]}"),
                enumerate(cases),
            )
        )
    fresh = Case(work)
    assert [fresh.verdict(BASH, command=f"make {number}") for number in range(6)] == [ALLOW] * 6


def test_forgetting_project_grants(work, home):
    from codetether.grants import forget

    Case(work).answer("project", BASH, command="make")
    assert forget(home / "config" / "codetether-agent", work) == 1
    assert Case(work).verdict(BASH, command="make") is ASK


# --- patterns ---
@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("src/**", "src/a", True),
        ("src/**", "src/a/b/c", True),
        ("src/**", "src", True),
        ("src/**", "srcs/a", False),
        ("src/*", "src/a/b", False),
        ("src/*.py", "src/a.py", True),
        ("src/**/*.py", "src/a.py", True),
        ("src/**/*.py", "src/x/y/a.py", True),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("**/x", "a/bx", False),
        ("*.pem", "a/b/k.pem", True),
        ("/*.pem", "a/k.pem", False),
        ("/*.pem", "k.pem", True),
        ("secrets/", "secrets/a/b", True),
        ("**", "a/b", True),
        ("a?c", "abc", True),
        ("a/?", "a//", False),
        ("[x].txt", "[x].txt", True),
        ("[x].txt", "x.txt", False),
    ],
)
def test_path_patterns(pattern, path, covered):
    assert path_matches(pattern, path) is covered


@given(st.text(st.sampled_from("ab*?")), st.text(st.sampled_from("ab"), max_size=12))
def test_patterns_agree_with_fnmatch(pattern, text):
    from fnmatch import fnmatchcase

    assert matches(pattern, text) == fnmatchcase(text, pattern)


def test_a_nasty_pattern_is_not_slow():
    assert not matches("*a" * 200 + "b", "a" * 5000)


WORDS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4)


@given(WORDS)
def test_what_the_shell_reader_understands_it_reads_as_the_shell_does(words):
    command = shlex.join(words)
    parts = shell.parts(command)
    assert parts is None or parts == [shlex.split(command)]


@given(st.text(st.sampled_from("ab '\"\\;&|<>$`(){}\n#*=-!~"), max_size=12))
def test_the_shell_reader_never_hangs_and_never_allows_what_sh_would_expand(text):
    parts = shell.parts(text)
    shell.fragments(text)
    if parts is not None and not any(mark in text for mark in "'\""):
        assert not set("$`(){}<>\\#") & set(text.replace("2>&1", ""))


@given(st.text(max_size=40))
def test_addresses_never_raise(url):
    Address.read(url)
    Address.touches("https://x/*", url)


@pytest.mark.parametrize(
    "command", ["env " + "rm " * 40_000, "a;" * 50_000, "'" * 99_999, "x" * 200_000]
)
def test_a_huge_command_is_decided_without_huge_work(work, command):
    rules = {"rm *": "deny", "* --force": "deny", "a?c *": "deny", "ls *": "allow"}
    pieces = shell.fragments(command)
    assert sum(map(len, pieces)) < 100 * len(command)
    assert Case(work, commands=rules).verdict(BASH, command=command) in (ASK, DENY)
