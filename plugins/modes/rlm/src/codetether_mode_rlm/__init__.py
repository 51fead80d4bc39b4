"""`codetether rlm`: a question about texts too large for a model's window, answered by looking at them piece by piece."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from codetether.api import Mode

if TYPE_CHECKING:
    from codetether.api import Session


class Settings(msgspec.Struct, frozen=True):
    """Which models look, and how far they may go when nobody says."""

    model: Annotated[
        str, msgspec.Meta(description="The model that looks; empty: the default model")
    ] = ""
    sub_model: Annotated[
        str, msgspec.Meta(description="The model for sub-calls; empty: the one that looks")
    ] = ""
    max_iterations: Annotated[
        int, msgspec.Meta(ge=1, le=100, description="Replies of the model at most")
    ] = 10
    max_subcalls: Annotated[
        int, msgspec.Meta(ge=0, le=100_000, description="Sub-calls at most")
    ] = 50
    max_tokens: Annotated[
        int,
        msgspec.Meta(ge=0, le=1_000_000, description="Tokens of one answer; 0: the vendor's limit"),
    ] = 0
    concurrency: Annotated[
        int, msgspec.Meta(ge=1, le=256, description="Model calls at one time")
    ] = 16
    small_share: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=0.8, description="Share of the model's window below which a text is sent whole"
        ),
    ] = 0.35


class Rlm(Mode):
    """Answers questions about large texts. `work` is for a plugin that does so in a session."""

    api = 1
    Settings = Settings

    def arguments(self, parser: ArgumentParser) -> None:
        """The flags of docs/rlm.md."""
        from codetether_mode_rlm.arguments import arguments

        arguments(parser)

    async def run(self, args: Namespace) -> int:
        """Answer; 0 answered, 1 in part or not at all, 2 usage, 130 interrupted."""
        from codetether_mode_rlm.driving import start

        return await start(self, args)

    async def work(self, wanted: dict[str, Any], session: Session, progress: Any) -> dict[str, Any]:
        """For plugins: answer a query for a session, with its model unless the settings name another, and count it there.

        `wanted`: fields of Options, and `sources`, as in the library. The result is what --json
        prints. Raises CodetetherError when it cannot begin.
        """
        from codetether_mode_rlm.driving import for_session

        return await for_session(self, wanted, session, progress)
