"""A process whose children kill themselves before or after a record of a run's journal. They fork from it, which saves
each of them the time to load all that is needed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

SCRIPT = """
import importlib, json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
where, (module, function) = Path(sys.argv[2]), sys.argv[3].split(":")
for name in sys.argv[4:]:
    importlib.import_module(name)
go = getattr(importlib.import_module(module), function)
import msgspec, trio
from codetether_crew import Journal

def run(when, mark, *words):
    write = Journal.write

    async def deadly(self, *records):
        now = mark.encode() in b"\\n".join(map(msgspec.json.encode, records))
        if now and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        await write(self, *records)
        if now and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.write = deadly
    os.chdir(where)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(trio.run(go, where, *words))

for line in sys.stdin:
    if pid := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    else:
        run(*json.loads(line))
"""


@contextmanager
def deaths(where, go, *loads):
    """`die(when, mark, *words)`: run `go` (module:function of the repository `where` and the words), which must be killed
    before or after the record with `mark` in it. `loads`: modules worth loading once.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), where, go, *loads],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def die(when, mark, *words):
        print(json.dumps([when, mark, *words]), file=process.stdin, flush=True)
        code = int(process.stdout.readline())
        if code != -signal.SIGKILL:
            raise AssertionError((when, mark, code, process.communicate(timeout=60)[1]))

    try:
        yield die
    finally:
        process.communicate(timeout=60)
