"""A seccomp filter as the bytes the kernel takes, for x86-64 and aarch64: what no command of an agent needs.

Classic BPF: every check is a comparison that skips its own refusal, so no jump is longer than four instructions.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Sequence

LOAD, AND = 0x20, 0x54  # BPF_LD|W|ABS, BPF_ALU|AND|K
EQUAL, AT_LEAST, ANY_BIT = 0x15, 0x35, 0x45  # BPF_JMP|{JEQ, JGE, JSET}|K
RETURN = 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, FIRST = 0, 4, 16  # offsets in struct seccomp_data; an argument is eight bytes
NAMESPACES = 0x7E020080  # every CLONE_NEW*
USER_NAMESPACE = 0x10000000
TYPE_INTO_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
DATAGRAM, UNIX, INET, INET6, NETLINK = 2, 1, 2, 10, 16
X32 = 0x40000000

ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
# Calls by number on (x86-64, aarch64); from 424 on both are the same.
REFUSED = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "pidfd_getfd": (438, 438),
    "open_by_handle_at": (304, 265), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "acct": (163, 89), "swapon": (167, 224),
    "swapoff": (168, 225), "reboot": (169, 142), "quotactl": (179, 60),
}  # fmt: skip
MISSING = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "clone3": 435}
CLONE, UNSHARE, IOCTL = (56, 220), (272, 97), (16, 29)
SOCKET, SOCKETPAIR = (41, 198), (53, 199)
# What a process that is to stay alone needs no more: others started, signalled or changed; sockets; memory with a name.
ALONE = {
    "execve": (59, 221), "execveat": (322, 281), "clone": CLONE, "kill": (62, 129), "tkill": (200, 130),
    "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "prlimit64": (302, 261), "setpriority": (141, 140),
    "sched_setaffinity": (203, 122), "socket": SOCKET, "socketpair": SOCKETPAIR, "connect": (42, 203),
    "bind": (49, 200), "memfd_create": (319, 279), "shmget": (29, 194), "mq_open": (240, 180), "msgget": (68, 186),
    "semget": (64, 190),
}  # fmt: skip
FORKS = {"x86_64": (57, 58), "aarch64": ()}


def seccomp_filter(*, families: Sequence[int] | None = None, machine: str = "") -> bytes:
    """The filter, as an array of struct sock_filter; `machine` is this one unless given.

    Refused (EPERM): new namespaces, mounts, ptrace and reading other processes, keyrings, bpf, modules, typing into
    the terminal, calls of a foreign architecture. Not there (ENOSYS): io_uring; clone3, whose flags a filter cannot see,
    so that libraries go on with clone. `families`: the only address families a socket may have; None: all.
    Raises ValueError for an architecture it does not know.
    """
    machine = machine or os.uname().machine
    if machine not in ARCHITECTURES:
        raise ValueError(f"no seccomp filter is known for {machine}")
    code, column = ARCHITECTURES[machine]
    steps = [*_load(ARCHITECTURE), (EQUAL, 1, 0, code), _refuse(), *_load(NUMBER)]
    if machine == "x86_64":
        steps += [(AT_LEAST, 0, 1, X32), _refuse()]
    for numbers in REFUSED.values():
        steps += [(EQUAL, 0, 1, numbers[column]), _refuse()]
    for number in MISSING.values():
        steps += [(EQUAL, 0, 1, number), _refuse(errno.ENOSYS)]
    steps += _argument(CLONE[column], 0, [(ANY_BIT, 0, 1, USER_NAMESPACE), _refuse()])
    steps += _argument(UNSHARE[column], 0, [(ANY_BIT, 0, 1, NAMESPACES), _refuse()])
    for request in TYPE_INTO_TERMINAL:
        steps += _argument(IOCTL[column], 1, [(EQUAL, 0, 1, request), _refuse()])
    if families is not None:
        allowed = [(EQUAL, len(families) - at, 0, family) for at, family in enumerate(families)]
        steps += _argument(SOCKET[column], 0, [*allowed, _refuse()])
        if UNIX not in families:  # a pair of datagram sockets can be sent to any address
            pair = [(AND, 0, 0, 0xF), (EQUAL, 0, 1, DATAGRAM), _refuse()]
            steps += _argument(SOCKETPAIR[column], 1, pair)
    steps.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def alone_filter(*, machine: str = "") -> bytes:
    """A filter a process puts on itself, on top of a sandbox's: it can start no process, program or thread, signal and
    change no process, and open no socket. What it has open it keeps. Raises ValueError for an unknown architecture.
    """
    machine = machine or os.uname().machine
    if machine not in ARCHITECTURES:
        raise ValueError(f"no seccomp filter is known for {machine}")
    code, column = ARCHITECTURES[machine]
    steps = [*_load(ARCHITECTURE), (EQUAL, 1, 0, code), _refuse(), *_load(NUMBER)]
    if machine == "x86_64":
        steps += [(AT_LEAST, 0, 1, X32), _refuse()]
    refused = [numbers[column] for numbers in (*REFUSED.values(), *ALONE.values())]
    for number in (*refused, *FORKS[machine]):
        steps += [(EQUAL, 0, 1, number), _refuse()]
    for number in MISSING.values():
        steps += [(EQUAL, 0, 1, number), _refuse(errno.ENOSYS)]
    steps.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _load(offset: int) -> Iterator[tuple[int, int, int, int]]:
    yield (LOAD, 0, 0, offset)


def _refuse(number: int = errno.EPERM) -> tuple[int, int, int, int]:
    return (RETURN, 0, 0, REFUSE | number)


def _argument(
    number: int, index: int, check: list[tuple[int, int, int, int]]
) -> list[tuple[int, int, int, int]]:
    """`check` on the low half of one argument of the call `number`; the call's number is loaded again after it."""
    body = [*_load(FIRST + 8 * index), *check, *_load(NUMBER)]
    return [(EQUAL, 0, len(body), number), *body]
