"""What a cell of Python cannot do, in every sandbox that works here; where none does, cells are not run."""

from __future__ import annotations

import os
import resource
from contextlib import asynccontextmanager

import pytest
import trio
from codetether.api import PluginError
from codetether.testing import make_kernel, processes_with
from codetether_rlm.limits import Limits, Reply
from codetether_rlm.sources import Source
from codetether_rlm.worker import worker

ATTACKS = {
    "start a program": "import subprocess\nsubprocess.run(['/bin/true'])",
    "fork": "import os\nos.fork()",
    "start a thread": "import threading\nthreading.Thread(target=print).start()",
    "become a program": "import os\nos.execv('/bin/true', ['true'])",
    "open a socket": "import socket\nsocket.socket()",
    "signal the agent": "import os\nos.kill(PARENT, 0)",
    "signal all": "import os\nos.kill(-1, 0)",
    "limit the agent": "import resource\nresource.prlimit(PARENT, resource.RLIMIT_CPU, (1, 1))",
    "read a secret": "open(SECRET).read()",
    "read a file beside the source": "open(BESIDE).read()",
    "read the users": "open('/etc/passwd').read()",
    "list the home": "import os\nos.listdir(HOME)",
    "read the agent's environment": "open(f'/proc/{PARENT}/environ').read()",
    "write beside the source": "open(BESIDE, 'a').write('x')",
    "write to the source": "open(SOURCE, 'r+b').write(b'x')",
    "write to /tmp": "open('/tmp/rlm-wrote', 'w').write('x')",
    "make a folder": "import os\nos.mkdir('/tmp/rlm-made')",
    "write to shared memory": "open('/dev/shm/rlm-wrote', 'w').write('x')",
    "memory with a name": "import os\nos.memfd_create('x')",
    "change the map": "import mmap\nlist(sources.values())[0].raw[0] = 0",
    "take much memory": "x = bytearray(2 << 30)",
    "take much shared memory": "import mmap\nx = mmap.mmap(-1, 8 << 30)",
    "more memory again": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
}


@asynccontextmanager
async def working(place, sandbox, *, lines=10, sources=None, **limits):
    async def answer(queries):
        return [Reply("x") for _ in queries]

    path = place / "source.txt"
    path.write_text("words\n" * lines)
    settings = {"sandbox": sandbox}
    async with (
        make_kernel(
            place.parent / "rlm-home", replies=["x"], plugins=["sandboxes"], settings=settings
        ) as kernel,
        worker(
            kernel, sources or [Source("source.txt", path)], query=answer, limits=Limits(**limits)
        ) as made,
    ):
        yield made


async def works(place, sandbox):
    """Whether this machine allows what the sandbox is made of."""
    async with make_kernel(
        place.parent / "rlm-home", replies=["x"], plugins=["sandboxes"]
    ) as kernel:
        return (await kernel.plugin("sandboxes", sandbox).probe()).level != "error"


@pytest.mark.parametrize("sandbox", ["bubblewrap", "landlock"])
async def test_a_cell_reads_its_source_and_does_nothing_else(home, tmp_path, sandbox):
    (home / ".ssh").mkdir()
    (home / ".ssh/id").write_text("secret")
    (tmp_path / "beside").write_text("private")
    known = (
        f"PARENT = {os.getpid()}\nHOME = {str(home)!r}\nSECRET = {str(home / '.ssh/id')!r}\n"
        f"BESIDE = {str(tmp_path / 'beside')!r}\nSOURCE = {str(tmp_path / 'source.txt')!r}"
    )
    if not await works(tmp_path, sandbox):
        with pytest.raises(PluginError, match="does not work here"):
            async with working(tmp_path, sandbox):
                pass
        return
    async with working(tmp_path, sandbox, memory_bytes=512 << 20) as made:
        assert made.facts["python"]
        assert (await made.python(known)).error is None
        done = [
            name for name, attack in ATTACKS.items() if (await made.python(attack)).error is None
        ]
        assert done == []
        assert (await made.python("context[0:5], PARENT")).output == f"('words', {os.getpid()})\n"
    assert (tmp_path / "source.txt").read_text() == "words\n" * 10
    assert (tmp_path / "beside").read_text() == "private"
    assert not os.path.exists("/tmp/rlm-wrote")
    assert not os.path.exists("/tmp/rlm-made")


async def test_a_cell_cannot_change_the_copy_of_a_text(tmp_path):
    """Of what was piped in, and of small sources, there is a copy that its owner has written."""
    change = (
        "import os\nfor fd in range(256):\n"
        "    try: os.ftruncate(fd, 2)\n    except OSError: continue\n    print('changed', fd)"
    )
    async with working(tmp_path, "auto", sources=[Source("a", data=b"words\n"), Source("b", data=b"more\n")]) as made:  # fmt: skip
        assert (await made.python(change)).output == ""
        assert (await made.command("grep('.')")).output == "a:1: words\nb:1: more\n"


