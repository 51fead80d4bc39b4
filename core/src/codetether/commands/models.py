"""`codetether models`: what can be used now, with the facts that are known; an unknown one is shown as `?`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
import trio

from codetether.errors import CodetetherError
from codetether.models import NOTHING
from codetether.terminal import clean, is_terminal

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from codetether.kernel import Kernel
    from codetether.ports import Provider
    from codetether.words import ModelInfo

LIMIT = 20.0
DOCTOR = "what is wrong is told by: codetether plugins doctor"


def arguments(parser: ArgumentParser) -> None:
    """An optional provider."""
    parser.epilog = "`codetether models pull URL` downloads a model file."
    parser.add_argument("provider", nargs="?", metavar="PROVIDER", help="only this provider's")
    parser.add_argument("--json", action="store_true", help="print JSON")


async def run(args: Namespace, kernel: Kernel) -> int:
    """The models on stdout, what went wrong on stderr; exit 1 when there is no model to show."""
    named = [kernel.provider(args.provider)] if args.provider else kernel.host.load_all("providers")
    asked: dict[str, Sequence[ModelInfo] | CodetetherError | None] = {p.name: None for p in named}
    async with trio.open_nursery() as nursery:
        for provider in named:
            nursery.start_soon(_ask, provider, asked, bool(args.provider))
    models = [
        m for name in sorted(asked) if isinstance(found := asked[name], list | tuple) for m in found
    ]
    for name, answer in sorted(asked.items()):
        if isinstance(answer, CodetetherError):
            hint = f"\n  {answer.hint}" if answer.hint else ""
            told = kernel.redact.text(f"{name}: {answer.message}{hint}")
            print(clean(told), file=sys.stderr)
    if models and not args.provider and {model.provider for model in models} == {"scripted"}:
        print(
            f"no model can be used but the scripted one\n  {NOTHING}\n  {DOCTOR}", file=sys.stderr
        )
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(models), indent=1).decode())
    elif models:
        text = table(models)
        print(clean(text) if is_terminal(sys.stdout) else text)
    elif not args.provider:
        raise CodetetherError("no model can be used", NOTHING)
    return 0 if models else 1


async def _ask(
    provider: Provider, asked: dict[str, Sequence[ModelInfo] | CodetetherError | None], named: bool
) -> None:
    """Its models, or why not; a provider nobody named that cannot be used says nothing."""
    with trio.move_on_after(LIMIT) as scope:
        try:
            status = await provider.status()
            if status.usable:
                asked[provider.name] = list(await provider.models())
            elif named:
                asked[provider.name] = CodetetherError(
                    status.why or "it cannot be used", status.hint
                )
        except CodetetherError as error:
            asked[provider.name] = error
        except Exception as error:  # one faulty provider must not hide the others' models
            provider.kernel.host.fault(provider.key, "models", error)
            asked[provider.name] = CodetetherError(
                f"it is faulty: {error}", "see `codetether plugins doctor`"
            )
    if scope.cancelled_caught:
        asked[provider.name] = CodetetherError(f"no answer within {LIMIT:g} s", "try again")


def table(models: Sequence[ModelInfo]) -> str:
    """One model a line: name, context in tokens, US dollars per million tokens in and out, abilities."""
    from codetether.terminal import clean

    head = ("MODEL", "CONTEXT", "OUTPUT", "$ IN", "$ OUT", "ABILITIES")
    rows = [
        head,
        *(
            (
                f"{m.provider}/{m.id}", _size(m.context), _size(m.output), _price(m.input_price),
                _price(m.output_price), _abilities(m),
            )
            for m in models
        ),
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    lines = []
    for row in rows:
        cells = [
            f"{row[0]:{widths[0]}}",
            *(f"{row[i]:>{widths[i]}}" for i in range(1, len(widths))),
        ]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return clean("\n".join(lines))


def _size(tokens: int | None) -> str:
    if tokens is None:
        return "?"
    return f"{tokens / 1000:.0f}k" if tokens >= 1000 else str(tokens)


def _price(dollars: float | None) -> str:
    return "?" if dollars is None else f"{dollars:.2f}"


def _abilities(model: ModelInfo) -> str:
    known = {"tools": model.tools, "images": model.images, "reasoning": model.reasoning}
    return " ".join(name if can else f"{name}?" for name, can in known.items() if can is not False)
