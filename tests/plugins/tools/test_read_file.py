"""read_file: windows of text, pictures, descriptions of the rest; bounded whatever the file."""

from __future__ import annotations

import os
import tracemalloc
from types import SimpleNamespace

import pytest
from codetether.errors import ToolError
from codetether.workspace import Workspace
from codetether_tool_read_file import Params, ReadFile, window

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture
def ctx(tmp_path):
    session = SimpleNamespace(model=SimpleNamespace(images=None))
    return SimpleNamespace(workspace=Workspace(tmp_path), session=session)


async def read(ctx, path, **how):
    return await ReadFile(None, "tools:read_file").run(Params(path, **how), ctx)


async def refused(ctx, path, code):
    with pytest.raises(ToolError) as caught:
        await read(ctx, path)
    assert caught.value.code == code
    return caught.value.text


async def test_lines_are_numbered_as_narrow_as_can_be(ctx, tmp_path):
    (tmp_path / "a").write_bytes(b"one\r\n\r\n three\xe2\x80\xa8still three\n")
    output = await read(ctx, "a")
    assert output.text == "1|one\n2|\n3| three\u2028still three"
    assert output.meta["lines"] == 3
    assert ctx.workspace.last_seen("a") == ctx.workspace.digest((tmp_path / "a").read_bytes())
    (tmp_path / "b").write_bytes(b"x\n" * 10)
    assert (await read(ctx, "b")).text.startswith(" 1|x\n 2|x\n")


async def test_windows(ctx, tmp_path):
    (tmp_path / "a").write_bytes(b"".join(b"%d\n" % n for n in range(1, 101)))
    output = await read(ctx, "a", offset=10, limit=2)
    assert output.text == "10|10\n11|11\n[lines 10-11 of 100; go on with offset=12]"
    assert (await read(ctx, "a", offset=99)).text == " 99|99\n100|100"
    assert (await read(ctx, "a", offset=-5, limit=1)).text.startswith("1|1\n")
    output = await read(ctx, "a", offset=101, limit=2)
    assert output.text == " 99|99\n100|100\n[offset 101 is past the end; the file has 100 lines]"


async def test_empty_and_unfinished_files(ctx, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "line").write_bytes(b"\n")
    (tmp_path / "unfinished").write_bytes(b"a")
    assert (await read(ctx, "empty", offset=3)).text == "[empty file]"
    assert (await read(ctx, "line")).text == "1|"
    assert (await read(ctx, "unfinished")).text == "1|a"


async def test_budget_and_long_lines(ctx, tmp_path):
    (tmp_path / "wide").write_bytes(b"x" * 5000 + b"\nshort\n")
    text = (await read(ctx, "wide")).text
    assert f"1|{'x' * 2000}… [line cut, 3000 characters more]\n2|short" == text
    (tmp_path / "long").write_bytes(b"y" * 99 + b"\n" + (b"y" * 99 + b"\n") * 1999)
    output = await read(ctx, "long")
    assert len(output.text) < window.BUDGET + 200
    last = output.meta["last"]
    assert output.text.endswith(f"[lines 1-{last} of 2000; go on with offset={last + 1}]")
    rest = await read(ctx, "long", offset=last + 1)
    assert rest.text.startswith(f"{last + 1:>4}|yyy")


async def test_encodings_are_named(ctx, tmp_path):
    (tmp_path / "wide").write_bytes(b"\xff\xfe" + "é\r\n".encode("utf-16-le"))
    assert (await read(ctx, "wide")).text == "1|é\n[encoding utf-16-le]"
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    assert (await read(ctx, "latin")).text == "1|café\n[encoding cp1252]"
    (tmp_path / "broken").write_bytes("éé".encode() + b"\xff")
    assert (
        await read(ctx, "broken")
    ).text == "1|éé\ufffd\n[some bytes are not valid UTF-8: \ufffd]"


async def test_pictures(ctx, tmp_path):
    (tmp_path / "p.png").write_bytes(PNG)
    output = await read(ctx, "p.png")
    assert (output.images[0].mime, output.images[0].data) == ("image/png", PNG)
    (tmp_path / "big.png").write_bytes(PNG + bytes(6_000_000))
    assert "limit" in await refused(ctx, "big.png", "INVALID_ARGUMENT")
    ctx.session.model.images = False
    output = await read(ctx, "p.png")
    assert output.images == ()
    assert "cannot see" in output.text


async def test_binary_files_are_described(ctx, tmp_path):
    (tmp_path / "program").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(2000))
    assert (await read(ctx, "program")).text == (
        "program is not text: ELF program or library, 2007 bytes. Its content is not shown."
    )


async def test_a_sparse_file_of_5_gb_costs_nothing(ctx, tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(5_000_000_000)
    await read(ctx, "huge")
    tracemalloc.start()
    output = await read(ctx, "huge")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "zero bytes, 5000000000 bytes" in output.text
    assert peak < 1_000_000


async def test_large_text_is_read_up_to_the_window(ctx, tmp_path):
    lines = [b"%07d %s" % (n, b"z" * (n % 90)) for n in range(1, 120_001)]
    data = b"\n".join(lines)
    (tmp_path / "log").write_bytes(data)
    assert len(data) > 4 * 1024 * 1024
    for first in (1, 2, 50_000, 119_999):
        output = await read(ctx, "log", offset=first, limit=2)
        shown = [line.split("|", 1)[1] for line in output.text.split("\n")[:2]]
        assert shown == [line.decode() for line in lines[first - 1 : first + 1]]
    assert "go on with offset=3]" in (await read(ctx, "log", offset=1, limit=2)).text
    assert "[the file has 120000 lines]" in (await read(ctx, "log", offset=119_999)).text
    assert (
        "past the end; the file has 120000 lines" in (await read(ctx, "log", offset=130_000)).text
    )
    assert ctx.workspace.last_seen("log") is None


async def test_one_endless_line(ctx, tmp_path):
    (tmp_path / "line").write_bytes(b"q" * 20_000_000)
    tracemalloc.start()
    output = await read(ctx, "line")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert output.text.startswith("1|" + "q" * 2000 + "… [line cut")
    assert peak < 20_000_000


async def test_errors_help(ctx, tmp_path):
    (tmp_path / "main.py").write_bytes(b"")
    os.mkdir(tmp_path / "src")
    assert "Similar: main.py" in await refused(ctx, "mian.py", "NOT_FOUND")
    assert "list_dir" in await refused(ctx, "src", "INVALID_ARGUMENT")
    assert "outside" in await refused(ctx, "/etc/passwd", "DENIED")
