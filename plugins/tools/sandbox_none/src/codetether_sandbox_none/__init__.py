"""The sandbox that is none: commands run with the rights of the person who started the agent."""

from __future__ import annotations

from codetether.api import Finding, Launch, Sandbox, SandboxPolicy


class NoSandbox(Sandbox):
    """Confines nothing, and says so wherever it is asked. The permissions then decide alone."""

    api = 1
    level = "S0"

    async def probe(self) -> Finding:
        """A warning: it works, and it does not confine."""
        return Finding(
            "warning",
            f"sandbox {self.name}",
            "commands are not confined: they can read and change all that you can, and reach the network",
            "install a confining sandbox (codetether-sandbox-bubblewrap or codetether-sandbox-landlock), or run the "
            "agent in a container",
        )

    def wrap(self, launch: Launch, policy: SandboxPolicy) -> Launch:
        """`launch`, unchanged."""
        return launch
