"""Confines itself, then becomes the command: `python -I -S -c THIS PLAN ARGV...`. Only the standard library.

PLAN is a dictionary, marshalled, in hexadecimal: writable (directories), readable and hidden (paths), network, filter
(for seccomp). Whatever fails ends it with 126 before the command has begun: nothing runs half confined.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import stat
import sys

TYPE_CHECKING = False  # typing and json would double the time this takes
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

CREATE, ADD, RESTRICT = 444, 445, 446  # the same on every architecture
OLDEST = 4
READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a directory
OF_A_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
NO_NEW_PRIVILEGES, SECCOMP, FILTER, BOUND = 38, 22, 2, 24
CAPABILITIES = 0x20080522  # the version of capset's arguments


def main(plan: dict[str, Any], argv: list[str]) -> NoReturn:
    """Become `argv`, confined."""
    try:
        confine(plan)
    except OSError as error:
        end(f"cannot confine {argv[0]!r}, so it was not run: {error}", 126)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - this is what it is for
    except OSError as error:
        end(f"cannot run {argv[0]!r}: {error.strerror}", 127)


def end(text: str, code: int) -> NoReturn:
    """Say why on stderr, and exit."""
    print(text, file=sys.stderr, flush=True)
    os._exit(code)


def confine(plan: dict[str, Any]) -> None:
    """Take from this process what `plan` does not leave it. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    abi = call(libc, CREATE, None, 0, 1)
    if abi < OLDEST:
        raise OSError(f"Landlock ABI {OLDEST} is needed, this kernel has {abi}")
    every = (1 << 15) - 1 if abi < 5 else (1 << 16) - 1
    net = 0 if plan["network"] else 3  # bind and connect TCP
    scoped = 3 if abi >= 6 else 0  # abstract sockets and signals
    attributes = (ctypes.c_uint64 * 3)(every, net, scoped)
    size = 24 if abi >= 6 else 16
    rules = call(libc, CREATE, ctypes.byref(attributes), size, 0)
    for root in plan["readable"]:
        for path in readable(root, plan["hidden"]):
            allow(libc, rules, path, READ)
    for path in (*plan["writable"], *(f"/dev/{name}" for name in DEVICES)):
        allow(libc, rules, path, every)
    drop_capabilities(libc)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    call(libc, RESTRICT, rules, 0)
    os.close(rules)
    filter_calls(libc, plan["filter"])


def call(libc: Any, number: int, *arguments: Any) -> int:
    """One system call. Raises OSError."""
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    answer = int(libc.syscall(ctypes.c_long(number), *given))
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: {os.strerror(error)}")
    return answer


def readable(folder: str, hidden: list[str]) -> Iterator[str]:
    """What covers `folder` without anything hidden: itself, or what is in it. Links lead to what another path covers."""
    if folder in hidden:
        return
    if not any(path.startswith(folder.rstrip("/") + "/") for path in hidden):
        yield folder
        return
    try:
        with os.scandir(folder) as entries:
            inside = [entry.path for entry in entries if not entry.is_symlink()]
    except OSError:
        return
    for path in inside:
        yield from readable(path, hidden)


def allow(libc: Any, rules: int, path: str, access: int) -> None:
    """Allow `access` to `path` and what is beneath it; a path that is gone or not ours to open gets nothing."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return
    mode = os.fstat(fd).st_mode
    if not stat.S_ISDIR(mode):
        access &= OF_A_FILE
    rule = access.to_bytes(8, sys.byteorder) + fd.to_bytes(4, sys.byteorder)
    if not stat.S_ISLNK(mode):
        call(libc, ADD, rules, 1, ctypes.create_string_buffer(rule, 12), 0)
    os.close(fd)


def drop_capabilities(libc: Any) -> None:
    """Of root nothing is left but the name: its capabilities read other processes whatever Landlock says."""
    number = 0
    while libc.prctl(BOUND, number, 0, 0, 0) == 0:
        number += 1
    header, nothing = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(ctypes.byref(header), ctypes.byref(nothing)):
        raise OSError(ctypes.get_errno(), "capabilities could not be dropped")


def filter_calls(libc: Any, program: bytes) -> None:
    """Put the seccomp filter in force. Raises OSError."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))

    whole = Program(len(program) // 8, program)
    if libc.prctl(SECCOMP, FILTER, ctypes.byref(whole), 0, 0):
        raise OSError(ctypes.get_errno(), "the seccomp filter was not taken")


if __name__ == "__main__":
    main(marshal.loads(bytes.fromhex(sys.argv[1])), sys.argv[2:])  # noqa: S302 - our own words
