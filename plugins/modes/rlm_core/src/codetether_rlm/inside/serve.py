"""The worker: `python -I -S serve.py PLAN FD`. Maps the sources, limits itself, and answers until its socket ends.

PLAN is a dictionary, marshalled, in hexadecimal: files ((number, size) of open files), memory (bytes), filter (for
seccomp; empty: none), package (its folder). It says `{"ready": true}` as soon as the sources are mapped, and runs
nothing of anybody's before the filter is in force.
"""

from __future__ import annotations

import _socket
import marshal
import mmap
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BASE = 512 << 20  # bytes of addresses the interpreter itself may take
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2


def main(plan: dict[str, Any], number: int) -> None:
    """Serve."""
    ours = _socket.socket(fileno=number)
    files = [_mapped(fd, size) for fd, size in plan["files"]]
    limit(plan)
    ours.send(b'{"ready":true}\n')
    stay_alone(plan["filter"])
    # Only our own folder may be read, so the package is not found by its name; cells have the standard library.
    package = type(sys)("codetether_rlm")
    package.__path__ = [plan["package"]]
    sys.modules["codetether_rlm"] = package
    from codetether_rlm.inside.cells import Cells
    from codetether_rlm.inside.link import Link
    from codetether_rlm.inside.texts import Seen, Text, sources

    link = Link(ours)
    start = link.receive()
    seen = Seen()
    for name, place, begins, size, kind in start["parts"]:
        sources[name] = Text(name, files[place], begins, size, kind, seen)
    cells = Cells(link, seen, start["limits"])
    link.send({"lost": cells.restore(start["written"], start["values"])})
    while True:
        asked = link.receive()
        run = cells.python if asked["do"] == "python" else cells.command
        done = run(asked["text"])
        link.send({"done": asked["id"], **done})


def _mapped(fd: int, size: int) -> mmap.mmap | bytes:
    size = min(size, os.fstat(fd).st_size)
    found = mmap.mmap(fd, size, prot=mmap.PROT_READ) if size else b""
    os.close(fd)
    return found


def limit(plan: dict[str, Any]) -> None:
    """Take from this process what no cell needs: memory beyond the sources, writing files."""
    addresses = sum(size for _, size in plan["files"]) + plan["memory"] + BASE
    for what, most in (
        (resource.RLIMIT_AS, addresses),
        (resource.RLIMIT_DATA, plan["memory"] + (64 << 20)),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def stay_alone(program: bytes) -> None:
    """Put the filter in force: no other process, thread, program or socket. Raises OSError."""
    if not program:
        return
    import ctypes  # as slow as all before: after the word that the sources are mapped

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    whole = Program(len(program) // 8, program)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(
        SECCOMP, FILTER, ctypes.byref(whole), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the seccomp filter was not taken")


if __name__ == "__main__":
    main(marshal.loads(bytes.fromhex(sys.argv[1])), int(sys.argv[2]))  # noqa: S302 - our own words
