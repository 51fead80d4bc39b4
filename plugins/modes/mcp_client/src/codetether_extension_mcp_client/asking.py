"""What a server asks the person in the middle of a call (the protocol's elicitation), put to them as our own questions.

Only the person of the one session whose call is running is asked, and only where one is there. They see who asks, and
can always decline. Nothing is answered for them.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from codetether.api import Choice, Question, one_line

if TYPE_CHECKING:
    import mcp_types as types
    from codetether.api import Session
    from codetether_mcp import Server

    from codetether_extension_mcp_client.links import Link

FIELDS = 10
CHOICES = 20
WORDS = 500  # characters of what a server says in a question
ACCEPT, DECLINE = "accept", "decline"


class _Declined(Exception):
    """The person would not answer; `action` as the protocol calls it."""

    def __init__(self, action: str) -> None:
        super().__init__(action)
        self.action = action


def asking(link: Link) -> Callable[..., Awaitable[types.ElicitResult]]:
    """The SDK's `elicitation_callback` for a connection."""

    async def ask(_context: object, params: Any) -> types.ElicitResult:
        from mcp_types import ElicitResult

        sessions = {session.id: session for session in link.calling}
        if len(sessions) != 1 or link.connection is None:
            return ElicitResult(action="cancel")
        (session,) = sessions.values()
        if not session.interactive:
            return ElicitResult(action="cancel")
        person = _Person(session, link.server)
        try:
            with link.connection.waiting():
                content = await person.answer(params)
        except _Declined as declined:
            return ElicitResult.model_validate({"action": declined.action})
        return ElicitResult(action="accept", content=content)

    return ask


class _Person:
    """Asks the person of a session for one server."""

    def __init__(self, session: Session, server: Server) -> None:
        self._session = session
        self._address = server.url
        self._server = one_line(server.name, 60)

    async def answer(self, params: Any) -> dict[str, Any] | None:
        """The form filled in; None for an address that was opened. Raises _Declined."""
        message = one_line(params.message, WORDS)
        if params.mode == "url":
            await self._open(message, params.url)
            return None
        properties = params.requested_schema.get("properties")
        fields = list(properties.items())[: FIELDS + 1] if isinstance(properties, Mapping) else []
        if len(fields) > FIELDS:
            raise _Declined("cancel")
        required = params.requested_schema.get("required") or ()
        await self._choose(message, "", [(ACCEPT, "Answer" if fields else "Yes")])
        found: dict[str, Any] = {}
        for name, schema in fields:
            value = await self._field(name, schema if isinstance(schema, Mapping) else {})
            if value is not None:
                found[name] = value
            elif name in required:
                raise _Declined("cancel")
        return found

    async def _open(self, message: str, address: str) -> None:
        from codetether_mcp.entry import Wrong, check_address

        try:
            check_address(address, self._address)
        except Wrong:
            raise _Declined("cancel") from None
        shown = one_line(address)
        await self._choose(f"{message} (open {shown})", shown, [(ACCEPT, "I opened it")])

    async def _field(self, name: str, schema: Mapping[str, Any]) -> Any:
        title = one_line(str(schema.get("title") or name), 100)
        about = one_line(str(schema.get("description") or ""), WORDS)
        kind = schema.get("type")
        if kind == "boolean":
            return await self._choose(title, about, [("yes", "Yes"), ("no", "No")]) == "yes"
        values = schema.get("enum")
        if isinstance(values, list) and 0 < len(values) <= CHOICES:
            labels = [(str(at), one_line(str(value), 100)) for at, value in enumerate(values, 1)]
            return values[int(await self._choose(title, about, labels)) - 1]
        text = await self._text(title, about)
        if kind in ("integer", "number") and text:
            try:
                number = int(text) if kind == "integer" else float(text)
            except ValueError:
                raise _Declined("cancel") from None
            if not math.isfinite(number):  # there is no JSON for it
                raise _Declined("cancel")
            return number
        if kind == "array":
            return [word.strip() for word in text.split(",") if word.strip()] or None
        return text or None

    def _question(
        self, kind: Any, title: str, detail: str, choices: tuple[Choice, ...]
    ) -> Question:
        return Question(
            self._session.new_id("ask"),
            kind,
            f"MCP server {self._server} asks: {title}",
            detail=detail,
            choices=choices,
            default=DECLINE if choices else "",
        )

    async def _choose(self, title: str, detail: str, choices: list[tuple[str, str]]) -> str:
        """The key of what was chosen. Raises _Declined."""
        offered = tuple(Choice(key, label) for key, label in (*choices, (DECLINE, "Decline")))
        answer = await self._session.ask(self._question("choice", title, detail, offered))
        if answer is None:
            raise _Declined("cancel")
        if answer.key not in {key for key, _ in choices}:
            raise _Declined(DECLINE)
        return answer.key

    async def _text(self, title: str, detail: str) -> str:
        answer = await self._session.ask(self._question("text", title, detail, ()))
        if answer is None:
            raise _Declined("cancel")
        return answer.text.strip()
