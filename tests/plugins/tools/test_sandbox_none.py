"""The sandbox that is none says that it is none."""

from __future__ import annotations

from codetether.ports import Launch, SandboxPolicy
from codetether.testing import check_plugin
from codetether_sandbox_none import NoSandbox


async def test_it_says_so_and_changes_nothing():
    sandbox = NoSandbox(None, "sandboxes:none")
    finding = await sandbox.probe()
    assert finding.level == "warning"
    assert "not confined" in finding.text
    assert sandbox.level == "S0"
    launch = Launch(("true",), "/", {"A": "1"}, (3,))
    assert sandbox.wrap(launch, SandboxPolicy(("/work",))) is launch


def test_contract():
    check_plugin("none", "codetether.sandboxes")
