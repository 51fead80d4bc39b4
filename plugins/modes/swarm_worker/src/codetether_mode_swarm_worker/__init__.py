"""`codetether swarm-worker`: takes sub-tasks of swarms from a broker and does them on this machine."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Annotated

from codetether.api import Mode
from codetether_nats import Place
from msgspec import Meta

GIVEN = ("creds", "nkey", "login", "tls_ca", "tls_cert", "tls_key")


class Settings(Place, frozen=True):
    """Which broker, and what its sub-tasks may do here."""

    concurrency: Annotated[int, Meta(description="Sub-tasks at one time", ge=1)] = 2
    access: Annotated[
        str,
        Meta(
            description="What a sub-task may do unasked at most: ask, auto or full",
            pattern="^(ask|auto|full)$",
        ),
    ] = "auto"
    model: Annotated[
        str, Meta(description="The model for all sub-tasks (default: the one the swarm was given)")
    ] = ""
    remotes: Annotated[
        tuple[str, ...],
        Meta(description="Beginnings of addresses that a repository may be fetched from"),
    ] = ()
    tries: Annotated[
        int, Meta(description="Workers that may die of one sub-task before it is given up", ge=1)
    ] = 4
    work_dir: Annotated[
        str, Meta(description="Where clones are kept (default: beside the data directory)")
    ] = ""


class SwarmWorker(Mode):
    """Serves the queue until it is told to end. A sub-task is an agent that works on this machine (docs/swarm.md)."""

    api = 1
    Settings = Settings

    def arguments(self, parser: ArgumentParser) -> None:
        """The flags of docs/swarm.md; what is not given is as the settings say."""
        add = parser.add_argument
        add("--nats", metavar="URL", help="the broker: tls://HOST:PORT, or nats://127.0.0.1:4222")
        add("--space", metavar="WORD", help="first word of all names on the broker")
        add("--concurrency", type=_count, metavar="N", help="sub-tasks at one time (default: 2)")
        add("-m", "--model", metavar="PROVIDER/MODEL", help="for all sub-tasks, whatever they ask")
        add(
            "--access-mode",
            choices=("ask", "auto", "full"),
            help="what sub-tasks may do unasked at most (default: auto)",
        )
        add("--creds", metavar="FILE", help="a user's JWT and NKey seed")
        add("--nkey", metavar="FILE", help="an NKey seed")
        add("--login", metavar="FILE", help="USER:PASSWORD, or a token")
        add("--tls-ca", metavar="FILE", help="the authorities that are believed")
        add("--tls-cert", metavar="FILE", help="our own certificate")
        add("--tls-key", metavar="FILE", help="its key")
        add(
            "--remote",
            action="append",
            metavar="PREFIX",
            help="fetch repositories from addresses that begin so; repeatable",
        )
        add("--work-dir", metavar="DIR", help="where clones are kept")
        add("--once", action="store_true", help="do one sub-task, then end")

    async def run(self, args: Namespace) -> int:
        """Serve; 0 when told to end, 1 when the broker is gone for good, 2 usage."""
        import msgspec

        from codetether_mode_swarm_worker.serving import serve

        named = {name: getattr(args, name) for name in GIVEN if getattr(args, name)}
        if named.keys() & {"creds", "nkey", "login"}:  # the command line's is the one that counts
            named = dict.fromkeys(("creds", "nkey", "login"), "") | named
        wishes = {
            "url": args.nats, "space": args.space, "concurrency": args.concurrency, "model": args.model,
            "access": args.access_mode, "work_dir": args.work_dir, "remotes": tuple(args.remote or ()),
        }  # fmt: skip
        named |= {name: value for name, value in wishes.items() if value}
        settings = msgspec.convert(msgspec.to_builtins(self.settings) | named, Settings)
        return await serve(self.kernel, settings, once=args.once)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
