"""What a run was asked to do; kept in its journal, so that it can go on with the same."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """`prd` and `progress`: absolute paths; `directory`: where agents work, in the repository. `story`: only this one.
    `max_iterations`: attempts of this process, all stories together; `retries`: further attempts at a story;
    `concurrency`: stories at one time. `timeout`: seconds an agent may take without finishing a step or tool call;
    `time_limit`: seconds for the whole process. `budget_usd`, `budget_tokens`: for everything together, None for no
    limit. `commit`: whether stories go to the PRD's branch, else the result is left uncommitted in the user's tree.
    `test_changes`: whether a story may pass only with its own changes to tests. `started_by`: the session whose tool
    started it.
    """

    prd: str
    progress: str
    directory: str
    model: str = ""
    story: str = ""
    max_iterations: int = 10
    max_steps: int = 100
    retries: int = 2
    concurrency: int = 3
    timeout: float = 300.0
    time_limit: float | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None
    commit: bool = True
    test_changes: bool = False
    access: str = ""
    gate_seconds: float = 600.0
    started_by: str = ""
    depth: int = 0
