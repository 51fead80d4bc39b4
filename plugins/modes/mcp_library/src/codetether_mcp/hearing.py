"""What a server says by itself: that one of its lists is another now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mcp_types as types

if TYPE_CHECKING:
    from mcp.client.session import MessageHandlerFnT

    from codetether_mcp.connection import Listeners

LISTS = (
    (types.ToolListChangedNotification, "tools"),
    (types.PromptListChangedNotification, "prompts"),
    (types.ResourceListChangedNotification, "resources"),
)


def hearing(listeners: Listeners) -> MessageHandlerFnT:
    """The SDK's handler of messages nobody asked for. Errors among them (lines that are no message) say nothing."""

    async def hear(message: Any) -> None:
        for kind, name in LISTS:
            if isinstance(message, kind):
                listeners.changed(name)

    return hear
