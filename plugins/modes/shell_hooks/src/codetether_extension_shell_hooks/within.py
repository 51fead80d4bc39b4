"""The hooks of one session: which run when, and what becomes of their answers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import (
    CodetetherError,
    DeniedError,
    Notice,
    Question,
    Ruling,
    Session,
    Tool,
    ToolCall,
    ToolResult,
    Verdict,
    clean_env,
    run_process,
)
from msgspec import UNSET

from codetether_extension_shell_hooks.origins import TRUST, Hook, hooks_of, still_trusted
from codetether_extension_shell_hooks.protocol import MOST_OUTPUT, Failed, Said, answer, question

if TYPE_CHECKING:
    from codetether_extension_shell_hooks import EventName, HooksSettings

AT_ONCE = 8  # hooks of calls that run side by side
END_SECONDS = 1.0  # a session that ends waits two seconds for all plugins together
NOT_RUN = ("denied", "invalid", "failed")  # what the toolbox writes beside a call that never ran


class Within:
    """The hooks as they are for one session. `settings` are checked already."""

    def __init__(self, key: str, settings: HooksSettings, session: Session) -> None:
        self._session = session
        self._limit = settings.go_on_limit
        self._all = hooks_of(session.kernel, key, settings)
        base = session.kernel.config.directory  # where the settings are from, also in a worktree
        self._root = str(session.kernel.root_of(base) or os.path.realpath(base))
        self._hooks: list[Hook] | None = None
        self._settling = trio.Lock()
        self._slots = trio.Semaphore(AT_ONCE)
        self._turn = -1
        self._begun = False
        self._went_on = 0
        self._judged: dict[str, dict[tuple[str, bytes], Said]] = {}
        self._notes: dict[str, list[str]] = {}

    # --- a turn ---
    @asynccontextmanager
    async def around_turn(self) -> AsyncIterator[None]:
        """Hold one stretch of a turn. Raises DeniedError when a hook refuses the prompt."""
        if self._session.turns != self._turn and self._session.depth == 0:
            self._turn, self._went_on = self._session.turns, 0
            self._judged.clear()
            self._notes.clear()
            await self._begin()
            await self._prompted()
        yield
        if self._session.depth == 0:
            await self._stopping()

    async def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        for hook in await self._of("session_start"):
            said = await self._ask(hook, {"resumed": self._session.started.resumed})
            if said is not None and said.context:
                self._session.tell(_note(hook, said.context))

    async def _prompted(self) -> None:
        notes = []
        for hook in await self._of("on_prompt"):
            said = await self._ask(hook, {"prompt": self._session.messages[-1].text})
            if said is None:
                if hook.settings.on_error != "warn":
                    raise DeniedError(f"shell hook {hook.name} failed", "see the warning above")
                continue
            if said.decision == "deny":
                raise DeniedError(f"{hook.name}: {said.reason or 'it said no'}")
            if said.context:
                notes.append(_note(hook, said.context))
        for note in notes:
            self._session.tell(note)

    async def _stopping(self) -> None:
        session = self._session
        for hook in await self._of("on_stop"):
            facts = {"text": session.messages[-1].text, "went_on": self._went_on}
            said = await self._ask(hook, facts)
            if said is None or not said.go_on:
                continue
            if self._went_on >= self._limit:
                times = f"more than {self._limit} times (go_on_limit)"
                text = f"shell hook {hook.name} would make the turn go on {times}; it ends"
                await session.emit(Notice("warning", text))
                return
            self._went_on += 1
            session.tell(_note(hook, said.go_on), go_on=True)
            return

    # --- a call ---
    async def before_tool(self, call: ToolCall, tool: Tool[Any]) -> Ruling | None:
        """What the hooks say to a call, the strictest of them; one after another may change its arguments."""
        hooks = await self._of("before_tool", (tool.name, *tool.aliases))
        if not hooks:
            return None
        given = arguments = _arguments(call.arguments)
        found = Ruling()
        for hook in hooks:
            said = await self._judge(hook, call, tool.name, arguments)
            verdict = Verdict[said.decision.upper()]
            if verdict > found.verdict:
                found = Ruling(verdict, f"{hook.name}: {said.reason or 'it said ' + said.decision}")
            if verdict is Verdict.DENY:
                return found
            if said.arguments is not None:
                arguments = said.arguments
                self._remember(call, hook, arguments, said)
        if arguments == given:
            return found
        return Ruling(found.verdict, found.why, msgspec.json.encode(arguments).decode())

    async def _judge(
        self, hook: Hook, call: ToolCall, tool: str, arguments: dict[str, Any]
    ) -> Said:
        """What a hook says to a call with these arguments; it is asked once, and not about what it wrote itself."""
        known = self._judged.get(call.id, {}).get((hook.name, _same(arguments)))
        if known is not None:
            return known
        said = await self._ask(hook, {"tool": tool, "call": call.id, "arguments": arguments})
        if said is None:
            deny = hook.settings.on_error != "warn"
            said = Said("deny" if deny else "allow", "it failed, and on_error says deny")
        if said.context:
            self._notes.setdefault(call.id, []).append(_note(hook, said.context))
        self._remember(call, hook, arguments, said, changed=said.arguments)
        return said

    def _remember(
        self,
        call: ToolCall,
        hook: Hook,
        arguments: dict[str, Any],
        said: Said,
        *,
        changed: dict[str, Any] | None = None,
    ) -> None:
        said = msgspec.structs.replace(said, arguments=changed, context="")
        self._judged.setdefault(call.id, {})[hook.name, _same(arguments)] = said

    async def after_tool(self, call: ToolCall, result: ToolResult) -> ToolResult | None:
        """The result with what the hooks wrote instead of it or below it."""
        self._judged.pop(call.id, None)
        notes = self._notes.pop(call.id, [])
        text = result.text
        if not any(result.meta.get(word) for word in NOT_RUN):
            tool = self._session.toolbox.find(result.name)
            for hook in await self._of(
                "after_tool", (result.name, *(tool.aliases if tool else ()))
            ):
                facts = {"tool": result.name, "call": call.id, "ok": result.ok, "result": text}
                said = await self._ask(hook, facts | {"arguments": _arguments(call.arguments)})
                if said is None:
                    continue
                text = text if said.result is None else said.result
                notes += [_note(hook, said.context)] if said.context else []
        if text == result.text and not notes:
            return None
        return msgspec.structs.replace(result, text="\n\n".join((text, *notes)))

    # --- beside ---
    def asked(self, about: Question) -> None:
        """A person is asked something; nobody waits for these hooks."""
        if any(hook.settings.event == "on_ask" for hook in self._all):
            self._session.beside(partial(self._asked, about))

    async def _asked(self, about: Question) -> None:
        for hook in await self._of("on_ask"):
            await self._ask(
                hook, {"kind": about.kind, "title": about.title, "detail": about.detail}
            )

    async def ended(self) -> None:
        """The session is over."""
        if self._session.depth == 0 and self._begun:
            for hook in await self._of("session_end"):
                await self._ask(hook, {}, END_SECONDS)

    # --- one hook ---
    async def _of(self, event: EventName, names: Sequence[str] = ()) -> list[Hook]:
        """The hooks of an event, for `before_tool` and `after_tool` those whose patterns fit one of `names`."""
        async with self._settling:
            if self._hooks is None:
                self._hooks = await self._settled()
        return [
            hook for hook in self._hooks if hook.settings.event == event and _about(hook, names)
        ]

    async def _settled(self) -> list[Hook]:
        theirs = [hook for hook in self._all if not hook.own]
        if not theirs or await self._trusted():
            return self._all
        named = ", ".join(hook.name for hook in theirs)
        text = (
            f"shell hooks of a repository that changed since you trusted it are left out ({named})"
        )
        await self._session.emit(Notice("warning", text, TRUST))
        return [hook for hook in self._all if hook.own]

    async def _trusted(self) -> bool:
        return await trio.to_thread.run_sync(still_trusted, self._session.kernel)

    async def _ask(self, hook: Hook, facts: dict[str, Any], most: float = 600.0) -> Said | None:
        """What the hook says; None when it failed, which a person is then told."""
        session, event = self._session, hook.settings.event
        common = {
            "hook": hook.name,
            "session": session.id,
            "directory": str(session.directory),
            "agent": session.agent.name,
            "model": session.model_ref,
            "depth": session.depth,
        }
        try:
            if not hook.own and not await self._trusted():
                raise Failed("its repository has changed since you trusted it")
            told = question(event, common | facts, session.redact)
            async with self._slots:
                return await self._run(hook, told, most, str(facts.get("tool", "")))
        except Failed as failed:
            text = f"shell hook {hook.name} ({event}): {failed}"
        except CodetetherError as error:
            text = f"shell hook {hook.name} ({event}): {error.message}"
        await session.emit(Notice("warning", text, f"it is set in {hook.origin}"))
        return None

    async def _run(self, hook: Hook, told: bytes, most: float, tool: str) -> Said:
        session = self._session
        names = {
            "CODETETHER_HOOK": hook.name,
            "CODETETHER_EVENT": hook.settings.event,
            "CODETETHER_SESSION": session.id,
            "CODETETHER_ROOT": self._root,
            "CODETETHER_TOOL": tool,
        }
        argv = ("sh", "-c", hook.settings.command)
        how: dict[str, Any] = {
            "cwd": session.directory,
            "env": clean_env(names),
            "timeout": min(hook.settings.timeout, most),
            "stdin": told,
            "head": MOST_OUTPUT,
            "tail": 0,
            "spill_limit": MOST_OUTPUT,
        }
        if hook.confined:
            done = await session.run_process(argv, **how)
        else:
            await session.kernel.sweep()
            done = await run_process(argv, **how)
        return answer(hook.settings.event, done, session.redact)


def _about(hook: Hook, names: Sequence[str]) -> bool:
    patterns = hook.settings.tools
    return patterns is UNSET or any(
        fnmatchcase(name, pattern) for name in names for pattern in patterns
    )


def _arguments(text: str) -> dict[str, Any]:
    """A call's arguments, with what the toolbox lets models get away with (nothing, JSON in a JSON string)."""
    given = msgspec.json.decode(text) if text.strip() else {}
    if isinstance(given, str):
        given = msgspec.json.decode(given)
    return given if isinstance(given, dict) else {}


def _same(arguments: dict[str, Any]) -> bytes:
    return msgspec.json.encode(arguments, order="sorted")


def _note(hook: Hook, text: str) -> str:
    return f"[hook {hook.name}: {text}]"
