"""What a command costs that only says something: CPU, as a ratio to `python -c pass` of the same environment."""

from __future__ import annotations

from measuring import CODETETHER, PYTHON, empty_home, interleaved

COMMANDS = {"--version": 1.1, "tools list": 1.4, "plugins list": 1.4, "--help": 1.4}


def measure() -> list[tuple[str, str, str, bool]]:
    candidates = {"bare": [PYTHON, "-c", "pass"]}
    candidates |= {command: [PYTHON, CODETETHER, *command.split()] for command in COMMANDS}
    with empty_home() as (_, env):
        seen = interleaved(candidates, 41, env)
    bare = seen["bare"][0]
    return [
        (
            f"`codetether {command}` / `python -c pass`, CPU",
            f"<= {limit}",
            f"{seen[command][0] / bare:.2f} (bare {bare * 1000:.1f} ms)",
            seen[command][0] / bare <= limit,
        )
        for command, limit in COMMANDS.items()
    ]
