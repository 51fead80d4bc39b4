"""Texts as vectors, by the static embedding model in the package `wordllama`: one vector per token, and their mean.

Only its two data files are used. The package itself takes 0.7 s to import, looks for its tokenizer in a folder it does
not have, and then downloads it. A static model is chosen because it is measured at 6,000 texts a second on one core; a
small transformer is a hundred times slower, too slow for an index made while somebody waits (docs/codesearch.md).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from codetether_tool_codesearch.entries import Symbol
from codetether_tool_codesearch.words import joined, split

SIZE = 256  # numbers of a vector, kept as one byte each
WEIGHTS, TOKENIZER = (
    "weights/l2_supercat_256.safetensors",
    "tokenizers/l2_supercat_tokenizer_config.json",
)
BEGINNING, CHARACTERS = (
    200,
    700,
)  # of a body without a comment, and of a whole text, that go into a vector


def folder() -> str:
    """Where the model is, or "" when it is not installed."""
    spec = importlib.util.find_spec("wordllama")
    place = os.path.dirname(spec.origin or "") if spec is not None else ""
    whole = place and all(os.path.exists(f"{place}/{name}") for name in (WEIGHTS, TOKENIZER))
    return place if whole else ""


def text_of(path: str, symbol: Symbol) -> str:
    """What an entry means, in words: its names, and the first paragraph about it or, without one, how it begins.

    More text makes it worse, measured by benchmarks/bench_codesearch.py: a mean of many words means nothing in particular.
    """
    about = symbol.doc.partition("\n\n")[0] or symbol.body[:BEGINNING]
    where = " ".join(path.rpartition(".")[0].split("/")[-2:])
    parts = (split(symbol.name), split(symbol.container), split(where), split(about))
    return joined(parts)[:CHARACTERS].lower()


class Model:
    """The model in memory (40 MB); loading takes about 0.1 s, numpy's import another 0.1 s."""

    def __init__(self, place: str) -> None:
        import numpy as np
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._np = np
        self._tokens: Any = Tokenizer.from_file(f"{place}/{TOKENIZER}")
        self._tokens.no_padding()
        self._tokens.no_truncation()
        self._table = load_file(f"{place}/{WEIGHTS}")["embedding.weight"].astype(np.float32)

    def vectors(self, texts: Sequence[str]) -> Any:
        """One row of SIZE float32 for each text, of length 1; zeros for a text without tokens."""
        np = self._np
        rows = [
            each.ids for each in self._tokens.encode_batch(list(texts), add_special_tokens=False)
        ]
        lengths = np.array([len(ids) for ids in rows])
        found = np.zeros((len(rows), SIZE), np.float32)
        filled = np.flatnonzero(lengths)
        if len(filled):
            flat = np.fromiter(
                (token for ids in rows for token in ids), np.int32, int(lengths.sum())
            )
            starts = np.concatenate(([0], np.cumsum(lengths[filled])[:-1]))
            found[filled] = np.add.reduceat(self._table[flat], starts, axis=0)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)

    def packed(self, texts: Sequence[str]) -> bytes:
        """The vectors with one byte a number, each scaled to its largest."""
        np = self._np
        found = self.vectors(texts)
        scale = np.maximum(np.abs(found).max(axis=1, keepdims=True), 1e-9)
        packed: bytes = np.rint(found / scale * 127).astype(np.int8).tobytes()
        return packed


class Vectors:
    """The vectors of all indexed files, side by side."""

    CHUNK = 8192

    def __init__(self, model: Model) -> None:
        import numpy as np

        self._np = np
        self.model = model
        self._files: dict[int, tuple[int, Any, Any]] = {}
        self._joined: tuple[Any, Any, Any, Any] | None = None

    def known(self) -> set[int]:
        """The files (by their id) whose vectors are here."""
        return set(self._files)

    def put(self, file: int, first: int, packed: bytes) -> None:
        """The vectors of one file, whose symbols count from the id `first`."""
        rows = self._np.frombuffer(packed, self._np.int8).reshape(-1, SIZE)
        wide = rows.astype(self._np.float32)
        norms = self._np.sqrt(self._np.einsum("ij,ij->i", wide, wide))
        self._files[file] = first, rows, self._np.maximum(norms, 1e-9)
        self._joined = None

    def drop(self, files: set[int]) -> None:
        """Forget files."""
        for file in files & set(self._files):
            del self._files[file]
            self._joined = None

    def nearest(self, query: str, most: int, among: set[int] | None) -> list[tuple[int, float]]:
        """Symbols (by id) nearest in meaning, nearest first, with their cosine; `among` these files only."""
        np = self._np
        if not self._files:
            return []
        if self._joined is None:
            self._joined = self._join()
        matrix, norms, ids, files = self._joined
        asked = self.model.vectors([query.lower()])[0]
        scores = np.empty(len(matrix), np.float32)
        for at in range(0, len(matrix), self.CHUNK):
            scores[at : at + self.CHUNK] = matrix[at : at + self.CHUNK].astype(np.float32) @ asked
        scores /= norms
        if among is not None:
            scores[~np.isin(files, np.fromiter(among, np.int64, len(among)))] = -1
        most = min(most, len(scores))
        best = np.argpartition(-scores, most - 1)[:most]
        best = best[np.lexsort((ids[best], -scores[best]))]
        return [(int(ids[at]), float(scores[at])) for at in best if scores[at] > 0]

    def _join(self) -> tuple[Any, Any, Any, Any]:
        np = self._np
        each = sorted(self._files.items())
        matrix = np.concatenate([rows for _, (_, rows, _) in each])
        norms = np.concatenate([lengths for _, (_, _, lengths) in each])
        ids = np.concatenate([np.arange(first, first + len(rows)) for _, (first, rows, _) in each])
        files = np.repeat([file for file, _ in each], [len(rows) for _, (_, rows, _) in each])
        return matrix, norms, ids, files
