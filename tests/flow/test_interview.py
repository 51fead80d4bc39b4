"""`ralph create-prd` asks a person at a terminal what is wanted, and a model drafts by what they say."""

from __future__ import annotations

import json

import pytest
from in_terminal import terminal

QUESTIONS = ("What shall be possible", "What is not part", "Rules to keep", "How would somebody")
DRAFT = {
    "feature": "CSV",
    "user_stories": [{"id": "US-1", "title": "Rows", "description": "Write rows."}],
    "quality_checks": {"test": "make test"},
}
WORDS = ("ralph", "create-prd", "-m", "local/scripted", "-p", "prd.json")


@pytest.fixture
def repository(place):
    place.write(README__md="a shop\n")
    return place


async def answers(screen, *typed):
    for question, keys in zip(QUESTIONS, typed, strict=False):
        await screen.until(question)
        await screen.type(keys)


async def test_what_a_person_answers_is_what_is_drafted(repository):
    async with (
        repository.model(json.dumps(DRAFT)) as model,
        terminal(repository, *WORDS) as screen,
    ):
        await answers(screen, "größer als\x7f: CSV\n", "\n", "no new dependencies\n", "\x04")
        assert await screen.end() == 0, screen.text
    made = json.loads((repository.work / "prd.json").read_text())
    assert made["user_stories"][0]["title"] == "Rows"
    [asked] = model.asked
    told = json.dumps(asked["messages"], ensure_ascii=False)
    assert "größer al: CSV" in told
    assert "no new dependencies" in told
    assert "What is not part" not in told
    assert "drafting" in screen.text
    assert "work by it: codetether ralph run -p prd.json" in screen.text


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [(("CSV\n", "\x03"), 130, ""), (("\n", "\n", "\n", "\n"), 2, "nothing was said"), (("\x04",), 2, "nothing was said")],
)  # fmt: skip
async def test_who_says_nothing_or_leaves_gets_no_document(repository, typed, code, said):
    async with repository.model() as model, terminal(repository, *WORDS) as screen:
        await answers(screen, *typed)
        assert await screen.end() == code, screen.text
    assert said in screen.text
    assert "Traceback" not in screen.text
    assert not (repository.work / "prd.json").exists()
    assert model.asked == []
