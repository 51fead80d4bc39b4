"""bubblewrap and seccomp: a command sees the machine read-only, its workspace writable, no secrets and no network."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from codetether.api import CodetetherError, Finding, Launch, Sandbox, SandboxPolicy

if TYPE_CHECKING:
    from codetether.api import Kernel

HINT = (
    "install bubblewrap from your distribution, or `codetether-sandbox-bubblewrap[bwrap]`; in a container or where "
    "AppArmor forbids user namespaces use codetether-sandbox-landlock or set `sandbox`"
)
SHELL = "/bin/sh"
FIRST_FD = 10  # the numbers below are for the shell


class Bubblewrap(Sandbox):
    """Confines by namespaces (files, processes, network) and a seccomp filter.

    Read-only: everything but the workspace, `.git/hooks`, `.git/config` and `.codetether` in it. Hidden: secrets, the
    agent's data, sockets of the machine. Private: `/tmp`, `/dev`, processes. No network unless the policy has it; then
    no Unix sockets. A command that cannot be confined is not run.
    """

    api = 1
    level = "S3"

    def __init__(self, kernel: Kernel, key: str) -> None:
        super().__init__(kernel, key)
        self._program = ""
        self._filters: dict[bool, int] = {}
        self._script = ""

    async def probe(self) -> Finding:
        """Ok when every attack was stopped; an error that says which was not, or why bubblewrap does not start."""
        from codetether_confinement import prove

        from codetether_sandbox_bubblewrap.program import candidates

        if not sys.platform.startswith("linux"):
            return self._error("bubblewrap confines only on Linux")
        trouble = "bwrap is not installed"
        for program in candidates():
            self._program = program
            proof = await prove(self, self.kernel.dirs.cache, kind=f"{program} {_stamp(program)}")
            if not proof.trouble and not proof.done:
                return Finding("ok", f"sandbox {self.name}", f"confines commands ({program})")
            trouble = proof.trouble or f"does not stop: {', '.join(proof.done)}"
        self._program = ""
        return self._error(trouble)

    def _error(self, text: str) -> Finding:
        return Finding("error", f"sandbox {self.name}", text, HINT)

    def wrap(self, launch: Launch, policy: SandboxPolicy) -> Launch:
        """`launch` through bwrap. Raises CodetetherError when there is no bwrap, or no filter for this machine."""
        from codetether_sandbox_bubblewrap.mounts import mounts
        from codetether_sandbox_bubblewrap.program import candidates, its_files

        program = self._program or next(iter(candidates()), "")
        if not program:
            raise CodetetherError("nothing can be run: bwrap is not installed", HINT)
        fd = self._filter(policy.network)
        argv = (
            *(SHELL, "-c", self._shell(), str(fd), program),
            *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
            *(() if policy.network else ("--unshare-net",)),
            *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *("--seccomp", "9", "--json-status-fd", "7"),
            *mounts(policy, its_files(program)),
            *("--chdir", launch.cwd, "--", *launch.argv),
        )  # fmt: skip
        env = {**launch.env, "TMPDIR": "/tmp"}  # noqa: S108 - a private one
        return Launch(argv, launch.cwd, env, (*launch.pass_fds, fd))

    def _shell(self) -> str:
        if not self._script:
            self._script = Path(__file__).with_name("launch.sh").read_text("utf-8")
        return self._script

    def _filter(self, network: bool) -> int:
        """A sealed file in memory with the filter: no child can change what the next one is held by."""
        import fcntl

        from codetether_confinement import seccomp_filter
        from codetether_confinement.filter import INET, INET6, NETLINK

        if network not in self._filters:
            try:
                program = seccomp_filter(families=(INET, INET6, NETLINK) if network else None)
            except ValueError as error:
                raise CodetetherError(f"nothing can be run: {error}", HINT) from None
            low = os.memfd_create("seccomp", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            fd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, FIRST_FD)
            os.close(low)
            os.write(fd, program)
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            self._filters[network] = fd
        return self._filters[network]

    async def aclose(self) -> None:
        """Close the filters."""
        while self._filters:
            os.close(self._filters.popitem()[1])


def _stamp(program: str) -> str:
    about = os.stat(program)
    return f"{about.st_ino} {about.st_size} {about.st_mtime_ns}"
