"""Running gates, and telling new failures from old ones."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio
from codetether.api import CodetetherError, clean_env

from codetether_gates.detecting import detect
from codetether_gates.failures import early, identities
from codetether_gates.gate import Gate, Measured, Verdict

if TYPE_CHECKING:
    from codetether.api import Completed

TAIL = 16_000  # bytes of output that go back to who has to mend it
LOG_LIMIT = 16_000_000
TOLD = 8  # failures named in a line


class Runner(Protocol):
    """Runs a command confined: `kernel.run_process`."""

    async def __call__(
        self, argv: Sequence[str], *, directory: Path, network: bool = False, **how: object
    ) -> Completed:
        """As `kernel.run_process`."""


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all gates said. `ok`: nothing blocks. `verified`: at least one gate passed, so that `ok` means something."""

    verdicts: tuple[Verdict, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no gate blocks."""
        return not any(verdict.blocks for verdict in self.verdicts)

    @property
    def verified(self) -> bool:
        """Whether a gate really spoke for the work: without one, ok says only that nobody looked."""
        return self.ok and any(verdict.ok for verdict in self.verdicts)

    @property
    def told(self) -> str:
        """One line for a person."""
        if not self.verdicts:
            return "no gates"
        return "; ".join(f"{v.gate.kind}: {v.why}" for v in self.verdicts)

    def feedback(self, limit: int = 12_000) -> str:
        """For the model that has to mend it: each blocking gate, what is new, and the end of its output."""
        parts = []
        for verdict in (v for v in self.verdicts if v.blocks):
            new = "".join(f"\n- {name}" for name in verdict.new[:50])
            said = verdict.output[-limit // max(1, len(self.verdicts)) :]
            parts.append(f"`{verdict.gate.command}` failed ({verdict.why}).{new}\n```\n{said}\n```")
        return "\n\n".join(parts)


async def baseline(
    gates: Sequence[Gate],
    run: Runner,
    directory: Path,
    *,
    logs: Path | None = None,
    redact: Callable[[str], str] = str,
) -> tuple[Verdict, ...]:
    """What the gates say before any work: their failures are not the work's. All are run, one after another."""
    return tuple(
        [await _run(gate, run, directory, logs, "baseline", redact=redact) for gate in gates]
    )


async def measure(
    given: Sequence[Gate] | None,
    run: Runner,
    directory: Path,
    *,
    home: Path,
    seconds: float,
    logs: Path,
    redact: Callable[[str], str],
) -> Measured:
    """The gates `given`, or with None those that the project's files name (see `detect`), and what they say before any
    work.
    """
    notes: tuple[str, ...] = ()
    if given is None:
        found = await trio.to_thread.run_sync(lambda: detect(directory, home, seconds=seconds))
        given, notes = found.gates, found.notes
    verdicts = await baseline(given, run, directory, logs=logs, redact=redact)
    return Measured(tuple(given), verdicts, notes)


async def check(
    gates: Sequence[Gate],
    run: Runner,
    directory: Path,
    *,
    before: Sequence[Verdict] = (),
    logs: Path | None = None,
    label: str = "gate",
    redact: Callable[[str], str] = str,
) -> Report:
    """Run all gates in `directory`; only failures that `before` does not have block. One that blocks is run once more:
    when it passes then it is flaky, and does not block. `redact` takes secrets out of what is kept and told.
    """
    old = {verdict.gate.command: verdict for verdict in before}
    verdicts = []
    for gate in gates:
        verdict = _judged(
            await _run(gate, run, directory, logs, label, redact=redact), old.get(gate.command)
        )
        if verdict.blocks and not verdict.timed_out:
            again = _judged(
                await _run(gate, run, directory, logs, f"{label}-again", redact=redact),
                old.get(gate.command),
            )
            if not again.blocks:
                why = "failed, then passed on the same files: flaky"
                again = msgspec.structs.replace(again, flaky=True, why=why)
            verdict = again
        verdicts.append(verdict)
    return Report(tuple(verdicts))


async def _run(
    gate: Gate,
    run: Runner,
    directory: Path,
    logs: Path | None,
    label: str,
    *,
    redact: Callable[[str], str],
) -> Verdict:
    env = clean_env({"CI": "1", "PYTHONDONTWRITEBYTECODE": "1", "FORCE_COLOR": "0"})
    try:
        done = await run(
            ["/bin/sh", "-c", gate.command],
            directory=directory, network=gate.network, env=env, timeout=gate.seconds, merge=True,
            head=LOG_LIMIT // 4, tail=LOG_LIMIT // 4, kill_at_limit=False,
        )  # fmt: skip
    except CodetetherError as error:
        return Verdict(gate, False, 127, 0.0, error.message, why=error.message)
    output = redact(done.output)
    log = await trio.to_thread.run_sync(_kept, logs, f"{label}-{gate.kind}", output) if logs else ""
    verdict = Verdict(
        gate, done.ok, done.code, done.seconds, output[-TAIL:], timed_out=done.timed_out, log=log,
    )  # fmt: skip
    return (
        verdict if done.ok else await trio.to_thread.run_sync(_failed, verdict, output, directory)
    )


def _failed(verdict: Verdict, output: str, directory: Path) -> Verdict:
    """With what failed, as its output tells."""
    return msgspec.structs.replace(
        verdict,
        failures=identities(output, str(directory)),
        early=verdict.timed_out or early(output),
    )


def _judged(verdict: Verdict, before: Verdict | None) -> Verdict:
    """With `new`, `blocks` and `why` filled in."""
    if verdict.ok:
        return msgspec.structs.replace(verdict, why="passed")
    new = _new(verdict.failures, before.failures if before is not None else {})
    if before is None or before.ok:
        blocks, why = True, _told(verdict, new)
    elif new:
        blocks, why = True, f"{_told(verdict, new)}, beside what failed before"
    elif verdict.timed_out and not before.timed_out:
        blocks, why = True, _told(verdict, new)
    elif not verdict.failures and before.failures:
        blocks, why = True, f"exit code {verdict.code}, and not as it failed before"
    else:
        blocks, why = False, "fails as it did before the work"
        if verdict.early:
            why += ", and may stop early: it says nothing of the rest"
    return msgspec.structs.replace(verdict, new=new, blocks=blocks, why=why)


def _new(now: dict[str, int], before: dict[str, int]) -> tuple[str, ...]:
    return tuple(name for name, count in now.items() if count > before.get(name, 0))


def _told(verdict: Verdict, new: tuple[str, ...]) -> str:
    if verdict.timed_out:
        return f"took longer than {verdict.gate.seconds:g} s"
    if not new:
        return f"exit code {verdict.code}"
    more = f" and {len(new) - TOLD} more" if len(new) > TOLD else ""
    return f"{len(new)} new failure{'s' * (len(new) > 1)}: {', '.join(new[:TOLD])}{more}"


def _kept(logs: Path, label: str, output: str) -> str:
    """The file that all of it is in; "" when there is no room: what a check says does not depend on that."""
    with suppress(OSError):
        path, fd = _log_file(logs, label)
        with os.fdopen(fd, "w", encoding="utf-8", errors="replace") as file:
            file.write(output)
        return str(path)
    return ""


def _log_file(logs: Path, label: str) -> tuple[Path, int]:
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", label)
    number = sum(1 for _ in logs.glob("*.log"))
    while True:
        number += 1
        path = logs / f"{number:03}-{name}.log"
        with suppress(FileExistsError):  # of a gate that runs beside this one
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
