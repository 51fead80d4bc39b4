"""What a gate is, and what it said."""

from __future__ import annotations

import msgspec

KINDS = ("typecheck", "lint", "test", "build")  # in the order they are run: the quick ones first


class Gate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command for `sh -c`. `kind`: one of KINDS, or a name of one's own; `origin`: what it was found by; `seconds`:
    its time limit; `network`: whether it may use the network.
    """

    kind: str
    command: str
    origin: str = ""
    seconds: float = 600.0
    network: bool = False


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a gate said. `ok`: exit code 0 in time. `failures`: what failed, each with how often, in a form that stays
    the same while lines move. `output`: the last of what it wrote; `log`: the file with all of it. `flaky`: it failed
    and then passed on the same files. `new`: failures that the baseline does not have; `blocks`: whether the work is
    not good because of it; `why`: one line for a person. `early`: it failed and may not have looked at everything.
    """

    gate: Gate
    ok: bool
    code: int
    seconds: float
    output: str = ""
    failures: dict[str, int] = {}
    timed_out: bool = False
    log: str = ""
    flaky: bool = False
    new: tuple[str, ...] = ()
    blocks: bool = False
    why: str = ""
    early: bool = False


class Measured(msgspec.Struct, tag="measured", frozen=True, omit_defaults=True):
    """The gates of a run, what they said before any work, and `notes` on checks that cannot be run here."""

    gates: tuple[Gate, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
