"""May this tool call run? Rules, what a person granted, and the access mode give a Decision. Plugins can only tighten.

In order: the agent's effects; limits nobody can lift (docs/permissions.md); deny rules; grants; ask rules; the
project's own settings files, always asked; allow rules; the access mode. Nothing here waits or changes anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from codetether import beneath, shell
from codetether.errors import CodetetherError
from codetether.globs import matches, path_matches
from codetether.grants import Grant, Grants, grants_file
from codetether.urls import Address
from codetether.words import Answer, Choice, Effect, Question, Subject, ToolCall, Verdict

if TYPE_CHECKING:
    from codetether.config import Config
    from codetether.ports import Tool
    from codetether.session import Session
    from codetether.settings import RuleSettings

CONFINED = frozenset({"S2", "S3"})
NOT_PART_OF_A_GRANT = frozenset({"command", "timeout", "description", "title"})


class Rule(msgspec.Struct, frozen=True):
    """One permission rule; an empty pattern says nothing about that part of a call. `origin`: the file it is from."""

    verdict: Verdict
    tool: str = "*"
    command: str = ""
    path: str = ""
    url: str = ""
    origin: str = ""

    @classmethod
    def of(cls, settings: RuleSettings, origin: str) -> Rule:
        """The rule written in a settings file."""
        verdict = Verdict[settings.verdict.upper()]
        return cls(verdict, settings.tool, settings.command, settings.path, settings.url, origin)

    def __str__(self) -> str:
        about = self.command or self.path or self.url
        return f"rule `{self.tool}{f' {about}' if about else ''}` ({self.origin or 'built in'})"


class Decision(msgspec.Struct, frozen=True):
    """A verdict, why (one line, for the person and the model), and what a grant for this call would cover."""

    verdict: Verdict
    why: str
    covers: tuple[Grant, ...] = ()
    lasting: bool = True


class Facts:
    """What rules need to know about one call."""

    def __init__(self, call: ToolCall, tool: Tool[Any], params: Any, session: Session) -> None:
        self.call = call
        self.tool = tool
        self.params = params
        self.subject: Subject = tool.subject(params)
        self.root = str(session.workspace.root)
        self.inside = all(session.workspace.is_inside(path) for path in self.subject.paths)

    @cached_property
    def spellings(self) -> list[tuple[str, str]]:
        """Each path relative to the root: as written, and with links followed; absolute when outside the root."""
        return [
            (self._relative(os.path.normpath(full)), self._relative(os.path.realpath(full)))
            for full in self._full
        ]

    @property
    def _full(self) -> list[str]:
        return [os.path.join(self.root, os.path.expanduser(path)) for path in self.subject.paths]

    def _relative(self, full: str) -> str:
        relative = os.path.relpath(full, self.root)
        return full if relative == ".." or relative.startswith("../") else relative

    @cached_property
    def paths(self) -> frozenset[str]:
        """All spellings of all paths."""
        return frozenset(path for pair in self.spellings for path in pair)

    @cached_property
    def fragments(self) -> list[str]:
        """Everything the command might run."""
        return shell.fragments(self.subject.command)

    @cached_property
    def parts(self) -> list[list[str]] | None:
        """The simple commands the command surely is, or None."""
        return shell.parts(self.subject.command)

    @cached_property
    def address(self) -> Address | None:
        """The address, or None when there is none or it is not plainly one."""
        return Address.read(self.subject.url) if self.subject.url else None

    def named_by(self, rule: Rule) -> bool:
        """Whether the rule is about this tool, by its name or an alias."""
        return any(matches(rule.tool, name) for name in (self.tool.name, *self.tool.aliases))

    @cached_property
    def covers(self) -> tuple[Grant, ...]:
        """What a grant for this call would cover, narrowly."""
        tool, subject = self.tool.name, self.subject
        found: set[Grant] = set()
        if subject.command:
            found.add(Grant(tool, "command", subject.command + self._beyond_command()))
        if subject.url:
            found.add(Grant(tool, "site", self.address.site) if self.address else self._exact())
        if subject.paths and not subject.command:
            found |= {
                Grant(tool, "directory", os.path.dirname(real) or ".") for _, real in self.spellings
            }
        return tuple(sorted(found or {self._exact()}, key=repr))

    def _exact(self) -> Grant:
        arguments = msgspec.json.encode(self.params, order="deterministic").decode()
        return Grant(self.tool.name, "call", arguments)

    def _beyond_command(self) -> str:
        """Arguments beside the command that change what it does (a directory, an input), as part of the grant."""
        arguments = msgspec.to_builtins(self.params)
        defaults = {
            field.encode_name: field.default for field in msgspec.structs.fields(type(self.params))
        }
        more = {
            name: value
            for name, value in arguments.items()
            if name not in NOT_PART_OF_A_GRANT and value != defaults.get(name)
        }
        return "\n" + msgspec.json.encode(more, order="deterministic").decode() if more else ""


class Permissions:
    """The rules and grants of one session. `config` gives the rules of all layers and the user's directories."""

    def __init__(self, config: Config, directory: Path) -> None:
        self.rules: Sequence[Rule] = config.rules
        self.own = tuple(
            os.path.realpath(path)
            for path in (config.dirs.config, config.dirs.data, config.dirs.file)
        )
        self.grants = Grants(grants_file(config.dirs.config), Path(os.path.realpath(directory)))

    def decide(self, call: ToolCall, tool: Tool[Any], params: Any, session: Session) -> Decision:
        """What may happen to this call, before plugins are asked."""
        facts = Facts(call, tool, params, session)
        verdict, why = self._verdict(facts, session)
        return Decision(verdict, why, facts.covers, lasting=not self._sensitive(facts))

    def _verdict(self, facts: Facts, session: Session) -> tuple[Verdict, str]:
        effect = facts.tool.effect
        if effect not in session.agent.effects:
            return Verdict.DENY, f"the agent {session.agent.name} may not {effect}"
        if why := self._limit(facts):
            return Verdict.DENY, why
        if rule := self._speaks(Verdict.DENY, facts):
            return Verdict.DENY, str(rule)
        sensitive = self._sensitive(facts)
        if not sensitive and (scope := self.grants.allows(facts.covers)):
            return Verdict.ALLOW, f"allowed for the {scope}"
        if rule := self._speaks(Verdict.ASK, facts):
            return Verdict.ASK, str(rule)
        if sensitive:
            return Verdict.ASK, sensitive
        if rule := self._allowing(facts):
            return Verdict.ALLOW, str(rule)
        return by_access(facts, session)

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
            if ".codetether" in names or names[-1] == "codetether.toml":
                return "it changes settings or instructions of the agent itself"
        return ""

    # --- rules ---
    def _speaks(self, verdict: Verdict, facts: Facts) -> Rule | None:
        """The first rule of a tightening verdict that any part of the call matches."""
        return next(
            (rule for rule in self.rules if rule.verdict is verdict and touches(rule, facts)), None
        )

    def _allowing(self, facts: Facts) -> Rule | None:
        """A rule that allows the whole call. Parts of a command may each be allowed by another."""
        rules = [
            rule for rule in self.rules if rule.verdict is Verdict.ALLOW and allows(rule, facts)
        ]
        if not facts.subject.command:
            return rules[0] if rules else None
        command = facts.subject.command.strip()
        for rule in rules:
            if not rule.command or (
                rule.command.strip() == command and not _is_pattern(rule.command)
            ):
                return rule
        if facts.parts is None:
            return None
        by_part = [
            next((rule for rule in rules if covers_part(rule.command, part)), None)
            for part in facts.parts
        ]
        return by_part[0] if all(by_part) else None

    def hides(self, path: str, tool: str = "") -> bool:
        """Whether a deny rule covers this path (relative to the workspace), for tools that walk a tree."""
        return any(
            rule.verdict is Verdict.DENY
            and rule.path
            and matches(rule.tool, tool or "*")
            and _covers_tree(rule.path, path)
            for rule in self.rules
        )

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
        if effect is Effect.EXECUTE:
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


