"""Attacks on a sandbox, run inside it by a bare Python: `python -I -S attacks.py PLACE`. Prints those that succeeded.

PLACE is JSON: work, outside, secret, socket, abstract, pid, tcp, udp. Uses nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

NEW_USER_NAMESPACE = 0x10000000
IO_URING_SETUP = 425
KEYCTL = {"x86_64": 250, "aarch64": 219}


def _write(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"x")
    os.close(fd)


def _through_symlink(place: dict[str, Any]) -> None:
    link = f"{place['work']}/symlink"
    os.symlink(place["outside"], link)
    _write(f"{link}/through-symlink")


def _through_hard_link(place: dict[str, Any]) -> None:
    link = f"{place['work']}/hard-link"
    os.link(f"{place['outside']}/file", link)
    _write(link)


def _read(path: str) -> None:
    with open(path, "rb") as file:
        if not file.read(1):
            raise OSError("nothing to read")


def _connect(family: int, address: Any) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        connection.connect(address)


def _datagram(place: dict[str, Any]) -> None:
    """Only who listens knows whether it arrived."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"x", ("127.0.0.1", place["udp"]))
    _fail()


def _system(*call: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(*[ctypes.c_long(part) if isinstance(part, int) else part for part in call]) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _in_child(call: Callable[[ctypes.CDLL], int]) -> None:
    """A system call after which a process is not what it was: tried in a child."""
    child = os.fork()
    if child == 0:
        os._exit(0 if call(ctypes.CDLL(None, use_errno=True)) == 0 else 1)
    if os.waitpid(child, 0)[1]:
        _fail()


def _fail() -> None:
    raise OSError("refused")


def _moved_hook(place: dict[str, Any]) -> None:
    """Another .git in the place of the protected one."""
    git = f"{place['work']}/.git"
    os.rename(git, f"{git}-aside")
    os.makedirs(f"{git}/hooks")


ATTACKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "write outside": lambda at: _write(f"{at['outside']}/new"),
    "change a file outside": lambda at: _write(f"{at['outside']}/file"),
    "write through a symlink": _through_symlink,
    "write through a hard link": _through_hard_link,
    "read a hidden file": lambda at: _read(at["secret"]),
    "read the agent's environment": lambda at: _read(f"/proc/{at['pid']}/environ"),
    "signal the agent": lambda at: os.kill(at["pid"], 0),
    "trace a process": lambda _: _in_child(lambda libc: int(libc.ptrace(0, 0, 0, 0))),
    "TCP": lambda at: _connect(socket.AF_INET, ("127.0.0.1", at["tcp"])),
    "UDP": _datagram,
    "Unix socket": lambda at: _connect(socket.AF_UNIX, at["socket"]),
    "abstract Unix socket": lambda at: _connect(socket.AF_UNIX, "\0" + at["abstract"]),
    "write a git hook": lambda at: _write(f"{at['work']}/.git/hooks/pre-commit"),
    "write git's settings": lambda at: _write(f"{at['work']}/.git/config"),
    "replace .git": _moved_hook,
    "keyring": lambda _: _system(KEYCTL[os.uname().machine], 0, -3, 1),
    "io_uring": lambda _: _system(IO_URING_SETUP, 1, ctypes.create_string_buffer(120)),
    "user namespace": lambda _: _in_child(lambda libc: int(libc.unshare(NEW_USER_NAMESPACE))),
}


def main(place: dict[str, Any]) -> list[str]:
    """The names of the attacks that succeeded; none is stopped by another's failure."""
    done = []
    for name, attack in ATTACKS.items():
        try:
            attack(place)
        except (OSError, KeyError):
            continue
        done.append(name)
    return done


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
