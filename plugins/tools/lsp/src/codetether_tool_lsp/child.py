"""A language server as a child process: two pipes, its last words, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import math
import os

import trio
from codetether.api import CodetetherError, Launch, run_process

TOLD = 8_000  # bytes of what it prints on stderr that are kept, to say why it ended
# run_process gives a child no input; its own pipes are the numbers of descriptors that it inherits.
CONNECT = 'in=$1 out=$2; shift 2; exec "$@" </dev/fd/"$in" >/dev/fd/"$out"'


def connected(argv: tuple[str, ...], fds: tuple[int, int]) -> tuple[str, ...]:
    """`argv` with its standard input and output at the descriptors `fds`."""
    return ("/bin/sh", "-c", CONNECT, "codetether-lsp", *(str(fd) for fd in fds), *argv)


class Child:
    """The process's pipes. `run` is its life; `ended` is set when it is gone, and then `why` says how it ended."""

    def __init__(self) -> None:
        self._its_input, ours = os.pipe()
        our_input, self._its_output = os.pipe()
        self.input = trio.lowlevel.FdStream(ours)
        self.output = trio.lowlevel.FdStream(our_input)
        self.ended = trio.Event()
        self.why = ""

    @property
    def fds(self) -> tuple[int, int]:
        """The child's ends, for the launch."""
        return self._its_input, self._its_output

    async def run(self, launch: Launch) -> None:
        """Until it ends; cancelling ends it with everything it started."""
        try:
            done = await run_process(
                launch.argv,
                cwd=launch.cwd,
                env=launch.env,
                pass_fds=launch.pass_fds,
                timeout=math.inf,
                merge=True,
                head=0,
                tail=TOLD,
                kill_at_limit=False,
            )
            how = f"signal {done.signal}" if done.signal else f"exit code {done.code}"
            lines = [line.strip() for line in done.output.splitlines() if line.strip()]
            self.why = f"it ended ({how})" + (f": {' / '.join(lines[-3:])}" if lines else "")
        except CodetetherError as error:
            self.why = error.message
        finally:
            self.let_go()
            self.ended.set()

    def let_go(self) -> None:
        """Close the child's ends here; it has its own. Then its end is the end of `output`."""
        for fd in self.fds:
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._its_input = self._its_output = -1

    async def aclose(self) -> None:
        """Close our ends."""
        self.let_go()
        await self.input.aclose()
        await self.output.aclose()
