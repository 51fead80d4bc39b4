"""What the heavy imports would cost on the way of `exec`, beyond bare python: why settings are msgspec structs."""

from __future__ import annotations

import subprocess
import sys

from measuring import PYTHON, empty_home, interleaved

CODES = {
    "bare": "pass",
    "what exec imports (trio, msgspec, pluggy, stevedore, httptools)": "import trio, msgspec, pluggy, stevedore.driver, httptools",
    "pydantic and one model": "import pydantic\nclass M(pydantic.BaseModel):\n    a: int = 1\nM()",
}
MEMORY = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))"""


def measure() -> list[tuple[str, str, str, bool]]:
    candidates = {name: [PYTHON, "-c", code] for name, code in CODES.items()}
    with empty_home() as (_, env):
        seen = interleaved(candidates, 11, env)
        memory = {
            name: int(
                subprocess.run(
                    [PYTHON, "-c", code + MEMORY], env=env, capture_output=True, check=True
                ).stdout
            )
            for name, code in CODES.items()
        }
    return [
        (
            f"for scale: {name}",
            "–",
            f"{(seen[name][1] - seen['bare'][1]) * 1000:.0f} ms, {(memory[name] - memory['bare']) / 1e3:.0f} MB",
            True,
        )
        for name in CODES
        if name != "bare"
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))
