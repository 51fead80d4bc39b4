"""A question as a person reads it, and the line they type as an answer."""

from __future__ import annotations

from codetether.api import Answer, Choice, Question, Style, clean

APPROVAL = (
    Choice("once", "yes, once"),
    Choice("session", "yes, for this session"),
    Choice("project", "yes, always in this project"),
    Choice("deny", "no"),
)
REASON = " (the model is told what you write after it)"
LETTERS = {"once": "y", "session": "s", "project": "p", "deny": "n"}
WORDS = {"yes": "once", "no": "deny"}


class Prompt:
    """One question. `text` is what to show; `answer(line)` is None for a line that answers nothing."""

    def __init__(self, question: Question, style: Style) -> None:
        self.question = question
        self.choices = question.choices or (APPROVAL if question.kind == "approval" else ())
        self.letters = _letters(self.choices)
        self._style = style

    @property
    def text(self) -> str:
        """Title, what would happen, the change, and the keys. Nothing in it is dropped or hidden."""
        style = self._style
        parts = [
            style.yellow(style.bold("? ")) + style.bold(clean(self.question.title, exact=True))
        ]
        if self.question.detail:
            detail = clean(self.question.detail, exact=True).rstrip("\n")
            parts.append("\n".join(f"    {line}" for line in detail.split("\n")))
        if self.question.diff:
            parts.append(style.diff(self.question.diff))
        if self.choices:
            parts += [f"  {self._key(choice)}" for choice in self.choices]
        if self.question.kind == "text" and self.choices:
            parts.append(style.dim("  or an answer in your own words"))
        return "\n".join(parts) + "\n" + style.yellow("> ")

    def _key(self, choice: Choice) -> str:
        more = REASON if choice.key == "deny" else ""
        if self.question.kind != "approval" and choice.key == self.question.default:
            more = " (or an empty line)"
        return f"{self._style.bold(self.letters[choice.key])} {clean(choice.label or choice.key)}{more}"

    @property
    def again(self) -> str:
        """Shown after a line that answers nothing."""
        return f"  type {', '.join(self.letters.values())}\n" + self._style.yellow("> ")

    def answer(self, line: str) -> Answer | None:
        """What the typed line means. An empty line is the question's default; an approval has none."""
        if self.question.kind == "approval" and self.choices:
            return self._chosen(line)
        if (answer := self._picked(line)) is not None:
            return answer
        if self.question.kind == "text" or not self.choices:
            return Answer("text", line)
        return self._chosen(line)

    def _picked(self, line: str) -> Answer | None:
        """A choice typed as its whole label, key or number, or meant by an empty line; also where words are free."""
        word = line.strip().casefold()
        if not word:
            return Answer(self.question.default) if self.question.default else None
        for choice in self.choices:
            if word in (self.letters[choice.key], choice.key.casefold(), choice.label.casefold()):
                return Answer(choice.key)
        return None

    def _chosen(self, line: str) -> Answer | None:
        """A choice by its key or number, and what was said after it."""
        word, _, rest = line.strip().partition(" ")
        if not word:
            default = self.question.default if self.question.kind != "approval" else ""
            return Answer(default) if default else None
        word = WORDS.get(word.lower(), word.lower())
        for choice in self.choices:
            if word in (choice.key.lower(), self.letters[choice.key]):
                return Answer(choice.key, rest.strip())
        return None


def _letters(choices: tuple[Choice, ...]) -> dict[str, str]:
    """A key for each choice: its own letter, else its number."""
    return {
        choice.key: LETTERS.get(choice.key, str(number)) for number, choice in enumerate(choices, 1)
    }
