"""A question on the screen: its answers, the one under the cursor, and what a key means."""

from __future__ import annotations

from codetether.api import Answer, Choice, Question

APPROVAL = (
    Choice("once", "yes, once"),
    Choice("session", "yes, for this session"),
    Choice("project", "yes, always in this project"),
    Choice("deny", "no"),
)
LETTERS = {"once": "y", "session": "s", "project": "p", "deny": "n"}
REASON = "r"
GUARD = 0.4  # seconds in which a key that was meant for the input answers nothing


class Ask:
    """One question. `since` is when it was shown; `reasoning`: a reason for the denial is being typed."""

    def __init__(self, question: Question, since: float) -> None:
        self.question = question
        self.since = since
        self.at = 0
        self.scroll = 0
        self.reasoning = False
        self.choices = question.choices or (APPROVAL if question.kind == "approval" else ())
        keys = [choice.key for choice in self.choices]
        if question.kind != "approval" and question.default in keys:
            self.at = keys.index(question.default)

    @property
    def letters(self) -> list[str]:
        """The key of each choice: its own letter, else its number."""
        return [
            LETTERS.get(choice.key, str(number) if number < 10 else " ")
            for number, choice in enumerate(self.choices, 1)
        ]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Key and label of each answer."""
        rows = [
            (letter, choice.label or choice.key)
            for letter, choice in zip(self.letters, self.choices, strict=True)
        ]
        if any(choice.key == "deny" for choice in self.choices):
            rows.append((REASON, "no, and tell the model why"))
        return rows

    def move(self, step: int) -> None:
        """The cursor up or down."""
        if self.rows:
            self.at = (self.at + step) % len(self.rows)

    def key(self, letter: str, now: float) -> Answer | None:
        """The answer that a key gives. None: none yet (or a reason is to be typed)."""
        if now - self.since < GUARD:
            return None
        letters = [row[0] for row in self.rows]
        if letter.lower() not in letters:
            return None
        self.at = letters.index(letter.lower())
        return self._chosen()

    def enter(self, text: str, now: float) -> Answer | None:
        """What Enter means: the words typed, or the answer under the cursor."""
        if self.reasoning:
            return Answer("deny", text.strip())
        if self.question.kind == "text" and (text.strip() or not self.rows):
            return self._named(text.strip().casefold()) or Answer("text", text)
        if text.strip() or now - self.since < GUARD:
            return None
        return self._chosen() if self.rows else Answer("text", text)

    def _named(self, word: str) -> Answer | None:
        """The choice whose number, key or whole label was typed."""
        for letter, choice in zip(self.letters, self.choices, strict=True):
            if word in (letter, choice.key.casefold(), choice.label.casefold()):
                return Answer(choice.key)
        return None

    def _chosen(self) -> Answer | None:
        if self.at < len(self.choices):
            return Answer(self.choices[self.at].key)
        self.reasoning = True
        return None
