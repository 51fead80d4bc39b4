"""A child that is talked with over two pipes for as long as it lives: a server of some protocol on its standard streams."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence

import trio

from codetether.errors import CodetetherError
from codetether.ports import Launch
from codetether.process import run_process

TOLD = 8_000  # bytes of what it prints on stderr that are kept, to say why it ended
# run_process gives a child no input; its own pipes are the numbers of descriptors that it inherits.
CONNECT = 'in=$1 out=$2; shift 2; exec "$@" </dev/fd/"$in" >/dev/fd/"$out"'


class PipedChild:
    """The child's pipes: `input` is written to, `output` read from. `run` is its life; `ended` is set when it is gone.

    `why`: how it ended ("it ended (exit code 1): " and its last words), or what was said there before.
    """

    def __init__(self) -> None:
        self._its_input, ours = os.pipe()
        our_input, self._its_output = os.pipe()
        self.input = trio.lowlevel.FdStream(ours)
        self.output = trio.lowlevel.FdStream(our_input)
        self.ended = trio.Event()
        self.why = ""

    @property
    def fds(self) -> tuple[int, int]:
        """The child's ends, which its launch has to pass on."""
        return self._its_input, self._its_output

    def connected(self, argv: Sequence[str]) -> tuple[str, ...]:
        """`argv` with its standard input and output at these ends."""
        return ("/bin/sh", "-c", CONNECT, "codetether", *map(str, self.fds), *argv)

    async def run(self, launch: Launch) -> None:
        """Until it ends; cancelling ends it with everything it started. Why it could not start is in `why`."""
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
            said = f": {' / '.join(lines[-3:])}" if lines else ""
            self.why = self.why or f"it ended ({how}){said}"
        except CodetetherError as error:
            self.why = self.why or error.message
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
        """Close all ends."""
        self.let_go()
        await self.input.aclose()
        await self.output.aclose()
