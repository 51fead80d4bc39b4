"""`codetether mcp`: our tools for other agents, and the servers of the Model Context Protocol that are configured."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

import msgspec
from codetether.api import Answer, Mode, Question, Session, hookimpl

ASK_SECONDS = 300.0


class Mcp(Mode):
    """The mode. `serve` stays until the client leaves; the other actions look, call once, or edit the list."""

    api = 1

    @hookimpl
    async def codetether_ask(self, question: Question, session: Session) -> Answer | None:
        """Asks the person in front of the client whose call this is about; None for anybody else's."""
        from codetether_mode_mcp.call import CURRENT

        call = CURRENT.get()
        if call is None:
            return None
        shown = {
            part: session.redact(getattr(question, part)) for part in ("title", "detail", "diff")
        }
        return await call.asked_for(msgspec.structs.replace(question, **shown))

    def arguments(self, parser: ArgumentParser) -> None:
        """One action and its own arguments; none is `list`."""
        parser.set_defaults(action="list", json=False)
        actions = parser.add_subparsers(metavar="ACTION")

        def add(action: str, help_text: str, *, named: bool = True) -> ArgumentParser:
            made: ArgumentParser = actions.add_parser(action, help=help_text)
            made.set_defaults(action=action)
            if named:
                made.add_argument("name", metavar="NAME", help="the server's name in the list")
            return made

        _serve_arguments(add("serve", "serve our tools to another agent", named=False))
        _add_json(add("list", "list the configured servers", named=False))
        _add_json(add("tools", "list the tools of a server"))
        call = add("call", "call a tool of a server, and print its answer")
        call.add_argument("tool", metavar="TOOL")
        call.add_argument(
            "arguments",
            nargs="?",
            default="{}",
            metavar="JSON",
            help="an object; - reads it from standard input",
        )
        _add_json(call)
        add("test", "connect to a server, and say what happened")
        _add_arguments(add("add", "add a server to your list"))
        add("remove", "take a server out of your list")
        add("login", "log in to a server that wants it")
        add("logout", "forget a login")

    async def run(self, args: Namespace) -> int:
        """Do the action. Raises CodetetherError."""
        if args.action == "serve":
            from codetether_mode_mcp.serving import serve

            return await serve(self.kernel, args)
        from codetether_mode_mcp.words import run

        return await run(self.kernel, args)


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "target", nargs="+", metavar="TARGET",
        help="an address, or a command with its arguments; put -- before a command that has options",
    )  # fmt: skip
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE",
        help="a variable for the command; repeatable; ${vault:NAME/FIELD} stands for a secret",
    )  # fmt: skip
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME:VALUE",
        help="a header for the address; repeatable; ${vault:NAME/FIELD} stands for a secret",
    )  # fmt: skip
    parser.add_argument("--cwd", metavar="DIR", help="where the command runs")
    parser.add_argument("--force", action="store_true", help="replace one of that name")


def _serve_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-C", "--dir", metavar="DIR", help="the workspace (default: the working directory)"
    )
    parser.add_argument(
        "--access-mode", choices=("ask", "auto", "full"), default="",
        help="what may be done unasked: ask = only read, auto = also edit here and run in a sandbox, full = all that sends nothing out",
    )  # fmt: skip
    parser.add_argument("--agent", default="", metavar="NAME", help="whose tools: build, plan, …")
    parser.add_argument(
        "--tools", action="append", default=[], metavar="PATTERNS",
        help="serve only these: names or patterns, with commas; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "-m", "--model", metavar="PROVIDER/MODEL", help="serve tools that need a model too"
    )
    parser.add_argument(
        "--no-ask",
        action="store_true",
        help="deny what needs approval; never ask by way of the client",
    )
    parser.add_argument(
        "--ask-timeout", type=_seconds, default=ASK_SECONDS, metavar="SECONDS",
        help=f"how long an answer is waited for (default: {ASK_SECONDS:g})",
    )  # fmt: skip
    parser.add_argument("--http", action="store_true", help="over HTTP instead of standard input")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="listen here (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="default: a free one")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="the token clients must give; made when it is not there",
    )
    parser.add_argument(
        "--allow-remote", action="store_true", help="listen on an address that is not loopback"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="a name that requests may be addressed to; repeatable",
    )  # fmt: skip


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 86400:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds up to a day")
    return number


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is not a port")
    return int(text)
