"""Spilled output holds no secret."""

from codetether.redact import Redactor
from codetether.spill import redact_file
from codetether.testing import call, make_kernel


def test_only_secrets_change(tmp_path):
    path = tmp_path / "out.txt"
    redactor = Redactor()
    redactor.add("canary-secret-value")
    noise = b"plain \xff line\n" * 1000
    path.write_bytes(noise)
    redact_file(path, redactor.text)
    assert path.read_bytes() == noise
    path.write_bytes(noise + b"key=canary-secret-value\n" + noise)
    redact_file(path, redactor.text)
    assert path.read_bytes() == noise + b"key=***\n" + noise
    assert list(tmp_path.iterdir()) == [path]


async def test_a_commands_spilled_output_is_redacted(tmp_path):
    command = "for i in $(seq 30000); do echo line $i canary-secret-value; done"
    plugins = ["sandboxes", "tools:bash"]
    async with make_kernel(
        tmp_path, replies=[call("bash", command=command), "ok"], plugins=plugins
    ) as kernel:
        kernel.redact.add("canary-secret-value")
        async with kernel.open_session(directory=tmp_path / "work", access="full") as session:
            await session.prompt("go")
            (result,) = session.messages[2].results
            spilled = [path for path in session.files.rglob("*") if path.is_file()]
    assert result.meta["spilled"]
    assert spilled
    for path in spilled:
        assert b"canary" not in path.read_bytes()
        assert b"line 15000 ***" in path.read_bytes()
