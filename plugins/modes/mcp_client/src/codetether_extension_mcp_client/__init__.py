"""Tools, resources and prompts of MCP servers, for a session's model."""

from __future__ import annotations

from codetether.api import Extension


class McpClient(Extension):
    """Connects a session to the configured servers."""

    api = 1
