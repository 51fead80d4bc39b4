"""What a run with one tool call imports: our modules to the name, and nothing heavy; and that it starts no program. No
clock is read here.
"""

from __future__ import annotations

import os
import sys

import pytest
import trio
from codetether.catalog import scan
from codetether.testing import ScriptedServer, call

DUMP = """
import sys
before = set(sys.modules)
programs = []
sys.addaudithook(lambda event, _: programs.append("STARTED") if event in {"subprocess.Popen", "os.posix_spawn"} else None)
from codetether.__main__ import main
try:
    code = main(sys.argv[2:])
except SystemExit as end:
    code = end.code
with open(sys.argv[1], "w") as file:
    print(code, *programs, *sorted(set(sys.modules) - before), file=file)
"""
STARTED = "STARTED"  # trio asks `ldconfig` for a library, unless it is told
# What many have installed, or the standard library holds, and a run that does not use it must not pay for.
HEAVY = {
    "asyncio", "click", "concurrent.futures", "csv", "ctransformers", "dataclasses", "dataclasses_json", "difflib",
    "email", "h11", "httpcore", "httpx", "hvac", "idna.core", "jinja2", "json", "jsonschema", "markdown_it", "multiprocessing", "numpy", "openai", "prompt_toolkit", "pydantic",
    "pygments", "requests", "rich", "secrets", "setuptools", "shlex", "socksio", "sqlite3", "stevedore._cache", "tomlkit", "tomllib",
    "trio._dtls", "trio._ssl", "typing_extensions", "unittest", "xml", "yaml", "zipfile",
}  # fmt: skip
START = {
    "codetether": "agents api calls catalog config dirs errors evaluated events fill git host hookspecs kernel layers lazy ports "
    "postponed redact settings trust words",
}
PROMPT = {
    "codetether": "answer beneath console context entries faults feed files globs grants instructions "
    "journal loaded loop masking models opening permit records refusals repair rules scan sendable session "
    "session_files side_files spill syscalls terminal toolbox transcript workspace",
    "codetether_extension_crash_report": "watch",
    "codetether_headless": "drive job material prompting",
    "codetether_ui_plain": "figures screen view",
    "codetether_provider_local": "servers",
    "codetether_wire": "answer body catalogue chat chat_chunk chat_stream connection dialect endpoint exchange "
    "faults gate json_schema place pool provider reasoning_details replay request settings sse usage waits ways written",
}
ONE_CALL = {
    "codetether": "schema",
    "codetether_editing": "asked document kinds",
    "codetether_tool_lsp": "settings",
    "codetether_tool_read_file": "window",
    "codetether_tool_skill": "folders",
    "codetether_todos": "",
}


def names(*parts: dict[str, str]) -> set[str]:
    found = {"codetether.__main__"}
    for part in parts:
        for package, modules in part.items():
            found |= {package} | {f"{package}.{module}" for module in modules.split()}
    return found


def loaded_for(*kinds: str) -> set[str]:
    """The module each plugin of these kinds is named in, with its parents: what must be loaded to build it."""
    values = [row.value.partition(":")[0] for row in scan() if row.kind in kinds]
    return {
        value.rsplit(".", count)[0] for value in values for count in range(value.count(".") + 1)
    }


async def run(home, *words: str, model: bool = False) -> set[str]:
    """The modules a command loads beyond a bare interpreter (without site, so that nobody else's are in it), and
    STARTED when it runs a program.
    """
    work = home / "work"
    work.mkdir(exist_ok=True)
    (work / "hello.txt").write_text("hello\n")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    env = {**os.environ, "PYTHONPATH": path, "CODETETHER_SANDBOX": "none"}

    def answer(asked):
        if not asked.get("tools") or asked["messages"][-1]["role"] == "tool":
            return "It says hello."
        return call("read_file", path="hello.txt")

    async with ScriptedServer(answer) as server:
        if model:
            env["CODETETHER_LOCAL_BASE_URL"] = f"{server.url}/v1"
        argv = [sys.executable, "-S", "-c", DUMP, str(home / "modules"), *words]
        done = await trio.run_process(
            argv, env=env, cwd=work, capture_stdout=True, capture_stderr=True, check=False
        )
    if model:
        assert b"It says hello." in done.stdout, done.stderr.decode()
    code, *modules = (home / "modules").read_text().split()
    assert code == "0", done.stderr.decode()
    return set(modules)


def ours(modules: set[str]) -> set[str]:
    """Our modules, but for the sandbox: how much one needs to see whether it works depends on the machine."""
    mine = {name for name in modules if name.partition(".")[0].startswith("codetether")}
    return {name for name in mine if not name.startswith("codetether_sandbox_")}


def heavy(modules: set[str]) -> set[str]:
    return {name for name in HEAVY if any(f"{m}.".startswith(f"{name}.") for m in modules)}


async def test_exec_with_one_tool_call(home):
    modules = await run(home, "exec", "-m", "local/x", "read hello.txt", model=True)
    assert STARTED not in modules
    offered = loaded_for("extensions", "tools")
    assert ours(modules) == names(START, PROMPT, ONE_CALL) | {"codetether_mode_exec"} | offered
    assert not heavy(modules)


async def test_run_loads_no_tools(home):
    modules = await run(home, "run", "-m", "local/x", "hello", model=True)
    assert ours(modules) == names(START, PROMPT) | {"codetether_mode_run"} | loaded_for(
        "extensions"
    )
    assert not heavy(modules)


@pytest.mark.parametrize("words", [["sessions", "list"], ["sessions", "list", "--json"]])
async def test_listing_sessions_loads_no_session(home, words):
    modules = await run(home, *words)
    assert STARTED not in modules
    assert not heavy(modules)
    assert not {"httpx", "codetether.loop", "codetether.toolbox", "codetether_wire"} & modules
    assert not loaded_for("tools", "providers", "extensions") & modules


async def test_the_demo_asks_nobody(home):
    modules = await run(home, "demo")
    assert not heavy(modules) - {
        "difflib",
        "json",
        "shlex",
        "tomllib",
    }  # an edit, a command, a project's settings
    assert not {"httpx", "codetether_wire.exchange", "codetether_provider_local"} & modules
