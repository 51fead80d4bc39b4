"""Processes that outlive the command that started them: how they are found, killed and reaped.

Every child carries `CODETETHER_RUN=<run>` in its environment. A run's id is `<agent>.<number>`; the ids of an agent that
was itself started by an agent are chained with `/`. On Linux this process adopts its orphaned descendants
(PR_SET_CHILD_SUBREAPER), so that whoever left its process group is still found below us. A guard, one small shell
waiting on a pipe, ends what carries our id when we are killed with SIGKILL. As everywhere, it asks first (TERM) and kills
what is there half a second later: git takes its locks away when it is asked, and leaves them when it is killed. PDEATHSIG is not used: Linux sends it when
the *thread* that forked ends, and trio's worker threads end when idle.

Out of reach without a sandbox: a process that leaves its session, loses its parent and clears its environment.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator

MARKER = "CODETETHER_RUN"
LINGER = 10.0  # seconds a zombie nobody waited for is left alone: it may be another library's child

_PR_SET_CHILD_SUBREAPER = 36
_GUARD = """
read -r word && exit 0
asked=' '
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
  found=$(grep -lF -- "$1." /proc/[0-9]*/environ 2>/dev/null)
  [ -n "$found" ] || exit 0
  for file in $found; do
    pid=${file#/proc/}; pid=${pid%/environ}
    [ "$round" -le 5 ] || kill -KILL "$pid" 2>/dev/null
    case $asked in *" $pid "*) continue;; esac
    kill -TERM "$pid" 2>/dev/null; kill -CONT "$pid" 2>/dev/null
    asked="$asked$pid "
  done
  sleep 0.1
done
"""
ROUND = 0.01
ASKED = 12  # rounds from TERM to KILL for what is found at the next start


class Leaders:
    """State of this process: who we are, which children are leaders of running commands."""

    def __init__(self) -> None:
        self.pid = 0
        self.agent = ""
        self.numbers = itertools.count(1)
        self.running: set[int] = set()
        self.zombies: dict[int, float] = {}
        self.adopts = False
        self.lock = threading.Lock()


_own = Leaders()


def prepare() -> None:
    """Adopt orphans and start the guard: once per process, by the first command. Blocks some milliseconds."""
    with _own.lock:
        if _own.pid == os.getpid():
            return
        _own.__dict__.update(Leaders().__dict__, lock=_own.lock)
        _own.pid = os.getpid()
        _own.agent = f"{_own.pid}-{_start_time(_own.pid)}-{_namespace()}-{os.urandom(4).hex()}"
        if os.path.isdir("/proc/self/task"):
            _own.adopts = _adopt()
            _start_guard(_own.agent)


def _adopt() -> bool:
    import ctypes

    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    done = prctl is not None and prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    return done and os.path.exists("/proc/thread-self/children")


def _start_guard(agent: str) -> None:
    ours_to_read, ours_to_write = os.pipe()
    try:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "codetether-guard", agent],
            stdin=ours_to_read,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )
    except OSError:  # no shell: the next start kills what was left
        os.close(ours_to_write)
        return
    finally:
        os.close(ours_to_read)
    _own.running.add(guard.pid)
    atexit.register(_dismiss_guard, guard, ours_to_write, os.getpid())


def _dismiss_guard(guard: subprocess.Popen[bytes], pipe: int, owner: int) -> None:
    if os.getpid() != owner:
        return
    try:
        os.write(pipe, b"done\n")
        guard.wait(1)
    except (OSError, subprocess.TimeoutExpired):
        guard.returncode = 0  # it ends by itself; not waiting is no fault worth a warning at exit


def new_marker() -> str:
    """The id of a new run; call `prepare` first. Carries the ids of the runs we are in ourselves."""
    outer = os.environ.get(MARKER, "")
    own = f"{_own.agent}.{next(_own.numbers)}"
    return f"{outer}/{own}" if outer else own


def depth() -> int:
    """How many agents are above this process: 0 when a person started it."""
    outer = os.environ.get(MARKER, "")
    return outer.count("/") + 1 if outer else 0


def note_leader(pid: int, *, running: bool) -> None:
    """Say that `pid` leads a running command, or no longer does."""
    if running:
        _own.running.add(pid)
    else:
        _own.running.discard(pid)


class Seen:
    """Who was found to belong to a run, and the sessions they lead or are in: the dead have no environment to read."""

    def __init__(self, leader: int) -> None:
        self.pids: set[int] = set()
        self.sessions = {leader}


def alive(marker: str, leader: int, seen: Seen) -> list[int]:
    """The live processes of a run, its leader left out; its dead ones are reaped."""
    if not _own.adopts:
        return [pid for pid in marked(marker) if pid != leader]
    ours = os.getsid(0)
    adopted = [pid for pid in _children(os.getpid()) if pid not in _own.running]
    for root in (leader, *(pid for pid in adopted if _belongs(pid, marker, seen))):
        for pid in _tree(root):
            seen.pids.add(pid)
            seen.sessions.add(_stat(pid)[2])
    seen.sessions -= {0, ours}
    _own.zombies = {pid: since for pid, since in _own.zombies.items() if pid in adopted}
    for pid in adopted:
        state, _, session = _stat(pid)
        if session in seen.sessions:
            seen.pids.add(pid)
        elif state == "Z" and session not in (0, ours):
            _reap_stranger(pid)
    seen.pids.discard(leader)
    return sorted(pid for pid in seen.pids if not _is_dead(pid))


def size(leader: int, enough: int) -> int:
    """Processes and threads of a run, with orphans of others beside it; counting ends soon above `enough`."""
    orphans = (pid for pid in _children(os.getpid()) if pid not in _own.running)
    waiting, found = [leader, *(orphans if _own.adopts else ())], 0
    while waiting and found <= enough:
        pid = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        found += len(threads)
        waiting += [
            int(child)
            for thread in threads
            for child in _read(f"/proc/{pid}/task/{thread}/children").split()
        ]
    return found + len(waiting)


def _belongs(pid: int, marker: str, seen: Seen) -> bool:
    return pid in seen.pids or _stat(pid)[2] in seen.sessions or _carries(pid, marker)


def _reap_stranger(pid: int) -> None:
    """A dead child of another session: an orphan that ended by itself, or some library's child of its own, which
    will have been waited for after a while.
    """
    since = _own.zombies.setdefault(pid, time.monotonic())
    if time.monotonic() - since > LINGER or _led_a_namespace(pid):
        _is_dead(pid)


def _led_a_namespace(pid: int) -> bool:
    """Whether it was the first process of a pid namespace: a sandbox's, whose monitor ends without waiting for it."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as lines:
            inner = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
    except OSError:
        return False
    return len(inner) > 1 and inner[-1] == "1"


