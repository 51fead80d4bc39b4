"""`ralph create-prd`: a document drafted by a model that looked at the repository, or a template to fill in."""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import (
    CodetetherError,
    Effect,
    Output,
    TurnFinished,
    UsageError,
    clean,
    open_terminal,
    read_line,
    write_atomic,
)
from codetether_crew import left_usd
from codetether_gates import Gate, detect
from codetether_live import Board, showing
from codetether_prd import Document, PrdError, Story, check, from_parts, report

from codetether_mode_ralph import texts

if TYPE_CHECKING:
    from codetether.api import Kernel, Session, Usage

LOOKS = frozenset({Effect.READ})
STEPS = 40  # model calls of a draft
FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)
ANSWER = 4_000  # bytes of one answer of a person
QUESTIONS = (
    "What shall be possible in the end that is not now?",
    "What is not part of it? (may be empty)",
    "Rules to keep to, technical ones too (may be empty)",
    "How would somebody else see that it is done? (may be empty)",
)


class _Draft(msgspec.Struct):
    """What a model answers with."""

    feature: str
    user_stories: list[Story]
    technical_requirements: list[str] = []
    quality_checks: dict[str, str | None] = {}


async def create(kernel: Kernel, args: Namespace) -> int:
    """Make a document and write or print it; 0 when it can be worked by."""
    target = Path.cwd() / args.prd if args.prd else None
    if target is not None:
        _may_write(target, force=args.force)
    directory = Path.cwd()
    project = args.project or directory.name
    gates = (await trio.to_thread.run_sync(detect, directory)).gates
    if args.template:
        made = template(project, args.feature or "new-feature", gates)
    else:
        wish = args.feature or await _interview()
        board = Board("create-prd")
        board.phase = "drafting"
        async with showing(board):
            made, _ = await draft(
                kernel, directory, project, wish, model=args.model or "", gates=gates
            )
            board.phase = ""
    found = check(made)
    output = Output(sys.stdout)
    if target is not None:
        _may_write(target, force=args.force)  # the model took its time
        await trio.to_thread.run_sync(_write, target, made)
    if target is None or args.json:
        await output.write(made.text())
    print(clean(report(made)), file=sys.stderr)
    if target is not None:
        where = args.prd
        print(
            f"written: {clean(where)}; work by it: codetether ralph run -p {clean(where)}",
            file=sys.stderr,
        )
    return 1 if found.errors else 0


def _may_write(target: Path, *, force: bool) -> None:
    if target.exists() and not force:
        raise UsageError(f"{target} exists", "name another file, or replace it: --force")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent} is not a directory")


def _write(target: Path, made: Document) -> None:
    try:
        write_atomic(target, made.text().encode())
    except OSError as error:
        raise CodetetherError(f"{target} cannot be written: {error.strerror}") from None


def _checks(gates: Sequence[Gate]) -> dict[str, str]:
    return {gate.kind: gate.command for gate in gates}


def template(project: str, feature: str, gates: Sequence[Gate]) -> Document:
    """A document of one story, with the checks that were found."""
    story = {
        "id": "US-001",
        "title": "In a few words",
        "description": "What is wanted, and why",
        "acceptance_criteria": ["What must be true in the end, so that one can check it"],
        "priority": 1,
        "depends_on": [],
        "complexity": 3,
    }
    return from_parts(project, feature, [story], _checks(gates))


async def _interview() -> str:
    """What a person answers on the terminal. Raises UsageError when there is none."""
    terminal = open_terminal(sys.stdin, sys.stderr)
    if terminal is None:
        hint = 'codetether ralph create-prd -f "WORDS", or --template'
        raise UsageError("what is the feature?", hint)
    said = []
    try:
        for question in QUESTIONS:
            os.write(terminal, f"{question}\n> ".encode())
            answer = await read_line(terminal, ANSWER)
            if answer is None:
                break
            if answer.strip():
                said.append(f"{question}\n{answer.strip()}")
    finally:
        os.close(terminal)
    if not said:
        raise UsageError("nothing was said, so there is nothing to plan")
    return "\n\n".join(said)


async def for_session(
    kernel: Kernel, asking: Session, project: str, wish: str
) -> tuple[str, Usage]:
    """The text of a document, drafted for a session by one that it starts, and what that took."""
    gates = (await trio.to_thread.run_sync(detect, asking.directory)).gates
    made, usage = await draft(
        kernel, asking.directory, project or asking.directory.name, wish, model=asking.model_ref, gates=gates,
        started_by=asking.id, depth=asking.depth + 1, budget_usd=left_usd(asking),
    )  # fmt: skip
    return made.text(), usage


async def draft(
    kernel: Kernel, directory: Path, project: str, wish: str, *, model: str = "", gates: Sequence[Gate] = (),
    started_by: str = "", depth: int = 0, budget_usd: float | None = None,
) -> tuple[Document, Usage]:  # fmt: skip
    """A document that a model drafts from `wish`, and what it took; it may look at files, and mend what is wrong once.

    Raises CodetetherError when its second answer cannot be worked by either.
    """
    checks = "\n".join(f"- {gate.kind}: `{gate.command}`" for gate in gates)
    prompt = texts.filled("draft", project=project, wish=wish, checks=checks or "(none were found)")
    async with kernel.open_session(
        directory=directory, model=model or None, agent="explore", within=LOOKS, max_steps=STEPS,
        started_by=started_by, depth=depth, budget_usd=budget_usd,
    ) as session:  # fmt: skip
        made, wrong = _read(await session.prompt(prompt), project, gates)
        if wrong:
            told = "\n".join(f"- {each}" for each in wrong[:10])
            finished = await session.prompt(texts.filled("mend", problems=told))
            made, wrong = _read(finished, project, gates)
        usage = session.usage
    if made is None or wrong:
        raise CodetetherError(
            f"the model made no document that can be worked by: {'; '.join(wrong[:3])}",
            "say it otherwise, try another model, or begin with --template",
        )
    return made, usage


def _read(
    finished: TurnFinished, project: str, gates: Sequence[Gate]
) -> tuple[Document | None, list[str]]:
    if finished.reason != "done":
        raise CodetetherError(
            f"there is no draft: {finished.error or finished.reason}", finished.hint
        )
    try:
        proposed = msgspec.convert(_object(finished.text), _Draft, strict=False)
        stories: list[dict[str, Any]] = [
            msgspec.to_builtins(each) for each in proposed.user_stories
        ]
        given = {kind: command for kind, command in proposed.quality_checks.items() if command}
        made = from_parts(
            project, proposed.feature, stories, given or _checks(gates), proposed.technical_requirements
        )  # fmt: skip
    except (ValueError, msgspec.ValidationError, PrdError) as error:
        return None, [str(error)]
    return made, check(made).errors


def _object(answer: str) -> Any:
    """The JSON object in an answer. Raises ValueError."""
    fences = FENCED.findall(answer)
    text = fences[-1] if fences else answer[answer.find("{") : answer.rfind("}") + 1]
    return json.loads(text)
