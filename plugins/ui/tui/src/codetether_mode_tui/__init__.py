"""The full-screen interface: `codetether` on a terminal. It shows a conversation and owns no logic of its own."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import trio
from codetether.api import Answer, Mode, Question, Session, UsageError, hookimpl
from msgspec import Meta

if TYPE_CHECKING:
    from codetether_conversation import Conversation, Start

    from codetether_mode_tui.bridge import Bridge
    from codetether_mode_tui.theming import Theming

LEAVE_SECONDS = 5.0


class TuiSettings(msgspec.Struct, frozen=True):
    """How it looks and behaves."""

    theme: Annotated[
        str, Meta(description="A theme's name, or auto: light or dark as the terminal is")
    ] = "auto"
    custom_theme: Annotated[
        dict[str, Any], Meta(description="Single colours over the theme (docs/tui.md)")
    ] = {}
    layout: Annotated[
        Literal["webview", "classic"], Meta(description="Three columns, or the chat alone")
    ] = "webview"
    inspector: Annotated[bool, Meta(description="Show the inspector in three columns")] = True
    mouse: Annotated[
        bool, Meta(description="Take the mouse; then the terminal selects text with Shift only")
    ] = False
    editing: Annotated[Literal["emacs", "vi"], Meta(description="Keys of the input")] = "emacs"
    keys: Annotated[
        dict[str, tuple[str, ...]], Meta(description="Other keys for actions (docs/tui.md)")
    ] = {}


class Tui(Mode):
    """`codetether tui`, and `codetether` alone on a terminal."""

    api = 1
    Settings = TuiSettings
    _conversation: Conversation | None = None

    def arguments(self, parser: ArgumentParser) -> None:
        """Which session, and what it begins with."""
        parser.add_argument("-m", "--model", metavar="MODEL", help="provider/model")
        parser.add_argument(
            "--agent", default="", metavar="NAME", help="build, plan, explore or yours"
        )
        parser.add_argument(
            "--access-mode", default="", choices=("ask", "auto", "full"), help="what is asked"
        )
        parser.add_argument(
            "-c",
            "--continue",
            dest="latest",
            action="store_true",
            help="go on with the last session here",
        )
        parser.add_argument("-s", "--session", metavar="ID", help="go on with this session")
        parser.add_argument("--fork", action="store_true", help="go on in a copy of it")

    @hookimpl
    async def codetether_ask(self, question: Question, session: Session) -> Answer | None:
        """Ask the person at the screen."""
        return await self._conversation.ask(question) if self._conversation is not None else None

    async def run(self, args: Namespace) -> int:
        """Show the screen until the person leaves."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
            raise UsageError(
                "the full screen needs a terminal",
                "codetether repl is a line interface; codetether exec PROMPT needs no terminal",
            )
        from codetether_conversation import Start, Watchdog

        start = Start(
            args.model,
            args.agent,
            args.access_mode,
            await self._resumed(args),
            args.fork,
        )
        with Watchdog(sys.stdout.fileno(), full_screen=True):
            return await self._show(start)

    async def _resumed(self, args: Namespace) -> str | None:
        if args.session or not args.latest:
            named: str | None = args.session
            return named
        from codetether.api import head, latest_session

        directory = Path.cwd()
        git = head(directory)
        latest = await trio.to_thread.run_sync(
            latest_session, self.kernel.sessions_folder, directory, git.branch if git else None
        )
        if latest is None:
            raise UsageError("there is no session here to go on with", "leave --continue out")
        return latest

    async def _show(self, start: Start) -> int:
        from codetether.api import import_without
        from codetether_conversation import Conversation, Leave, obey_signals

        import_without("asyncio", "sslproto", others=("ssl",))  # nothing here goes over a network
        from codetether_mode_tui.bridge import Bridge

        async with trio.open_nursery() as nursery:
            bridge = Bridge(nursery)
            conversation = self._conversation = Conversation(
                self.kernel, Path.cwd(), bridge.tell, interface="tui", start=start
            )
            await nursery.start(obey_signals, conversation)
            nursery.start_soon(self._converse, conversation, bridge)
            nursery.start_soon(self._obey, conversation, bridge)
            try:
                await trio.to_thread.run_sync(self._screen, bridge, conversation)
            finally:
                self._conversation = None
                bridge.shown.set()
                with trio.move_on_after(LEAVE_SECONDS, shield=True):
                    await conversation.act(Leave())
                    await conversation.closed.wait()
                nursery.cancel_scope.cancel()
        self._farewell(conversation)
        return 0

    async def _converse(self, conversation: Conversation, bridge: Bridge) -> None:
        """Open the session when the first frame is in sight: both at once share one interpreter, and the frame waits."""
        await bridge.shown.wait()
        await conversation.run()

    def _screen(self, bridge: Bridge, conversation: Conversation) -> None:
        """The screen's thread: everything of prompt_toolkit happens here."""
        from codetether_mode_tui.terminal import Background

        with Background(sys.stdout.fileno() if self.settings.theme == "auto" else None) as ground:
            _load_toolkit()
            from codetether_conversation import history

            from codetether_mode_tui.screen import Screen

            typed = history(self.kernel.dirs.data, self.kernel.redact.text)
            theming = self._theming(ground.colour())
        Screen(bridge, conversation, self.settings, theming, typed).run()

    def _theming(self, ground: str | None) -> Theming:
        from codetether_mode_tui.theming import Theming

        settings = self.settings

        def read() -> tuple[str, dict[str, Any]]:
            from codetether.api import Config

            again = Config.load(Path.cwd()).settings(self.key, TuiSettings)
            return again.theme, again.custom_theme

        dirs = self.kernel.dirs
        return Theming(
            settings.theme,
            settings.custom_theme,
            dirs.config / "themes",
            background=ground,
            read=read,
            watched=dirs.file,
        )

    async def _obey(self, conversation: Conversation, bridge: Bridge) -> None:
        async with trio.open_nursery() as nursery:
            async for act in bridge.acts:
                nursery.start_soon(conversation.act, act)

    def _farewell(self, conversation: Conversation) -> None:
        if conversation.last and conversation.said_anything:
            print(f"codetether -s {conversation.last}  goes on with this session")


def _load_toolkit() -> None:
    """Import prompt_toolkit without its line interface and its markup; of wcwidth it only asks how wide a character is."""
    from codetether.api import import_without

    import_without(
        "wcwidth", "_clip", "_wcswidth", "_width", "align", "escape_sequences", "grapheme", "hyperlink", "sgr_state",
        "text_sizing", "textwrap", "wcwidth",
    )  # fmt: skip
    import_without("prompt_toolkit", "shortcuts", others=("xml.dom.minidom",))
