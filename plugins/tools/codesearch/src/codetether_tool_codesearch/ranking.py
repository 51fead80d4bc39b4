"""Three rankings made one: exact names first, then BM25 and meaning by reciprocal rank fusion.

Fusion after Cormack, Clarke and Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
methods", SIGIR 2009: an entry scores 1 / (60 + rank) in each ranking. It needs no scores that could be compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from codetether_tool_codesearch import words
from codetether_tool_codesearch.meaning import Vectors
from codetether_tool_codesearch.store import Found, Store

K = 60
DEPTH = 100  # entries taken of each ranking
SAME_NAME = 20
# What is outside definitions says less than a definition, and so does a constant's name alone.
_TEST = re.compile(
    r"(^|/)(tests?|specs?|__tests__)/|(^|/)test_|_test\.|\.(test|spec)\.", re.IGNORECASE
)
TEST_SHARE = 0.92  # tests speak of everything; who wants them says so
SHARES = {"file": 0.5, "text": 0.7, "constant": 0.7}


def fused(rankings: Sequence[Sequence[int]]) -> dict[int, float]:
    """The score of everything in any of the rankings."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, entry in enumerate(ranking, 1):
            scores[entry] = scores.get(entry, 0.0) + 1 / (K + rank)
    return scores


def search(
    store: Store, vectors: Vectors | None, query: str, limit: int, among: set[int] | None
) -> list[Found]:
    """The best `limit` symbols for a question, in an order that depends on nothing but the files."""
    store.limit_to(among)
    exact: list[int] = []
    for name in words.names(query):
        container, last = words.last_part(name)
        exact += (each for each in store.by_name(last, container, SAME_NAME) if each not in exact)
    rankings = [store.by_words(asked, DEPTH)] if (asked := words.wanted(query)) else []
    if vectors is not None:
        near = vectors.nearest(" ".join(words.wanted(query)), DEPTH, among)
        rankings.append([each for each, _ in near])
    scores = fused(rankings)
    found = store.found([*dict.fromkeys([*exact, *scores])])
    place = {each: at for at, each in enumerate(exact)}

    tests = "test" in query.casefold()

    def order(each: Found) -> tuple[float, float, str, int]:
        share = SHARES.get(each.kind, 1.0)
        if not tests and _TEST.search(each.path):
            share *= TEST_SHARE
        return (
            place.get(each.id, len(place)),
            -scores.get(each.id, 0.0) * share,
            each.path,
            each.first,
        )

    return sorted(found.values(), key=order)[:limit]
