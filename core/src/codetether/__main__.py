"""The command line: quick words first, then one mode or command, loaded with what it needs and nothing else."""

import os
import sys

from codetether import __version__

COMMANDS = {
    "plugins": "List, examine and make plugins",
    "tools": "List and show tools",
    "models": "List the models that can be used",
    "config": "Show and change settings",
}
TYPE_CHECKING = False  # typing itself would be the dearest import of this file
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Awaitable, Callable
    from typing import Any

    from codetether.kernel import Kernel


def main(argv: "list[str] | None" = None) -> int:
    """Run one command; the exit code (docs/cli.md)."""
    words = sys.argv[1:] if argv is None else list(argv)
    is_program = words == sys.argv[1:]  # and not a test, which goes on after it
    code = _command(words)
    if is_program and "signal" in sys.modules:  # what does not load it is over by now
        _stay_decided()
    return code


def _command(words: "list[str]") -> int:
    _open_streams()
    if words in (["--version"], ["-V"]):
        print(f"codetether {__version__}")
        return 0
    off = _take_switches(words)
    if _nowhere():
        return 1
    if not words:
        return _bare(words, off)
    if words[0] in ("-h", "--help", "help") or words in (["plugins"], ["tools"]):
        return _listing("help" if words[0] not in COMMANDS else words[0], off)
    if words in (
        ["plugins", "list"],
        ["tools", "list"],
        ["plugins", "list", "--json"],
        ["tools", "list", "--json"],
    ):
        return _listing(words[0], off, as_json="--json" in words)
    if words[0].startswith("-"):
        return _bare(words, off)
    if words[:2] == ["models", "pull"]:  # a plugin's word that people look for below one of ours
        del words[0]
    return _dispatch(words[0], words[1:], off)


def _open_streams() -> None:
    """Streams that were closed lead nowhere: else the next file opened would get what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115 - for good
            setattr(sys, name, stream)


def _nowhere() -> bool:
    """Whether the working directory was deleted, which is said."""
    try:
        os.getcwd()
    except FileNotFoundError:
        print("codetether: the working directory no longer exists", file=sys.stderr)
        print("  change to one that does", file=sys.stderr)
        return True
    return False


def _take_switches(words: "list[str]") -> "list[str]":
    """Take every `-p no:KEY` out of the words; other uses of -p belong to the mode."""
    off = [key for key in os.environ.get("CODETETHER_PLUGINS_OFF", "").split(",") if key]
    index = 0
    while index < len(words) - 1 and words[index] != "--":
        if words[index] == "-p" and words[index + 1].startswith("no:"):
            off.append(words[index + 1][3:])
            del words[index : index + 2]
        else:
            index += 1
    return off


def _bare(words: "list[str]", off: "list[str]") -> int:
    """No command: a worker when a server is given, the TUI on a terminal, else help and exit 2 (decision 3)."""
    names = {"-s", "--server", "-t", "--token", "-n", "--name"}
    given = [word for word in words if word.partition("=")[0] in names]
    if "CODETETHER_SERVER" in os.environ or any(
        word.startswith(("-s", "--server")) for word in given
    ):
        return _dispatch("worker", words, off)
    if not words and sys.stdin.isatty() and sys.stdout.isatty() and _has_mode("tui"):
        return _dispatch("tui", [], off)
    if words:
        print(f"codetether: unknown option {words[0]}", file=sys.stderr)
    _listing("help", off, to_stderr=True)
    return 2


def _has_mode(name: str) -> bool:
    from codetether.catalog import scan

    return any(row.kind == "modes" and row.name == name for row in scan())


def _listing(what: str, off: "list[str]", *, as_json: bool = False, to_stderr: bool = False) -> int:
    from codetether import listing
    from codetether.catalog import scan

    rows = scan()
    off = [*off, *listing.switched_off_by_settings(rows)]
    if what == "help":
        text = listing.help_text(rows, COMMANDS, off)
    elif what == "tools":
        text = listing.tools(rows, off, as_json=as_json)
    else:
        text = listing.plugins(rows, off, as_json=as_json)
    try:
        print(text, file=sys.stderr if to_stderr else sys.stdout, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _dispatch(name: str, words: "list[str]", off: "list[str]") -> int:
    import atexit
    import gc

    gc.disable()  # imports make no garbage worth looking for; the loop turns it on again
    # At the end the system takes all memory at once; taking it apart piece by piece is a tenth of a short run.
    atexit.register(gc.freeze)
    from codetether.errors import CodetetherError

    try:
        code = _run(name, words, off)
    except CodetetherError as error:
        _hung_up()  # then nobody hears it
        code = _tell(error)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    except Exception as error:
        if isinstance(error, OSError) and _hung_up():
            code = 130
        elif os.environ.get("CODETETHER_TRACE") != "1" and (what := _ran_out_of(error)):
            print(
                f"codetether: {what}", file=sys.stderr
            )  # no import here: it takes files and memory
            code = 1
        else:
            raise
    return code


def _hung_up() -> bool:
    """Whether the terminal's window was closed: then nothing can be told, and the streams lead nowhere from now on."""
    import errno

    gone = False
    for number in (1, 2):
        try:
            os.write(number, b"")
        except OSError as error:
            if error.errno == errno.EIO:
                gone = True
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return gone


