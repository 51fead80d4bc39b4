"""Reading a secret through the plugin (hvac in a thread), warm, against bare httpx asking the same server."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import trio

READS = 200
HERE = Path(__file__).parent


async def _run(address: str, token: str) -> tuple[list[float], list[float], float]:
    """Milliseconds of each read by the plugin and by httpx, alternating, and of one from memory."""
    import httpx
    from codetether.config import Config
    from codetether.redact import Redactor
    from codetether_secrets_vault import Vault

    env = {"HOME": os.devnull, "VAULT_ADDR": address, "VAULT_TOKEN": token}
    os.environ["VAULT_TOKEN"] = token
    config = Config.load(HERE, None, env)
    kernel = SimpleNamespace(settings=config.settings, redact=Redactor(), dirs=config.dirs)
    vault = Vault(kernel, "secrets:vault")
    await vault.put("openai", {"api_key": "sk-bench-0123456789"})
    await vault.get("openai")
    plugin, bare = [], []
    url = f"{address}/v1/secret/data/codetether/providers/openai"
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(url, headers={"X-Vault-Token": token})
        for _ in range(READS):
            vault.forget("openai")
            plugin.append(await _timed(lambda: vault.get("openai")))
            bare.append(await _timed(lambda: client.get(url, headers={"X-Vault-Token": token})))
    kept = statistics.median([await _timed(lambda: vault.get("openai")) for _ in range(READS)])
    await vault.aclose()
    return plugin, bare, kept


async def _timed(ask) -> float:
    start = time.perf_counter()
    await ask()
    return (time.perf_counter() - start) * 1000


def measure() -> list[tuple[str, str, str, bool]]:
    sys.path.insert(0, str(HERE.parent / "tests" / "peers"))
    before = os.environ.get("VAULT_TOKEN")
    with tempfile.TemporaryDirectory() as home:
        if shutil.which("bao", path=str(Path(sys.executable).parent)):
            from openbao import ROOT, OpenBao

            server, token, name = OpenBao(home), ROOT, "OpenBao"
        else:
            from vault_server import TOKEN, FakeVault

            server, token, name = FakeVault(), TOKEN, "the tests' fake"
        try:
            plugin, bare, kept = trio.run(_run, server.address, token)
        finally:
            server.close()
            os.environ.pop("VAULT_TOKEN", None)
            os.environ.update({"VAULT_TOKEN": before} if before is not None else {})
    each, other = statistics.median(plugin), statistics.median(bare)
    worst = statistics.quantiles(plugin, n=20)[18]
    return [
        (
            f"reading a secret through hvac, warm ({name}; p95 {worst:.1f} ms; bare httpx {other:.1f} ms)",
            "<= 5 ms",
            f"{each:.2f} ms",
            each <= 5,
        ),
        ("a secret that is in memory", "<= 0.1 ms", f"{kept:.3f} ms", kept <= 0.1),
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))
