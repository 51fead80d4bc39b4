"""One prompt to run without a person at the keyboard all the time, and how it ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from codetether.api import Image, TurnFinished

if TYPE_CHECKING:
    from codetether_headless.material import Cut

CODES = {"done": 0, "step_limit": 1, "budget": 1, "error": 1, "cancelled": 130, "denied": 3}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt to run. Empty values are the session's or the settings' own.

    `ui` names the interface, "" for none. `check` gives the answer in its final form, and what is wrong with it or "";
    a wrong answer is asked for once more. `timeout` in seconds for the whole run.
    """

    prompt: str
    directory: Path
    images: tuple[Image, ...] = ()
    cut: tuple[Cut, ...] = ()
    ui: str = "plain"
    model: str | None = None
    agent: str = ""
    access: str = ""
    resume: str | None = None
    fork: bool = False
    max_steps: int | None = None
    budget_usd: float | None = None
    tools: bool = True
    interactive: bool = False
    schema: dict[str, Any] | None = None
    check: Callable[[str], tuple[str, str]] | None = None
    timeout: float | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended. `code` is the exit code (docs/cli.md); `access` and `denied` (tools) explain a denial."""

    finished: TurnFinished
    session: str
    model: str
    code: int
    denied: tuple[str, ...] = ()

    def as_json(self, **more: Any) -> bytes:
        """The one object of `--format json`: text, session_id, model, reason, usage, cost, steps, seconds, error."""
        finished = self.finished
        fields: dict[str, Any] = {
            "text": finished.text,
            "session_id": self.session,
            "model": self.model,
            "reason": finished.reason,
            "usage": msgspec.structs.asdict(finished.usage),
            "cost": finished.usage.cost,
            "steps": finished.steps,
            "seconds": round(finished.seconds, 3),
        }
        fields["usage"].pop("cost")
        if not any(fields["usage"].values()):
            fields["usage"] = None  # nobody counted, which is not zero
        fields |= {"error": finished.error} if finished.error else {}
        fields |= {"hint": finished.hint} if finished.hint else {}
        return msgspec.json.encode(fields | more)


def farewell(outcome: Outcome, command: Sequence[str]) -> None:
    """On standard error: which session it was and how to go on with it."""
    print(
        f'session {outcome.session} · continue: {" ".join(command)} -s {outcome.session} "…"',
        file=sys.stderr,
    )
