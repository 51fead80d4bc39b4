"""Landlock and seccomp: a command writes only in its workspace, reads no secrets and opens no sockets. No namespaces."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from codetether.api import CodetetherError, Finding, Launch, Sandbox, SandboxPolicy

if TYPE_CHECKING:
    from codetether.api import Kernel

HINT = "it needs Linux 6.7 or newer with Landlock switched on; use codetether-sandbox-bubblewrap or set `sandbox`"
ELSEWHERE = "start in the directory of a project, or use codetether-sandbox-bubblewrap"
GIT = frozenset({"write a git hook", "write git's settings", "replace .git"})
PYTHON = os.path.realpath(sys.executable)


class Landlock(Sandbox):
    """Confines by Landlock (ABI 4) and a seccomp filter, where namespaces are forbidden.

    Read-only: everything but the workspace and a private directory for temporary files. Hidden: secrets, the agent's
    data. No network unless the policy has it, never Unix sockets. Not protected: `.git/hooks`, `.git/config` and
    `.codetether` in the workspace, because Landlock takes nothing back inside what it gave.
    """

    api = 1
    level = "S2"

    def __init__(self, kernel: Kernel, key: str) -> None:
        super().__init__(kernel, key)
        self._temporary = ""
        self._code = ""

    async def probe(self) -> Finding:
        """A warning when every attack but those on `.git` was stopped; an error that says which was not, or why."""
        from codetether_confinement import prove

        proof = await prove(self, self.kernel.dirs.cache, kind=PYTHON)
        subject = f"sandbox {self.name}"
        wrong = [name for name in proof.done if name not in GIT]
        if proof.trouble or wrong:
            text = proof.trouble or f"does not stop: {', '.join(wrong)}"
            return Finding("error", subject, text, HINT)
        return Finding(
            "warning",
            subject,
            "confines commands, but they can change hooks and settings of git in the workspace",
            "bubblewrap protects them too, where it works (codetether-sandbox-bubblewrap)",
        )

    def wrap(self, launch: Launch, policy: SandboxPolicy) -> Launch:
        """`launch` through a Python that confines itself first. Raises CodetetherError for what it cannot confine."""
        import marshal

        from codetether_confinement import seccomp_filter
        from codetether_confinement.filter import INET, INET6, NETLINK
        from codetether_confinement.repository import shared_parts

        writable = [os.path.realpath(path) for path in policy.writable]
        hidden = [os.path.realpath(path) for path in policy.hidden if os.path.exists(path)]
        _refuse_inside(writable, hidden)
        families = (INET, INET6, NETLINK) if policy.network else (NETLINK,)
        try:
            program = seccomp_filter(families=families)
        except ValueError as error:
            raise CodetetherError(f"nothing can be run: {error}", HINT) from None
        temporary = self._private()
        parts = [path for root in writable for path in shared_parts(root)]
        plan = {
            "writable": [*writable, temporary, *parts] if writable else [],
            "readable": [os.path.realpath(path) for path in policy.readable] or ["/"],
            "hidden": hidden,
            "network": policy.network,
            "filter": program,
        }
        argv = (PYTHON, "-I", "-S", "-c", self._program(), marshal.dumps(plan).hex(), *launch.argv)
        return Launch(argv, launch.cwd, {**launch.env, "TMPDIR": temporary}, launch.pass_fds)

    def _program(self) -> str:
        if not self._code:
            self._code = Path(__file__).with_name("child.py").read_text("utf-8")
        return self._code

    def _private(self) -> str:
        if not self._temporary:
            import tempfile

            self._temporary = os.path.realpath(tempfile.mkdtemp(prefix="codetether-"))
        return self._temporary

    async def aclose(self) -> None:
        """Remove the directory for temporary files."""
        if self._temporary:
            import shutil

            import trio

            temporary, self._temporary = self._temporary, ""
            await trio.to_thread.run_sync(lambda: shutil.rmtree(temporary, ignore_errors=True))


def _refuse_inside(writable: list[str], hidden: list[str]) -> None:
    """Landlock takes nothing back inside a directory that may be written."""
    for root in writable:
        for path, what in (
            *((path, "must stay hidden") for path in hidden),
            (PYTHON, "confines every command"),
            (os.path.realpath(sys.base_prefix), "confines every command"),
        ):
            if PurePath(path).is_relative_to(root):
                raise CodetetherError(
                    f"nothing is run here: {path} {what}, and lies in the workspace {root}",
                    ELSEWHERE,
                )
