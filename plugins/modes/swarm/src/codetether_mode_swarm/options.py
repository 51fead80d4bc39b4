"""What a swarm was asked to do; kept in its journal, so that it can go on with the same."""

from __future__ import annotations

from typing import Literal

import msgspec

Strategy = Literal["auto", "domain", "data", "stage", "none"]
STRATEGIES: tuple[str, ...] = ("auto", "domain", "data", "stage", "none")


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """`directory`: where the person stands. `timeout`: seconds a sub-agent may take without finishing a step or a tool
    call. `concurrency`: sub-agents at one time. `budget_usd` and `budget_tokens`: for everything together, None for no
    limit. `retries`: further attempts at a sub-task. `gates`: commands; None: the project's own. `access`: "" for `auto`
    in a worktree, and for what the settings say elsewhere. `address`: of the broker, for an executor that works on other
    machines. `started_by`: the session whose tool started it.
    """

    task: str
    directory: str
    model: str = ""
    strategy: Strategy = "auto"
    max_subagents: int = 100
    max_steps: int = 100
    timeout: float = 300.0
    concurrency: int = 8
    budget_usd: float | None = None
    budget_tokens: int | None = None
    retries: int = 1
    access: str = ""
    executor: str = "local"
    address: str = ""
    worktrees: bool = True
    merge: bool = True
    gates: tuple[str, ...] | None = None
    gate_seconds: float = 600.0
    started_by: str = ""
    depth: int = 0
