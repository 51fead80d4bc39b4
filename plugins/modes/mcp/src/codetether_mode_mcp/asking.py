"""Questions to a person by way of the client: what it is sent, and what its answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mcp_types as types
from codetether.api import Answer, Question, clean

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from codetether_mode_mcp.call import Ask

SHOWN = 4_000  # characters of a diff, and of what would be done
FIELD = "answer"
LASTING = (
    "project"  # a permission for good is given at our own prompt, never through another program
)


def can_ask(capabilities: types.ClientCapabilities | None) -> bool:
    """Whether the client shows forms to a person. One that declares no mode means forms."""
    elicitation = capabilities.elicitation if capabilities is not None else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def form(question: Question) -> types.ElicitRequestFormParams | None:
    """The form for `question`; None for one that is not put to a client."""
    if question.kind == "trust":
        return None
    field: dict[str, Any] = {"type": "string", "title": "Answer"}
    choices = [choice for choice in question.choices if choice.key != LASTING]
    if question.kind != "text":
        if not choices:
            return None
        field["enum"] = [choice.key for choice in choices]
        field["enumNames"] = [clean(choice.label) for choice in choices]
    parts = (question.title, question.detail, question.diff)
    return types.ElicitRequestFormParams(
        message="\n\n".join(_cut(clean(part)) for part in parts if part),
        requested_schema={"type": "object", "properties": {FIELD: field}, "required": [FIELD]},
    )


def meant(question: Question, result: types.ElicitResult) -> Answer | None:
    """What the person said. Whatever is not plainly one of the choices is a no."""
    if result.action == "cancel":
        return None
    given = (result.content or {}).get(FIELD)
    if result.action == "accept" and isinstance(given, str):
        if question.kind == "text":
            return Answer("", given)
        if any(given == choice.key != LASTING for choice in question.choices):
            return Answer(given)
    return Answer("deny") if question.kind == "approval" else None


def by_request(ctx: ServerRequestContext[Any, Any]) -> Ask:
    """Asks with a request of its own, as the protocol had it until 2025."""

    async def ask(question: Question) -> Answer | None:
        params = form(question)
        if params is None:
            return None
        from mcp.shared.exceptions import MCPError

        try:
            result = await ctx.session.elicit_form(
                params.message, params.requested_schema, related_request_id=ctx.request_id
            )
        except (MCPError, ValueError):  # it cannot after all, or said something else
            return None
        return meant(question, result)

    return ask


async def nobody(_: Question) -> None:
    """For a client that shows no forms."""
    return


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}\n… and {len(text) - SHOWN} more"
