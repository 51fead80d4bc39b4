"""May this tool call run? Rules, what a person granted, and the access mode give a Decision. Plugins can only tighten.

In order: the agent's effects; limits nobody can lift (docs/permissions.md); deny rules; grants; ask rules; the
project's own settings files, always asked; allow rules; the access mode; and of what the last two allow, what may
carry something out is asked (codetether.outgoing). Nothing here waits or changes anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from codetether import beneath
from codetether.errors import CodetetherError
from codetether.globs import matches
from codetether.grants import Grant, Grants, grants_file
from codetether.rules import (
    Facts,
    Rule,
    allows,
    covers_part,
    covers_tree,
    is_pattern,
    says_where,
    touches,
)
from codetether.words import Answer, Choice, Effect, Question, ToolCall, Verdict

if TYPE_CHECKING:
    from codetether.config import Config
    from codetether.ports import Tool
    from codetether.session import Session

CONFINED = frozenset({"S2", "S3"})


class Decision(msgspec.Struct, frozen=True):
    """A verdict, why (one line, for the person and the model), and what a grant for this call would cover."""

    verdict: Verdict
    why: str
    facts: Facts
    lasting: bool = True

    @property
    def covers(self) -> tuple[Grant, ...]:
        """Found when somebody asks: most calls are allowed, and nobody does."""
        return self.facts.covers


class Permissions:
    """The rules and grants of one session. `config` gives the rules of all layers and the user's directories;
    `root` is the workspace's, without links.
    """

    def __init__(self, config: Config, root: Path) -> None:
        self.rules: Sequence[Rule] = config.rules
        dirs = config.dirs
        self.own = _real(str(dirs.config), str(dirs.data), str(dirs.file))
        self.grants = Grants(grants_file(config.dirs.config), root)

    def decide(self, call: ToolCall, tool: Tool[Any], params: Any, session: Session) -> Decision:
        """What may happen to this call, before plugins are asked."""
        facts = Facts(call, tool, params, session)
        verdict, why = self._verdict(facts, session)
        return Decision(verdict, why, facts, lasting=not self._sensitive(facts))

    def _verdict(self, facts: Facts, session: Session) -> tuple[Verdict, str]:
        effect = facts.tool.effect
        if effect not in session.effects:
            return Verdict.DENY, session.why_not(effect)
        if why := self._limit(facts):
            return Verdict.DENY, why
        if rule := self._speaks(Verdict.DENY, facts):
            return Verdict.DENY, str(rule)
        sensitive = self._sensitive(facts)
        if not sensitive and self.grants.any and (scope := self.grants.allows(facts.covers)):
            return Verdict.ALLOW, f"allowed for the {scope}"
        if rule := self._speaks(Verdict.ASK, facts):
            return Verdict.ASK, str(rule)
        if sensitive:
            return Verdict.ASK, sensitive
        rule = self._allowing(facts)
        if rule and says_where(rule, facts):
            return Verdict.ALLOW, str(rule)
        verdict, why = (Verdict.ALLOW, str(rule)) if rule else by_access(facts, session)
        if verdict is Verdict.ALLOW and (sends := _sends(facts, session)):
            return Verdict.ASK, sends
        return verdict, why

    # --- limits ---
    def _limit(self, facts: Facts) -> str:
        """Why no setting can allow this call, or nothing."""
        effect = facts.tool.effect
        if effect in (Effect.READ, Effect.WRITE) and not facts.inside:
            return "it is outside the workspace"
        if effect is not Effect.WRITE:
            return ""
        if any(beneath.is_git(name) for path in facts.paths for name in path.split("/")):
            return "nothing is written inside .git"
        if any(
            _below(os.path.join(facts.root, real), own)
            for _, real in facts.spellings
            for own in self.own
        ):
            return "these are CodeTether's own files"
        return ""

    def _sensitive(self, facts: Facts) -> str:
        """Why this call is always asked, whatever rules and grants say, or nothing."""
        if facts.tool.effect is not Effect.WRITE:
            return ""
        for path in facts.paths:
            names = [name.casefold() for name in path.split("/")]
            if ".codetether" in names or names[-1] in ("codetether.toml", ".mcp.json"):
                return "it changes settings or instructions of the agent itself"
        return ""

    # --- rules ---
    def _speaks(self, verdict: Verdict, facts: Facts) -> Rule | None:
        """The first rule of a tightening verdict that any part of the call matches."""
        return next(
            (rule for rule in self.rules if rule.verdict is verdict and touches(rule, facts)), None
        )

    def _allowing(self, facts: Facts) -> Rule | None:
        """A rule that allows the whole call, one that says where it may go before others."""
        rules = [
            rule for rule in self.rules if rule.verdict is Verdict.ALLOW and allows(rule, facts)
        ]
        if facts.subject.command:
            narrow = self._by_command([rule for rule in rules if rule.command], facts)
        else:
            narrow = next((rule for rule in rules if says_where(rule, facts)), None)
        return narrow or next((rule for rule in rules if not rule.command), None)

    def _by_command(self, rules: Sequence[Rule], facts: Facts) -> Rule | None:
        """A rule for the command as it is written, or for its first part when each part has one."""
        command = facts.subject.command.strip()
        for rule in rules:
            if rule.command.strip() == command and not is_pattern(rule.command):
                return rule
        if facts.parts is None:
            return None
        by_part = [
            next((rule for rule in rules if covers_part(rule.command, part)), None)
            for part in facts.parts
        ]
        return by_part[0] if by_part and all(by_part) else None

    def hidden(self, paths: Iterable[str], tool: str = "") -> list[str]:
        """Those of `paths` (relative to the workspace) that a deny rule covers, for tools that walk a tree."""
        denied = [
            rule.path
            for rule in self.rules
            if rule.verdict is Verdict.DENY and rule.path and matches(rule.tool, tool or "*")
        ]
        if not denied:
            return []
        return [path for path in paths if any(covers_tree(rule, path) for rule in denied)]

    # --- asking ---
    def question_for(  # noqa: PLR0917 - a question is about all of these
        self,
        question_id: str,
        call: ToolCall,
        tool: Tool[Any],
        params: Any,
        decision: Decision,
        diff: str,
        session: Session,
    ) -> Question:
        """What a person is asked about this call; each lasting choice says what it would cover."""
        subject = tool.subject(params)
        detail = subject.command or subject.url or "\n".join(subject.paths) or call.arguments
        return Question(
            id=question_id,
            kind="approval",
            title=f"Allow {tool.title(params)}?",
            detail=f"{detail}\n({decision.why})",
            diff=diff,
            choices=_choices(decision, session.directory),
            default="deny",
            call_id=call.id,
        )

    def grant(
        self, answer: Answer, call: ToolCall, tool: Tool[Any], params: Any, session: Session
    ) -> None:
        """Remember what a person's answer grants beyond this call; `once` and `deny` grant nothing.

        Raises CodetetherError when a project grant cannot be written; it then holds for the session.
        """
        if answer.key not in ("session", "project"):
            return
        facts = Facts(call, tool, params, session)
        if not self._sensitive(facts):
            self.grants.add(facts.covers, "project" if answer.key == "project" else "session")


@lru_cache(16)  # sessions begin often, and these do not move
def _real(*paths: str) -> tuple[str, ...]:
    return tuple(map(os.path.realpath, paths))


def _sends(facts: Facts, session: Session) -> str:
    """Why a call that is allowed is asked about all the same: it may carry something out."""
    if facts.tool.effect not in (Effect.NETWORK, Effect.EXECUTE) and not facts.tool.foreign:
        return ""
    from codetether.outgoing import sends

    return sends(facts, session)


def by_access(facts: Facts, session: Session) -> tuple[Verdict, str]:
    """The verdict when no rule spoke. ask: reading only. auto: also edits in the workspace, and commands where a
    sandbox holds them (S2, S3). full: everything.
    """
    effect, access = facts.tool.effect, session.access
    if access == "full" or effect in (Effect.READ, Effect.AGENT):
        return Verdict.ALLOW, f"access {access}"
    if access == "auto" and facts.inside:
        if effect is Effect.WRITE and facts.subject.paths:
            return Verdict.ALLOW, "access auto: an edit in the workspace"
        if effect is Effect.EXECUTE and not facts.tool.foreign:
            level = sandbox_level(session)
            if level in CONFINED:
                return Verdict.ALLOW, f"access auto: in a sandbox ({level})"
            return Verdict.ASK, f"access auto, but no sandbox confines commands here ({level})"
    return Verdict.ASK, f"access {access} asks before tools that {effect}"


def sandbox_level(session: Session) -> str:
    """How firmly this session's child processes are confined; S0 when that cannot be told."""
    try:
        return session.kernel.sandbox().level
    except CodetetherError:
        return "S0"


def _choices(decision: Decision, directory: Path) -> tuple[Choice, ...]:
    once, deny = Choice("once", "Allow once"), Choice("deny", "Deny")
    if not decision.lasting or not decision.covers:
        return once, deny
    what = ", ".join(grant.label for grant in decision.covers)
    return (
        once,
        Choice("session", f"Allow for this session: {what}"),
        Choice("project", f"Always allow in {directory}: {what}"),
        deny,
    )


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
