"""Servers of the Model Context Protocol, for the extension that gives their tools to a session and the mode `mcp`.

`servers` reads which are configured, `connected` holds a connection to one open. Nothing here imports the SDK before a
connection is made: it costs two seconds and 360 modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_mcp.configuration import Configured, Server, Trouble, servers
    from codetether_mcp.connection import Connection, Listeners, connected
    from codetether_mcp.login import log_in, log_out
    from codetether_mcp.secrets import LoginNeeded

_WHERE = {
    "configuration": "Configured Server Trouble servers",
    "connection": "Connection Listeners connected",
    "login": "log_in log_out",
    "secrets": "LoginNeeded",
}

__all__ = [
    "Configured",
    "Connection",
    "Listeners",
    "LoginNeeded",
    "Server",
    "Trouble",
    "connected",
    "log_in",
    "log_out",
    "servers",
]

__getattr__ = lazy(globals(), _WHERE)
