"""The tool `question`: something only a person can decide, asked where they are."""

from __future__ import annotations

from typing import Annotated

from codetether.api import Choice, Effect, Question, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

NOBODY = "Nobody is there to answer. Do not ask again: decide yourself, and say in your answer what you assumed."


class Params(Struct):
    """What to ask."""

    question: Annotated[str, Meta(description="The question, complete in itself", max_length=4000)]
    options: Annotated[
        list[Annotated[str, Meta(max_length=500)]],
        Meta(description="Answers to choose from", max_length=9),
    ] = []
    default: Annotated[str, Meta(description="The option an empty answer means")] = ""
    free: Annotated[bool, Meta(description="Other answers than the options are possible")] = True


class AskPerson(Tool[Params]):
    """Asks, and gives the answer back."""

    api = 1
    params = Params
    effect = Effect.READ
    alone = True

    def title(self, params: Params) -> str:
        """The question."""
        return f"{self.name} {params.question}"

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The answer. Raises ToolError INVALID_ARGUMENT, or EXECUTION_FAILED when nobody is there."""
        _check(params)
        options = params.options
        answer = await ctx.ask(
            Question(
                ctx.session.new_id("ask"),
                "text" if params.free or not options else "choice",
                params.question,
                choices=tuple(Choice(str(at), text) for at, text in enumerate(options, 1)),
                default=str(options.index(params.default) + 1) if params.default in options else "",
                call_id=ctx.call_id,
            )
        )
        if answer is None:
            raise ToolError(NOBODY, nobody=True)
        said = _said(answer.key, answer.text, options)
        if not said:
            return ToolOutput(
                "The person gave no answer: decide yourself.",
                summary="no answer",
                meta={"answer": ""},
            )
        return ToolOutput(f"The person answered: {said}", summary=said, meta={"answer": said})


def _check(params: Params) -> None:
    if not params.question.strip():
        raise ToolError("The question is empty.", "INVALID_ARGUMENT")
    if len(set(params.options)) < len(params.options) or not all(map(str.strip, params.options)):
        raise ToolError("Options must differ, and none may be empty.", "INVALID_ARGUMENT")
    if params.default and params.default not in params.options:
        raise ToolError("default is not one of the options.", "INVALID_ARGUMENT")


def _said(key: str, text: str, options: list[str]) -> str:
    """The option chosen, with what was said besides, or the words alone."""
    chosen = options[int(key) - 1] if key.isdecimal() and 0 < int(key) <= len(options) else ""
    return " - ".join(part for part in (chosen, text.strip()) if part)
