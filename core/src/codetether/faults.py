"""Kill points: named places where a test can make this process die, raise or stall. Free and inert otherwise.

A process under test is started with `CODETETHER_TESTING=1` and `CODETETHER_FAULT`, a comma-separated list of
`name=action`, `name` being the argument of a `fault()` call. `name=action@3` waits for the third time the place is
reached. Actions: `kill` (SIGKILL, as a power cut would), `stop` (SIGSTOP), `raise` (OSError, as a failing disk
would), `sleep:1.5` (seconds; blocks the thread, so the event loop too when called there).
"""

import os

_ARMED: "dict[str, tuple[str, int]]" = {}
_reached: "dict[str, int]" = {}


def fault(name: str) -> None:
    """Do here what the test asked for under `name`; nothing when nothing was. Put it between two steps of a write."""
    if _ARMED and name in _ARMED:
        _strike(name)


def arm(faults: str) -> None:
    """Replace what is armed, in the form of `CODETETHER_FAULT`; an empty text disarms. ValueError when malformed."""
    _ARMED.clear()
    _reached.clear()
    for item in filter(None, (part.strip() for part in faults.split(","))):
        name, equals, rest = item.partition("=")
        action, _, time = rest.partition("@")
        if not equals or action.partition(":")[0] not in ("kill", "stop", "raise", "sleep"):
            raise ValueError(
                f"fault {item!r} is not name=kill|stop|raise|sleep:SECONDS with an optional @N"
            )
        _ARMED[name] = (action, int(time or 1))


def _strike(name: str) -> None:
    action, due = _ARMED[name]
    _reached[name] = _reached.get(name, 0) + 1
    if _reached[name] != due:
        return
    kind, _, argument = action.partition(":")
    if kind == "raise":
        raise OSError(5, f"fault {name}")
    if kind == "sleep":
        import time

        time.sleep(float(argument or 1))
        return
    import signal

    os.kill(os.getpid(), signal.SIGKILL if kind == "kill" else signal.SIGSTOP)


if os.environ.get("CODETETHER_TESTING") == "1":
    arm(os.environ.get("CODETETHER_FAULT", ""))