async def test_without_a_sandbox_that_confines_only_commands_are_run(tmp_path):
    async with working(tmp_path, "none") as made:
        assert (made.facts["python"], made.facts["sandbox"]) == (False, "S0")
        refused = await made.python("1")
        assert "no sandbox confines it" in (refused.error or "")
        assert (await made.command("lines()")).output == "10\n"
    async with working(tmp_path, "none", unconfined_python=True) as made:
        assert (await made.python("1 + 1")).output == "2\n"
        # what needs no sandbox is refused all the same
        assert "PermissionError" in ((await made.python("import os\nos.fork()")).error or "")
        write = f"file = open({str(tmp_path / 'new')!r}, 'w')\nfile.write('x')\nfile.flush()"
        assert "File too large" in ((await made.python(write)).error or "")


async def test_nothing_is_left_when_it_ends(tmp_path, monkeypatch):
    marker = f"UTC0-{os.getpid()}-rlm"
    monkeypatch.setenv("TZ", marker)
    async with working(tmp_path, "auto", unconfined_python=True) as made:
        await made.command("lines()")
        assert processes_with(marker)
    assert not processes_with(marker)
    links = [os.path.join("/proc/self/fd", each) for each in os.listdir("/proc/self/fd")]
    assert not [
        each for each in links if os.path.lexists(each) and "source.txt" in os.readlink(each)
    ]


async def test_a_cell_that_lies_is_believed_nothing_of_consequence(tmp_path):
    """It has the worker's socket, and may say anything: unknown sources, impossible lines, no JSON, too much."""
    lie = (
        "import gc\nfrom json import dumps\n"
        "link = next(each for each in gc.get_objects() if type(each).__name__ == 'Link')\n"
    )
    honest = "'output': '', 'truncated': False, 'final': None, 'error': None, 'bytes': [], 'queries': 0, 'failed': 0, 'kept': None"
    async with working(tmp_path, "auto", unconfined_python=True, restarts=9) as made:
        done = await made.python(
            lie
            + f"link.send({{'done': 1, 'ranges': [('/etc/passwd', 1, 2), ('source.txt', -5, 2), ('source.txt', 3, 4)], {honest}}})"
        )
        assert done.ranges == [("source.txt", 3, 4)]
    async with working(tmp_path, "auto", unconfined_python=True, query_bytes=50) as made:
        trick = "link.ask('query', queries=[{'prompt': 'a', 'parts': [('source.txt', 0, 60), ('source.txt', 60, 0)]}])"
        assert "at most 50" in (await made.python(lie + trick)).output
    async with working(tmp_path, "auto", unconfined_python=True, restarts=9) as made:
        for where in ("10**9, 10**9 + 5", "2**62, 2**62 + 5", "-9, 0", "9, 3"):
            trick = f"link.ask('query', queries=[{{'prompt': 'a', 'parts': [('source.txt', {where})]}}])"
            assert "['x', None]" in (await made.python(lie + trick)).output, where
    for words in (
        "link._ours.send(b'no json\\n')",
        "link.ask('grep', pattern='\\ud800', limit=1, ignore_case=False)",
        'link._ours.send(b\'{"ask":"grep","number":1,"pattern":"\\xff"}\\n\'); link.receive()',
        "link.send({'done': 'x'})",
        "link.send([1])",
        "link.ask('grep', pattern=5)",
    ):
        async with working(tmp_path, "auto", unconfined_python=True) as made:
            outcome = await made.python(lie + words)
            assert outcome.error, words
            assert (await made.command("lines()")).output == "10\n"


async def test_what_a_cell_makes_up_takes_its_owner_no_memory(tmp_path):
    """Sixty megabytes of empty lists would be a gigabyte and a half, decoded as anything."""
    flood = (
        "import gc\nlink = next(each for each in gc.get_objects() if type(each).__name__ == 'Link')\n"
        "link._ours.sendall(b'{\"done\":1,\"x\":[' + b'[],' * 20_000_000 + b'0]}\\n')"
    )
    async with working(tmp_path, "auto", unconfined_python=True) as made:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert "cannot be understood" in ((await made.python(flood)).error or "")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KB


async def test_a_cell_that_asks_and_does_not_listen_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("codetether_rlm.process.TAKE_SECONDS", 0.5)
    deaf = (
        "import gc\nlink = next(each for each in gc.get_objects() if type(each).__name__ == 'Link')\n"
        "link.send({'ask': 'grep', 'number': 1, 'pattern': 'words', 'limit': 99_999, 'ignore_case': False})\n"
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    )
    async with working(tmp_path, "auto", lines=100_000, unconfined_python=True) as made:
        with trio.fail_after(60):
            ended = await made.python(deaf)
        assert "it does not take what it asked for" in (ended.error or "")
        assert (await made.command("lines()")).output == "100000\n"


def test_the_filter_is_known_where_it_is_used():
    from codetether_confinement import alone_filter

    assert len(alone_filter(machine="x86_64")) % 8 == 0
    assert alone_filter(machine="x86_64") != alone_filter(machine="aarch64")
    with pytest.raises(ValueError, match="no seccomp filter"):
        alone_filter(machine="riscv64")