def _ran_out_of(error: BaseException) -> str:
    """What this machine or its limits have no more of, and what to do; nothing for any other error."""
    if isinstance(error, BaseExceptionGroup):
        return next((what for leaf in error.exceptions if (what := _ran_out_of(leaf))), "")
    words = str(error)
    number = error.errno if isinstance(error, OSError) else 0
    if number in (23, 24):  # ENFILE, EMFILE
        return "too many files are open\n  raise the limit: ulimit -n 1024"
    if isinstance(error, MemoryError) or number == 12 or "failed to map segment" in words:  # ENOMEM
        return "out of memory\n  free some, or raise the limit: ulimit -v unlimited"
    if "start new thread" in words or number == 11:  # EAGAIN
        return "no more threads or processes\n  raise the limits: ulimit -u, ulimit -v"
    return ""


def _stay_decided() -> None:
    """A Ctrl-C while Python tidies up would end this by a signal, or a traceback, instead of the code that was decided."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _load_libraries() -> None:
    """Import those that everything needs, without what next to nothing of it needs: that loads when it is used."""
    from codetether.postponed import import_ignoring, import_without

    import_without("idna", "core")  # for names of servers that are not ASCII
    _load_trio()
    # `email`, `csv` and `zipfile`: to read what a package says of itself, lists, or is kept in
    import_without("importlib.metadata", "_adapters", others=("csv", "email", "zipfile"))
    import_without("stevedore", "_cache")
    import_ignoring("msgspec", "typing_extensions")


def _load_trio() -> None:
    """Import it without its TLS and its servers. And, on Linux, without its question where the library of threads is: to find out,
    ctypes runs `ldconfig` or even a compiler, and the loader knows it anyway.
    """
    import ctypes.util

    from codetether.postponed import import_without

    ask = ctypes.util.find_library
    if sys.platform == "linux":
        ctypes.util.find_library = lambda name: f"lib{name}.so.0"
    try:
        import_without(
            "trio", "_dtls", "_highlevel_open_tcp_listeners", "_highlevel_open_unix_stream", "_highlevel_serve_listeners",
            "_highlevel_ssl_helpers", "_ssl",
        )  # fmt: skip
    finally:
        ctypes.util.find_library = ask


def _run(name: str, words: "list[str]", off: "list[str]") -> int:
    import argparse

    _load_libraries()
    from codetether.kernel import Kernel

    kernel = Kernel.load(os.getcwd(), off=off)
    arguments, run, summary = _target(name, kernel)
    parser = argparse.ArgumentParser(prog=f"codetether {name}", description=summary)
    arguments(parser)
    args = parser.parse_args(words)

    import gc

    import trio

    async def work() -> int:
        async with kernel:
            return await run(args)

    _harden()
    gc.freeze()  # what is loaded by now stays: it need not be looked through again and again
    gc.set_threshold(
        10_000, 10, 10
    )  # what a turn makes is mostly kept, or freed without a collection
    gc.enable()
    try:
        return trio.run(work, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        error = _only(group)
        _crashed(kernel, error)
        _mask(kernel, error)
        raise error from None
    except Exception as error:
        _crashed(kernel, error)
        _mask(kernel, error)
        raise


def _mask(kernel: "Kernel", error: BaseException) -> None:
    """Take secrets out of `error`, which who failed may have said."""
    from codetether.errors import CodetetherError

    if isinstance(error, CodetetherError):
        error.message = kernel.redact.text(error.message)
        error.hint = kernel.redact.text(error.hint)


def _crashed(kernel: "Kernel", error: BaseException) -> None:
    """Let extensions see a crash though none was needed until now: they may have put a hook before Python's own."""
    from codetether.errors import CodetetherError

    told = (CodetetherError, KeyboardInterrupt, BrokenPipeError)
    if not isinstance(error, told) and not _ran_out_of(error):
        try:
            kernel.host.load_all("extensions")
        except Exception:  # the crash itself is what must be seen
            return


def _target(
    name: str, kernel: "Kernel"
) -> "tuple[Callable[[ArgumentParser], None], Callable[[Any], Awaitable[int]], str]":
    if name in COMMANDS:
        from importlib import import_module

        command = import_module(f"codetether.commands.{name}")
        return command.arguments, lambda args: command.run(args, kernel), COMMANDS[name]
    if not any(row.kind == "modes" and row.name == name for row in kernel.host.rows):
        from difflib import get_close_matches

        from codetether.errors import UsageError
        from codetether.installing import install_hint

        known = sorted([*COMMANDS, *kernel.host.names("modes")])
        near = get_close_matches(name, known, 2)
        raise UsageError(
            f"there is no command {name!r}"
            + (f"; did you mean {' or '.join(near)}?" if near else ""),
            install_hint("codetether-mode-pull")
            if name == "pull"
            else f"there are: {', '.join(known)}",
        )
    mode = kernel.mode(name)
    return mode.arguments, mode.run, kernel.host.find("modes", name).summary


def _harden() -> None:
    """A crash must not leave secrets in a core file."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        return


def _only(group: "BaseExceptionGroup[Any]") -> BaseException:
    """The one error to tell of: ours before others, whatever nursery it came through."""
    from codetether.errors import CodetetherError

    leaves: list[BaseException] = []
    todo: list[BaseException] = [group]
    while todo:
        error = todo.pop(0)
        if isinstance(error, BaseExceptionGroup):
            todo += error.exceptions
        else:
            leaves.append(error)
    for kind in (CodetetherError, KeyboardInterrupt, BrokenPipeError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return group


def _tell(error: "Any") -> int:
    if os.environ.get("CODETETHER_TRACE") == "1":
        import traceback

        traceback.print_exception(error)
    from codetether.terminal import clean  # names of files and settings are a repository's words

    print(f"codetether: {clean(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"  {clean(error.hint)}", file=sys.stderr)
    code: int = error.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
