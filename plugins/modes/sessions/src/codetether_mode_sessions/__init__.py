"""`codetether sessions`: look at the sessions on disk, take one out, delete one, find one by its words."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import trio
from codetether.api import (
    CodetetherError,
    DeniedError,
    Loaded,
    Mode,
    Output,
    Summary,
    Transcript,
    find_session,
    is_terminal,
    list_sessions,
    one_line,
    read_line,
    remove_session,
    write_atomic,
)

LIMIT = 20


class Sessions(Mode):
    """The mode. Every action reads only, but `rm`; sessions in use can be read as well."""

    api = 1

    def arguments(self, parser: ArgumentParser) -> None:
        """One action and its own arguments; none is `list`."""
        parser.set_defaults(action="list", json=False, all=False, limit=LIMIT)
        actions = parser.add_subparsers(metavar="ACTION")
        a_session = "id of a session, or a unique beginning of it, or of its last four characters"

        action = actions.add_parser(
            "list", help="list the sessions of this directory, newest first"
        )
        action.set_defaults(action="list")
        action.add_argument(
            "--all", action="store_true", help="of every directory; sub-agents' and empty ones too"
        )
        _add_shared(action, limit=True)

        action = actions.add_parser("show", help="print a conversation")
        action.set_defaults(action="show")
        action.add_argument("id", metavar="ID", help=a_session)
        _add_shared(action)

        action = actions.add_parser("export", help="write a conversation as Markdown, HTML or JSON")
        action.set_defaults(action="export")
        action.add_argument("id", metavar="ID", help=a_session)
        action.add_argument(
            "--format", choices=("md", "html", "json"), default="md", help="default: md"
        )
        action.add_argument(
            "-o", "--output", metavar="FILE", help="where to; default: standard output"
        )
        action.add_argument("--force", action="store_true", help="replace FILE if there is one")

        action = actions.add_parser("rm", help="delete a session and its side files")
        action.set_defaults(action="rm")
        action.add_argument("id", metavar="ID", help=a_session)
        action.add_argument("--yes", action="store_true", help="do not ask")

        action = actions.add_parser("search", help="find sessions by what was said in them")
        action.set_defaults(action="search")
        action.add_argument(
            "words", metavar="WORD", nargs="+", help="words, or beginnings, all in one message"
        )
        action.add_argument("--all", action="store_true", help="in sessions of every directory")
        _add_shared(action, limit=True)

    async def run(self, args: Namespace) -> int:
        """Do the action. Raises CodetetherError with what to do instead."""
        self._out = Output(sys.stdout)
        actions = {
            "list": self._list,
            "show": self._show,
            "export": self._export,
            "rm": self._remove,
            "search": self._search,
        }
        return await actions[args.action](args)

    @property
    def _folder(self) -> Path:
        return self.kernel.sessions_folder

    @property
    def _index_file(self) -> Path:
        return self.kernel.dirs.cache / "sessions.sqlite3"

    async def _list(self, args: Namespace) -> int:
        from codetether_mode_sessions import view

        def read() -> list[Summary]:
            directory = None if args.all else Path.cwd()
            return list_sessions(self._folder, directory, args.limit or None, everything=args.all)

        summaries = await trio.to_thread.run_sync(read)
        if args.json:
            await self._out.write(view.as_json([view.entry(summary) for summary in summaries]))
        elif summaries:
            await self._out.write(view.table(summaries, with_directory=args.all))
        else:
            await self._tell("No sessions here yet." if not args.all else "No sessions yet.", args)
        return 0

    async def _show(self, args: Namespace) -> int:
        from codetether_mode_sessions import view

        loaded = await self._read(args.id)
        await self._out.write(view.session_json(loaded) if args.json else view.text(loaded))
        return 0

    async def _export(self, args: Namespace) -> int:
        from codetether_mode_sessions import export, view

        loaded = await self._read(args.id)
        make = {"md": export.markdown, "html": export.html, "json": view.session_json}[args.format]
        content = await trio.to_thread.run_sync(make, loaded)
        if args.output is None:
            await self._out.write(content)
            return 0
        target = Path(args.output)
        await trio.to_thread.run_sync(_save, target, content, args.force)
        print(f"Exported to {one_line(str(target))}", file=sys.stderr)
        return 0

    async def _remove(self, args: Namespace) -> int:
        loaded = await self._read(args.id)
        session = loaded.header.id
        if not args.yes and not await self._confirmed(loaded):
            print("Nothing was deleted.", file=sys.stderr)
            return 1
        await trio.to_thread.run_sync(remove_session, self._folder, session)
        if self._index_file.exists():
            await trio.to_thread.run_sync(self._forget, session)
        print(f"Deleted {session}.", file=sys.stderr)
        return 0

    async def _confirmed(self, loaded: Loaded) -> bool:
        if not is_terminal(sys.stdin):
            raise DeniedError(
                "Nobody is here to confirm the deletion.", "Add --yes to delete without asking."
            )
        title = one_line(loaded.title) or "(no title)"
        question = f"Delete {loaded.header.id}, {title!r}, {len(loaded.messages)} messages? [y/N] "
        await Output(sys.stderr).write(question)
        answer = await read_line(sys.stdin.fileno())
        return (answer or "").strip().lower() in ("y", "yes")

    async def _search(self, args: Namespace) -> int:
        from codetether.api import Hit, SessionIndex

        from codetether_mode_sessions import found, view

        def look() -> list[Hit]:
            with SessionIndex(self._index_file, self._folder) as index:
                index.refresh()
                directory = None if args.all else Path.cwd()
                return index.search(
                    " ".join(args.words), directory=directory, limit=args.limit or 10_000
                )

        hits = await trio.to_thread.run_sync(look)
        if args.json:
            await self._out.write(view.as_json([found.hit_entry(hit) for hit in hits]))
        elif hits:
            await self._out.write(
                found.hits(hits, colour=self._out.terminal and "NO_COLOR" not in os.environ)
            )
        else:
            await self._tell("Nothing found.", args)
        return 0

    async def _read(self, name: str) -> Loaded:
        """The session called `name`; what is damaged in it is told on standard error."""

        def read() -> Loaded:
            transcript, loaded = Transcript.open(self._folder, name, write=False)
            transcript.close()
            return loaded

        loaded = await trio.to_thread.run_sync(read)
        session = find_session(self._folder, name).stem
        if loaded.header.id != session:  # a file that was renamed goes by its name
            loaded.header = type(loaded.header)(directory=loaded.header.directory, id=session)
        for repair in loaded.repairs:
            print(f"codetether: {session}: {one_line(repair)}", file=sys.stderr)
        return loaded

    async def _tell(self, text: str, args: Namespace) -> None:
        hint = "" if args.all else " `--all` looks at those of every directory."
        await Output(sys.stderr).write(f"{text}{hint}\n")

    def _forget(self, session: str) -> None:
        from codetether.api import SessionIndex

        with SessionIndex(self._index_file, self._folder) as index:
            index.forget(session)


def _add_shared(parser: ArgumentParser, *, limit: bool = False) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    if limit:
        parser.add_argument(
            "--limit", type=_count, default=LIMIT, metavar="N", help="at most N; 0: all"
        )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _save(target: Path, content: str, force: bool) -> None:
    if target.exists() and not force:
        raise CodetetherError(
            f"{target} exists.", "Choose another name, or add --force to replace it."
        )
    try:
        write_atomic(target, content.encode("utf-8", "replace"))
    except OSError as error:
        raise CodetetherError(f"Cannot write {target}: {error.strerror}.") from error
