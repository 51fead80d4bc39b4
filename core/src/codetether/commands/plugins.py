"""`codetether plugins`: list what is installed, examine it, make a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.ports import KINDS

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from codetether.kernel import Kernel
    from codetether.ports import Finding

MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


def arguments(parser: ArgumentParser) -> None:
    """`list`, `doctor`, `new`."""
    words = parser.add_subparsers(dest="word", required=True, metavar="{list,doctor,new}")
    listed = words.add_parser("list", help="list what is installed, without importing it")
    listed.add_argument("--json", action="store_true", help="print JSON")
    doctor = words.add_parser("doctor", help="load everything and say what is wrong and what to do")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    new = words.add_parser("new", help="write a new plugin, with a passing test")
    new.add_argument("kind", choices=[*KINDS], metavar="KIND", help=f"one of {', '.join(KINDS)}")
    new.add_argument("name", metavar="NAME", help="the word a user or a model types, such as hello")
    new.add_argument("--dir", metavar="D", help="folder to write into (default: here)")
    new.add_argument(
        "--distribution",
        metavar="NAME",
        help="name of the distribution (default: codetether-KIND-NAME)",
    )


async def run(args: Namespace, kernel: Kernel) -> int:
    """Exit 1 when `doctor` found an error."""
    if args.word == "list":
        return _list(kernel, as_json=args.json)
    if args.word == "new":
        from codetether.commands.new import write

        return await write(args.kind, args.name, directory=args.dir, distribution=args.distribution)
    return await _doctor(kernel, as_json=args.json)


def _list(kernel: Kernel, *, as_json: bool) -> int:
    from codetether import listing

    off = [*kernel.config.off, *listing.off_by_only(kernel.catalog, kernel.config.only)]
    print(listing.plugins(kernel.catalog, off, as_json=as_json))
    return 0


async def _doctor(kernel: Kernel, *, as_json: bool) -> int:
    from codetether.doctor import examine

    found = await examine(kernel)
    if as_json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        print(kernel.redact.text(report(found)))
    return int(any(finding.level == "error" for finding in found))


def report(found: Sequence[Finding]) -> str:
    """Findings for a person, the worst last, where the eye is."""
    from codetether.terminal import clean

    rank = [*MARKS]
    lines = []
    for finding in sorted(
        found, key=lambda f: rank.index(f.level) if f.level in rank else len(rank)
    ):
        lines.append(
            f"{MARKS.get(finding.level, finding.level)}  {finding.subject}: {finding.text}"
        )
        if finding.hint:
            lines.append(f"         {finding.hint}")
    counts = {level: sum(f.level == level for f in found) for level in ("error", "warning")}
    lines.append(", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in counts.items()))
    return clean("\n".join(lines))