def touches(rule: Rule, facts: Facts) -> bool:
    """Whether a rule that denies or asks is about any part of this call. In doubt it is."""
    return (
        facts.named_by(rule)
        and (not rule.command or any(_loosely(rule.command, piece) for piece in facts.fragments))
        and (not rule.path or any(_covers_tree(rule.path, path) for path in facts.paths))
        and (
            not rule.url
            or (bool(facts.subject.url) and Address.touches(rule.url, facts.subject.url))
        )
    )


def allows(rule: Rule, facts: Facts) -> bool:
    """Whether a rule that allows fits this call, its command still to be looked at. In doubt it does not.

    A rule that names a path does not speak for a call that also has a command or an address it is silent about.
    """
    subject = facts.subject
    if not facts.named_by(rule):
        return False
    if not (rule.command or rule.path or rule.url):
        return True
    if any(bool(has) and not named for has, named in _aspects(rule, subject)):
        return False
    return (
        (not rule.command or bool(subject.command))
        and (
            not rule.path
            or (bool(facts.paths) and all(path_matches(rule.path, path) for path in facts.paths))
        )
        and (not rule.url or (facts.address is not None and facts.address.allowed_by(rule.url)))
    )


def _aspects(rule: Rule, subject: Subject) -> Iterable[tuple[object, str]]:
    return (subject.command, rule.command), (subject.paths, rule.path), (subject.url, rule.url)


def covers_part(pattern: str, words: list[str]) -> bool:
    """Whether a command pattern allows one simple command, given as its words."""
    import shlex

    text = shlex.join(words)
    if not _is_pattern(pattern):
        exact = shell.parts(pattern)
        return exact == [words] or pattern.strip() == text
    if not (matches(pattern, text) or (pattern.endswith(" *") and matches(pattern[:-2], text))):
        return False
    return not shell.may_execute(words, _spelled_out(pattern))


def _spelled_out(pattern: str) -> int:
    """How many whole words stand before the first wildcard."""
    before = min(at for at in (pattern.find("*"), pattern.find("?")) if at >= 0)
    fixed = pattern[:before]
    words = fixed.split()
    return (
        len(words)
        if not fixed or fixed[-1] in " \t"
        else len(words) - (0 if _at_word_end(pattern, before) else 1)
    )


def _at_word_end(pattern: str, at: int) -> bool:
    """`git status*`: the last word counts as spelled out only if the wildcard ends the pattern."""
    return at == len(pattern) - 1


def _loosely(pattern: str, piece: str) -> bool:
    return matches(pattern, piece) or (pattern.endswith(" *") and matches(pattern[:-2], piece))


def _covers_tree(pattern: str, path: str) -> bool:
    """Whether a pattern covers the path or a directory above it."""
    names = path.split("/")
    return any(path_matches(pattern, "/".join(names[:end])) for end in range(len(names), 0, -1))


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


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
