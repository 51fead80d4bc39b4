"""The throw-away repository of the demo: made, looked at, thrown away."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import trio
from codetether.api import (
    CodetetherError,
    Completed,
    UsageError,
    clean_env,
    run_process,
    write_atomic,
)

SECONDS = 60.0
NOBODY = {  # neither the person's git settings nor the machine's change what the demo does
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "CodeTether demo",
    "GIT_AUTHOR_EMAIL": "demo@codetether.invalid",
    "GIT_COMMITTER_NAME": "CodeTether demo",
    "GIT_COMMITTER_EMAIL": "demo@codetether.invalid",
}
GIT = (
    "git",
    "-c",
    "core.fsmonitor=",
    "-c",
    f"core.hooksPath={os.devnull}",
    "-c",
    "core.pager=cat",
    "-c",
    "commit.gpgsign=false",
)


class Repository:
    """A git repository with one commit. `root` is where it is."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    async def make(cls, files: Mapping[str, bytes], where: Path | None) -> Repository:
        """Write `files` below `where` (a new temporary folder if None) and commit them.

        Raises UsageError when `where` holds something already, CodetetherError when git is missing.
        """
        if shutil.which("git") is None:
            raise CodetetherError(
                "the demo needs git, and there is none in PATH", "install git and try again"
            )
        repository = cls(await trio.to_thread.run_sync(_place, where))
        try:
            await trio.to_thread.run_sync(repository._write, files)
            for words in (
                ("init", "-q"),
                ("add", "-A"),
                ("commit", "-q", "-m", "A small package with a bug"),
            ):
                done = await repository.git(*words)
                if not done.ok:
                    raise CodetetherError(
                        f"git {words[0]} failed: {(done.errors or done.output).strip()}"
                    )
        except BaseException:
            if where is None:
                await repository.throw_away()
            raise
        return repository

    def _write(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)

    async def git(self, *words: str) -> Completed:
        """Run git here."""
        return await run_process(
            [*GIT, *words], cwd=self.root, env=clean_env(NOBODY), timeout=SECONDS
        )

    async def diff(self) -> str:
        """What changed since the commit."""
        return (await self.git("diff", "--no-color", "--no-ext-diff")).output

    async def run_tests(self) -> Completed:
        """The repository's own tests, run by us and not by the model."""
        env = clean_env({"PYTHONDONTWRITEBYTECODE": "1"})
        argv = [sys.executable, "-m", "unittest", "-q"]
        return await run_process(argv, cwd=self.root, env=env, timeout=SECONDS, merge=True)

    async def throw_away(self) -> None:
        """Remove it, also when we are being cancelled."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(lambda: shutil.rmtree(self.root, ignore_errors=True))


def _place(where: Path | None) -> Path:
    if where is None:
        return Path(tempfile.mkdtemp(prefix="codetether-demo-")).resolve()
    try:
        where.mkdir(parents=True, exist_ok=True)
        if any(where.iterdir()):
            raise UsageError(f"{where} is not empty", "name a folder that does not exist yet")
    except OSError as error:
        raise UsageError(f"cannot use {where}: {error.strerror}") from None
    return where.resolve()
