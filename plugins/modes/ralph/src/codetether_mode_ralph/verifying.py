"""The verification steps of a story: commands, files, addresses that show that it is done."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import ToolError, one_line
from codetether_gates import Gate, Verdict, check
from codetether_prd import FileExists, Shell, Step, Url

if TYPE_CHECKING:
    from codetether.api import Kernel

KIND = "verify"


class Verifier:
    """Carries steps out. `hosts`: hosts (`host` or `host:port`) that may be asked though they are not on the public web."""

    def __init__(
        self, kernel: Kernel, logs: Path, *, seconds: float, hosts: Sequence[str] = ()
    ) -> None:
        self._kernel = kernel
        self._logs = logs
        self._seconds = seconds
        self._hosts = tuple(hosts)

    async def verify(self, steps: Sequence[Step], directory: Path) -> tuple[Verdict, ...]:
        """What each step says in `directory`: one that does not hold blocks."""
        found = []
        for step in steps:
            match step:
                case Shell():
                    found.append(await self._shell(step, directory))
                case FileExists():
                    found.append(await self._file(step, directory))
                case Url():
                    found.append(await self._url(step))
        return tuple(found)

    async def _shell(self, step: Shell, directory: Path) -> Verdict:
        inside = _inside(directory, step.cwd)
        if inside is None:
            return _verdict(step.name or step.command, f"{step.cwd} is not below the project")
        command = (
            f"cd -- {shlex.quote(step.cwd)} && {{ {step.command}\n}}" if step.cwd else step.command
        )
        gate = Gate(KIND, command, "verification_steps", self._seconds)
        report = await check(
            [gate], self._kernel.run_process, directory, logs=self._logs, label="verify", redact=self._kernel.redact.text
        )  # fmt: skip
        verdict = report.verdicts[0]
        if not verdict.ok:
            return verdict
        said = await trio.to_thread.run_sync(_read, verdict)
        missing = [text for text in step.expect_output_contains if text not in said]
        if missing:
            return _failed(verdict, f"its output does not contain {missing[0]!r}")
        for pattern in step.expect_files_glob:
            if not await trio.to_thread.run_sync(_found, directory, pattern):
                return _failed(verdict, f"no file matches {pattern}")
        return verdict

    async def _file(self, step: FileExists, directory: Path) -> Verdict:
        name = step.name or f"file {step.path or step.glob}"
        if step.path:
            inside = _inside(directory, step.path)
            if inside is None or not inside.exists():
                return _verdict(name, f"there is no {step.path}")
        if step.glob and not await trio.to_thread.run_sync(_found, directory, step.glob):
            return _verdict(name, f"no file matches {step.glob}")
        return _verdict(name)

    async def _url(self, step: Url) -> Verdict:
        from codetether_web import Policy, fetch

        name = step.name or f"{step.method} {step.url}"
        began = trio.current_time()
        seconds = min(max(step.timeout_secs, 1.0), self._seconds)
        try:
            page = await fetch(
                step.url, Policy(private_hosts=self._hosts), method=step.method, seconds=seconds
            )
        except ToolError as error:
            return _verdict(name, one_line(error.text, 200), trio.current_time() - began)
        took = trio.current_time() - began
        if page.status != step.expect_status:
            return _verdict(name, f"it answered {page.status}, not {step.expect_status}", took)
        body = page.body.decode("utf-8", "replace")
        missing = [text for text in step.expect_body_contains if text not in body]
        why = f"its answer does not contain {missing[0]!r}" if missing else ""
        return _verdict(name, why, took)


def _verdict(name: str, why: str = "", seconds: float = 0.0) -> Verdict:
    gate = Gate(KIND, name, "verification_steps")
    return Verdict(
        gate, not why, int(bool(why)), seconds, output=why, blocks=bool(why), why=why or "passed"
    )


def _failed(verdict: Verdict, why: str) -> Verdict:
    return msgspec.structs.replace(verdict, ok=False, blocks=True, why=why)


def _read(verdict: Verdict) -> str:
    return Path(verdict.log).read_text("utf-8", "replace") if verdict.log else verdict.output


def _inside(directory: Path, path: str) -> Path | None:
    """`path` below `directory`, links followed; None when it is elsewhere."""
    real = (directory / path).resolve()
    return real if real.is_relative_to(directory.resolve()) else None


def _found(directory: Path, pattern: str) -> bool:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        return False
    try:
        return any(path.is_file() for path in directory.glob(pattern))
    except (ValueError, NotImplementedError, OSError):
        return False
