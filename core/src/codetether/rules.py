"""Permission rules, and whether one speaks for a call: in doubt a rule that tightens does, one that loosens does not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from codetether.globs import matches, path_matches
from codetether.grants import Grant
from codetether.words import Subject, ToolCall, Verdict

if TYPE_CHECKING:
    from codetether.ports import Tool
    from codetether.session import Session
    from codetether.settings import RuleSettings
    from codetether.urls import Address

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
        from codetether import shell

        return shell.fragments(self.subject.command)

    @cached_property
    def parts(self) -> list[list[str]] | None:
        """The simple commands the command surely is, or None."""
        from codetether import shell

        return shell.parts(self.subject.command)

    @cached_property
    def address(self) -> Address | None:
        """The address, or None when there is none or it is not plainly one."""
        from codetether.urls import Address

        return Address.read(self.subject.url) if self.subject.url else None

    def touches_url(self, pattern: str) -> bool:
        """Whether the address may be one that `pattern` means. In doubt it is."""
        from codetether.urls import Address

        return Address.touches(pattern, self.subject.url)

    def named_by(self, rule: Rule) -> bool:
        """Whether the rule is about this tool, by its name or an alias."""
        return any(matches(rule.tool, name) for name in (self.tool.name, *self.tool.aliases))

    @cached_property
    def covers(self) -> tuple[Grant, ...]:
        """What a grant for this call would cover, narrowly."""
        tool, subject = self.tool.name, self.subject
        if self.tool.foreign:
            return (Grant(tool, "tool", digest_of(self.tool)),)
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


def touches(rule: Rule, facts: Facts) -> bool:
    """Whether a rule that denies or asks is about any part of this call. In doubt it is."""
    return (
        facts.named_by(rule)
        and (not rule.command or any(_loosely(rule.command, piece) for piece in facts.fragments))
        and (not rule.path or any(covers_tree(rule.path, path) for path in facts.paths))
        and (not rule.url or (bool(facts.subject.url) and facts.touches_url(rule.url)))
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


def says_where(rule: Rule, facts: Facts) -> bool:
    """Whether a rule that allows says where things may go: the address, the command, or whose tool it is."""
    return bool(rule.command or rule.url or (facts.tool.foreign and rule.tool.strip("*?")))


def _aspects(rule: Rule, subject: Subject) -> Iterable[tuple[object, str]]:
    return (subject.command, rule.command), (subject.paths, rule.path), (subject.url, rule.url)


def covers_part(pattern: str, words: list[str]) -> bool:
    """Whether a command pattern allows one simple command, given as its words."""
    import shlex

    from codetether import shell

    text = shlex.join(words)
    if not is_pattern(pattern):
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


def covers_tree(pattern: str, path: str) -> bool:
    """Whether a pattern covers the path or a directory above it."""
    names = path.split("/")
    return any(path_matches(pattern, "/".join(names[:end])) for end in range(len(names), 0, -1))


def digest_of(tool: Tool[Any]) -> str:
    """Another one when a tool is another than it said: what a person granted was the tool that was described."""
    import hashlib

    told = msgspec.json.encode(tool.schema(), order="deterministic")
    return hashlib.sha256(told).hexdigest()[:32]


def is_pattern(text: str) -> bool:
    return "*" in text or "?" in text