def _is_dead(pid: int) -> bool:
    """Whether `pid` is dead; if it is our child, it is reaped."""
    state, parent, _ = _stat(pid)
    if state not in ("Z", "X", ""):
        return False
    if parent == os.getpid():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return True


def kill(pids: Iterable[int], number: signal.Signals = signal.SIGKILL) -> None:
    """Signal each; those already gone, or not ours, are passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill_group(leader: int) -> None:
    """Kill the process group of a run at once: by one signal, which no fork outruns.

    Its number may be another's once the leader is reaped and nobody is left in it, so a child of ours must be in it.
    """
    for pid in _children(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == leader:
                os.killpg(leader, signal.SIGKILL)
                return


def marked(marker: str) -> list[int]:
    """Every live process on this machine that carries the run `marker`, or a run within it. Reads all of /proc."""
    return [pid for pid, value in _census() if value == marker or value.startswith(f"{marker}/")]


def kill_leftovers(marker: str = "") -> int:
    """End what carries `marker`; without one, what agents that no longer live have left. Returns how many.

    For the start of a session: an agent killed with its guard leaves processes behind. Blocks some milliseconds, and a
    fifth of a second at most when something is there.
    """
    ended: set[int] = set()
    for round_ in range(ASKED + 20):
        found = marked(marker) if marker else [p for p, value in _census() if _is_orphaned(value)]
        if not found:
            break
        if round_ >= ASKED:
            kill(found)
        new = [pid for pid in found if pid not in ended]
        kill(new, signal.SIGTERM)
        kill(new, signal.SIGCONT)
        ended.update(new)
        time.sleep(ROUND)
    return len(ended)


def _is_orphaned(value: str) -> bool:
    agents = re.findall(r"(\d+)-(\d+)-(\d+)-[0-9a-f]{8}\.\d+", value)
    return bool(agents) and all(
        int(space) == _namespace() and _start_time(int(pid)) != int(start)
        for pid, start, space in agents
    )


def _census() -> Iterator[tuple[int, str]]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    me = os.getpid()
    for name in names:
        if name.isdigit() and int(name) != me and (value := _marker_of(int(name))):
            yield int(name), value


def _carries(pid: int, marker: str) -> bool:
    value = _marker_of(pid)
    return value == marker or value.startswith(f"{marker}/")


def _marker_of(pid: int) -> str:
    data = _read(f"/proc/{pid}/environ")
    found = re.search(rb"(?:^|\0)" + MARKER.encode() + rb"=([^\0]*)", data)
    return found[1].decode("utf-8", "replace") if found else ""


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in _children(pid):
        yield from _tree(child)


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(c) for t in threads for c in _read(f"/proc/{pid}/task/{t}/children").split()]


def _stat(pid: int) -> tuple[str, int, int]:
    """State letter, parent and session; empty and zeros when there is no such process."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return (fields[0].decode(), int(fields[1]), int(fields[3])) if len(fields) > 3 else ("", 0, 0)


def _start_time(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[19]) if len(fields) > 19 else 0


def _namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
