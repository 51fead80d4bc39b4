"""What a confined command sees of the files, as bwrap's arguments."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from codetether.api import CodetetherError, SandboxPolicy
from codetether_confinement.repository import OURS, branches, protected, shared

WRITABLE, READ_ONLY, HIDDEN = 1, 2, 3
PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108 - the sandbox has its own
SOCKETS = "/proc/net/unix"
ROOT_HINT = "start in the directory of a project"
DEVICES = ("--dev", "/dev", "--proc", "/proc")
BASE = ("--ro-bind", "/", "/", *DEVICES)


def mounts(policy: SandboxPolicy, keep: Sequence[str] = ()) -> list[str]:
    """The mounts for `policy`, outer paths before what is inside them; `keep` is read-only wherever it lies.

    A directory on the way to something read-only in the workspace is a mount of its own, because otherwise it could
    be renamed and another one put in its place. Raises CodetetherError for what cannot be confined.
    """
    writable = [os.path.realpath(path) for path in policy.writable]
    if "/" in writable:
        raise CodetetherError("a command that may write everywhere cannot be confined", ROOT_HINT)
    agents = [branches(root) for root in writable]
    writable += [path for root in writable for path in shared(root)]
    read_only = [*policy.read_only, *keep, *(path for root in writable for path in protected(root))]
    read_only += [path for names, _ in agents for path in names]
    plan = dict.fromkeys(writable, WRITABLE)
    for path in _existing(read_only):
        root = _inside(path, writable)
        if root:
            for parent in _between(root, path):
                plan.setdefault(parent, WRITABLE)
            plan[path] = READ_ONLY
        elif any(_lies_in(path, other) for other in PRIVATE):
            plan[path] = READ_ONLY  # else it could not be seen there at all
    plan.update(dict.fromkeys(_existing(path for _, ours in agents for path in ours), WRITABLE))
    for path in _existing(policy.readable):
        plan.setdefault(path, READ_ONLY)
    hidden = [*_existing(policy.hidden), *_sockets()]
    plan.update(dict.fromkeys(hidden, HIDDEN))
    private = list(dict.fromkeys(_existing(PRIVATE)))
    base = BASE if not policy.readable else (*DEVICES, *_links(policy.readable))
    words = [*base, *(word for path in private for word in _hide(path))]
    for path in sorted(plan, key=lambda each: (len(PurePath(each).parts), each)):
        if plan[path] != HIDDEN:
            words += [_bind(path, plan[path]), path, path]
        elif not any(_lies_in(path, other) for other in (*private, *hidden)) or _inside(
            path, writable
        ):
            words += _hide(path)
    # What bwrap makes is in memory and can be written: the root when it is not the machine's, and the private places.
    closed = [*(("/",) if policy.readable else ()), *(() if writable else ("/dev", *private))]
    return [*words, *(word for path in closed for word in ("--remount-ro", path))]


def _links(paths: Iterable[str]) -> Iterator[str]:
    """Those of `paths` that are links, such as /lib64: the loader of programs is named by one."""
    for path in paths:
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)


def _bind(path: str, how: int) -> str:
    """The option. Git's folder of another worktree may be gone by now: what is not there needs no protection."""
    bind = "--bind" if how == WRITABLE else "--ro-bind"
    gone = "/.git/worktrees/" in path or path.endswith(f"/{OURS}")
    return f"{bind}-try" if gone else bind


def _existing(paths: Iterable[str]) -> Iterator[str]:
    """Where they really are; what is not there needs no protection, and a mount would make it on the machine."""
    return (os.path.realpath(path) for path in paths if os.path.exists(path))


def _lies_in(path: str, folder: str) -> bool:
    return path != folder and PurePath(path).is_relative_to(folder)


def _inside(path: str, roots: Sequence[str]) -> str:
    return next((root for root in roots if _lies_in(path, root)), "")


def _between(root: str, path: str) -> Iterator[str]:
    """The directories below `root` on the way to `path`."""
    parent = os.path.dirname(path)
    while parent != root:
        yield parent
        parent = os.path.dirname(parent)


def _hide(path: str) -> tuple[str, ...]:
    if os.path.isdir(path):
        return ("--tmpfs", path)
    return ("--ro-bind", "/dev/null", path)


def _sockets() -> Iterator[str]:
    """Every socket of the machine that has a path: docker's, the ssh agent's, servers'. A read-only mount does not
    stop a connection.
    """
    try:
        with open(SOCKETS, encoding="utf-8", errors="surrogateescape") as lines:
            paths = {line.split(maxsplit=7)[7].rstrip("\n") for line in lines if " /" in line}
    except OSError:
        return
    for path in paths:
        try:
            real = os.path.realpath(path)
            if stat.S_ISSOCK(os.stat(real).st_mode):
                yield real
        except OSError:
            continue  # gone, or not ours to see
