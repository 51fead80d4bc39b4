"""Distributions that go wrong in every way on the list, written out to be built by setuptools."""

from __future__ import annotations

from pathlib import Path

PROJECT = """\
[build-system]
requires = ["setuptools>=70"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "1.0"
description = "Go wrong"
dependencies = ["codetether-core>=0.1,<0.2"]
{points}
[tool.setuptools]
py-modules = {modules}
"""
HEAD = """\
from typing import Annotated, Any
import msgspec, trio
from codetether.api import Effect, Extension, Tool, ToolOutput, Verdict, hookimpl
"""
EXTENSIONS = {
    "missing_dependency": "import a_module_nobody_has\n",
    "syntax_error": "def broken(:\n",
    "failing_assertion": "assert 1 == 2, 'one is not two'\n",
    "exits": "import sys\nsys.exit('leaving')\n",
    "no_class": "",
    "bad_constructor": "class Plugin(Extension):\n    api = 1\n    def __init__(self, kernel, key):\n        raise ValueError('no')\n",
    "no_api": "class Plugin(Extension):\n    pass\n",
    "old_api": "class Plugin(Extension):\n    api = 0\n",
    "wrong_argument": (
        "class Plugin(Extension):\n    api = 1\n    @hookimpl\n"
        "    async def codetether_observe(self, evnt):\n        pass\n"
    ),
    "unknown_hook": (
        "class Plugin(Extension):\n    api = 1\n    @hookimpl\n    async def codetether_obsreve(self, event):\n        pass\n"
    ),
    "raises": (
        "class Plugin(Extension):\n    api = 1\n    @hookimpl\n"
        "    async def codetether_observe(self, event):\n        raise RuntimeError('boom')\n"
    ),
    "hangs": (
        "class Plugin(Extension):\n    api = 1\n    @hookimpl\n"
        "    async def codetether_observe(self, event):\n        await trio.sleep_forever()\n"
    ),
    "raising_policy": (
        "class Plugin(Extension):\n    api = 1\n    @hookimpl\n"
        "    async def codetether_permit(self, call, tool, session):\n        raise RuntimeError('no policy')\n"
    ),
}
# Where each of them is stopped; the last three load, and go wrong when their hook is called.
STAGES = {
    "missing_dependency": "import", "syntax_error": "import", "failing_assertion": "import", "exits": "import",
    "no_class": "import", "missing_module": "import", "bad_constructor": "build", "no_api": "api", "old_api": "api",
    "wrong_argument": "register", "unknown_hook": "register",
}  # fmt: skip
HOOK_FAULTS = ("raises", "hangs", "raising_policy")


def write_broken(folder: Path) -> None:
    """One distribution, an extension for each way to go wrong."""
    points = ['[project.entry-points."codetether.extensions"]']
    for name, body in EXTENSIONS.items():
        (folder / f"acme_{name}.py").write_text(HEAD + body)
        points.append(f'{name} = "acme_{name}:Plugin"')
    points.append('missing_module = "acme_missing_module:Plugin"')
    modules = [f"acme_{name}" for name in EXTENSIONS]
    (folder / "pyproject.toml").write_text(
        PROJECT.format(name="acme-broken", points="\n".join(points), modules=modules)
    )


def write_twin(folder: Path, name: str) -> None:
    """One of two distributions that offer the same tool."""
    module = f"acme_{name}"
    (folder / f"{module}.py").write_text(
        f"{HEAD}\nclass Params(msgspec.Struct):\n    pass\n\nclass Twin(Tool[Params]):\n    api = 1\n    params = Params\n"
        f"    effect = Effect.READ\n    text = 'Say who you are.'\n    async def run(self, params, ctx):\n"
        f"        return ToolOutput('{name}')\n"
    )
    points = f'[project.entry-points."codetether.tools"]\ntwin = "{module}:Twin"'
    (folder / "pyproject.toml").write_text(
        PROJECT.format(name=f"acme-{name}", points=points, modules=[module])
    )


def write_newer(folder: Path) -> None:
    """A plugin for a kernel that does not exist yet: pip must refuse it."""
    (folder / "acme_newer.py").write_text("")
    text = PROJECT.format(name="acme-newer", points="", modules=["acme_newer"])
    (folder / "pyproject.toml").write_text(text.replace(">=0.1,<0.2", ">=2"))
