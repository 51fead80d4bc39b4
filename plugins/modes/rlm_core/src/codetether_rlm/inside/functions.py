"""What a model can call, in commands and in Python alike."""

from __future__ import annotations

from codetether_rlm.inside.link import Link, plain
from codetether_rlm.inside.texts import READ, Seen, Text, sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

CHUNK = 64_000  # bytes
SHOWN = 40  # of a long list
NAMED = 20
SENT = 8 << 20  # characters of one batch, of which each may be six bytes on the way


class Final(BaseException):
    """The answer was given; the cell ends here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class NoAnswer(Exception):
    """A sub-call failed; the text says why."""


class Hit(str):  # noqa: SLOT000 - cells may add to it
    """A line that matched, without its end. `source`, `line` (from 1), `start` (byte)."""

    source: str
    line: int
    start: int

    def __reduce__(self) -> tuple[object, ...]:
        return _hit, (str.__str__(self), self.source, self.line, self.start)


class Reply(str):  # noqa: SLOT000 - cells may add to it
    """A sub-call's answer. `error` says why it is empty, or is None."""

    error: str | None = None


class Part:
    """A chunk of a source: `text`, `start` and `end` (bytes), `first_line`, `last_line`, `title`."""

    def __init__(  # noqa: PLR0917
        self, source: Text, start: int, end: int, first: int, last: int, title: str
    ) -> None:
        self.source = source
        self.start, self.end = start, end
        self.first_line, self.last_line = first, last
        self.title = title

    @property
    def text(self) -> str:
        """What it says; that counts as seen."""
        return self.source.between(self.start, self.end)

    def __len__(self) -> int:
        return self.end - self.start

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        where = f"{self.source.name}:{self.first_line}-{self.last_line}"
        return f"{where} ({self.end - self.start:,} bytes) {self.title}"


class Bundle(Part):
    """Several whole sources that are small, as one chunk: `parts`. Its text has each below a line with its name."""

    def __init__(self, parts: list[Part]) -> None:
        names = f"{parts[0].source.name} to {parts[-1].source.name}"
        super().__init__(parts[0].source, 0, sum(map(len, parts)), 1, parts[0].last_line, names)
        self.parts = parts

    @property
    def text(self) -> str:
        """What they say; that counts as seen."""
        return "\n".join(f"=== {part.source.name} ===\n{part.text}" for part in self.parts)

    def __repr__(self) -> str:
        return f"{len(self.parts)} sources ({len(self):,} bytes), {self.title}"


def _together(parts: list[Part]) -> list[Part]:
    return [Bundle(parts)] if len(parts) > 1 else parts


class Hits(list[Hit]):
    """Lines that matched. `more`: there are others."""

    more = False

    def __getitem__(self, part: Any) -> Any:
        found = super().__getitem__(part)
        return Hits(found) if isinstance(part, slice) else found

    def __repr__(self) -> str:
        if not self:
            return "(no matches)"
        several = len(sources) > 1
        told = [
            f"{hit.source}:{hit.line}: {hit}" if several else f"{hit.line}: {hit}" for hit in self
        ]
        return "\n".join(
            [
                *told,
                *(["[there are more: raise limit, or narrow the pattern]"] if self.more else []),
            ]
        )

    __str__ = __repr__


def _hit(text: str, source: str, line: int, start: int) -> Hit:
    hit = Hit(text)
    hit.source, hit.line, hit.start = source, line, start
    return hit


class Functions:
    """The functions over the sources. `printed` takes what they tell the model beside their result."""

    def __init__(
        self, link: Link, seen: Seen, printed: Callable[[str], object], variables: dict[str, Any]
    ) -> None:
        self._link = link
        self._seen = seen
        self._printed = printed
        self._variables = variables
        self.asked = 0
        self.failed = 0

    def table(self) -> dict[str, Callable[..., Any]]:
        """All by name."""
        names = (
            "head tail slice grep count lines chunks llm_query llm_query_batched FINAL FINAL_VAR"
        )
        return {name: getattr(self, name) for name in names.split()}

    def _one(self, source: str | Text | None) -> Text:
        if isinstance(source, Text):
            return source
        if source is None and len(sources) == 1:
            return next(iter(sources.values()))
        if source in sources:
            return sources[source]
        names = ", ".join(map(repr, list(sources)[:NAMED]))
        more = f" and {len(sources) - NAMED} more" if len(sources) > NAMED else ""
        what = "name a source" if source is None else f"there is no source {source!r}"
        raise ValueError(f"{what}: {names}{more}")

    def _names(self, source: str | Text | None) -> list[str]:
        return list(sources) if source is None else [self._one(source).name]

    # --- reading ---
    def head(self, n: int = 10, source: str | Text | None = None) -> str:
        """The first n lines."""
        return self._cut_told(self._one(source).first(n))

    def tail(self, n: int = 10, source: str | Text | None = None) -> str:
        """The last n lines."""
        return self._cut_told(self._one(source).last(n))

    def _cut_told(self, text: str) -> str:
        """`text`, of which there may have been more than is read at once: who counts in it must know."""
        if len(text) > READ // 4 and len(text.encode()) > READ - 4:
            self._printed(f"[cut at {READ >> 20} MB: ask for fewer lines]\n")
        return text

    def slice(self, start: int, end: int, source: str | Text | None = None) -> str:
        """Lines start to end, from 1, both included."""
        return self._one(source).between_lines(start, end)

    def lines(self, source: str | Text | None = None) -> int:
        """How many lines."""
        return sum(sources[name].lines() for name in self._names(source))

    def grep(
        self,
        pattern: str,
        source: str | Text | None = None,
        limit: int = 100,
        ignore_case: bool = False,
    ) -> Hits:
        """The lines that match a regular expression, as ripgrep's, at most `limit`."""
        answer = self._search(pattern, source, limit=max(1, int(limit)), ignore_case=ignore_case)
        hits = Hits(_hit(*found) for found in answer["hits"])
        hits.more = answer["more"]
        for hit in hits:
            self._seen.add_lines(hit.source, hit.line, hit.line)
        return hits

    def count(
        self, pattern: str, source: str | Text | None = None, ignore_case: bool = False
    ) -> int:
        """How often a regular expression matches."""
        return int(self._search(pattern, source, limit=0, ignore_case=ignore_case)["count"])

    def _search(self, pattern: str, source: str | Text | None, **how: Any) -> dict[str, Any]:
        if not isinstance(pattern, str) or not pattern:
            raise ValueError("the pattern must be a str that is not empty")
        names = None if source is None else self._names(source)
        answer = self._link.ask("grep", pattern=plain(pattern), sources=names, **how)
        if answer.get("error"):
            raise ValueError(answer["error"])
        return answer

    def chunks(self, n: int = 0, source: str | Text | None = None, size: int = CHUNK) -> list[Part]:
        """All of a source, or of all, in parts that end where its kind has seams: about n parts, or of `size` bytes.
        Sources that are small are put together.
        """
        from codetether_rlm.chunking import chunks

        texts = [sources[name] for name in self._names(source)]
        if n > 0:
            size = -(-sum(map(len, texts)) // n)
        found: list[Part] = []
        small: list[Part] = []
        room = size
        for text in texts:
            cut = chunks(_Bytes(text), text.kind, target_bytes=size)
            parts = [Part(text, *chunk) for chunk in cut]
            if len(parts) > 1 or len(text) > room:
                found += _together(small)
                small, room = [], size
            if len(parts) > 1:
                found += parts
            else:
                small += parts
                room -= len(text)
        return found + _together(small)

    # --- asking ---
    def llm_query(self, prompt: str, context: object = "") -> str:
        """A sub-model's answer to `prompt` about `context`. Raises NoAnswer."""
        reply = self._ask([(prompt, context)])[0]
        if reply.error is not None:
            raise NoAnswer(reply.error)
        return reply

    def llm_query_batched(
        self, prompts: Iterable[object], contexts: Iterable[object] = ()
    ) -> list[Reply]:
        """Many at once, answers in the same order; one that failed is empty, and its `error` says why."""
        asked, about = list(prompts), list(contexts)
        if about and len(about) != len(asked):
            raise ValueError(f"{len(asked)} prompts and {len(about)} contexts")
        replies = self._ask(list(zip(asked, about or [""] * len(asked), strict=True)))
        errors = [reply.error for reply in replies if reply.error is not None]
        if errors:
            self._printed(f"[{len(errors)} of {len(replies)} sub-calls failed: {errors[0]}]\n")
        return replies

    def _ask(self, pairs: list[tuple[object, object]]) -> list[Reply]:
        queries = []
        for prompt, context in pairs:
            if isinstance(prompt, tuple) and len(prompt) == 2:
                prompt, context = prompt  # noqa: PLW2901
            asked: dict[str, Any] = {"prompt": plain(as_text(prompt))}
            where = _places(context)
            if where is not None:
                asked["parts"] = where
            else:
                asked["context"] = plain(as_text(context))
            queries.append(asked)
        if not queries:
            return []
        if sum(len(each["prompt"]) + len(each.get("context", "")) for each in queries) > SENT:
            raise ValueError(
                "too much text at once: ask fewer, or give chunks themselves, not their text"
            )
        answer = self._link.ask("query", queries=queries)
        if answer.get("error"):
            raise ValueError(answer["error"])
        replies = []
        for asked, (text, error) in zip(queries, answer["replies"], strict=True):
            reply = Reply(text)
            reply.error = error
            replies.append(reply)
            if error is None:  # else nobody has read it
                for name, start, end in asked.get("parts", ()):
                    self._seen.add_bytes(sources[name], start, end)
        self.asked += len(replies)
        self.failed += sum(reply.error is not None for reply in replies)
        return replies

    # --- answering ---
    def FINAL(self, answer: object) -> None:  # noqa: N802 - the name models know
        """The answer. Nothing after it is run."""
        raise Final(as_text(answer))

    def FINAL_VAR(self, name: str) -> None:  # noqa: N802 - the name models know
        """The value of a variable is the answer."""
        if not isinstance(name, str):
            raise Final(as_text(name))
        if name not in self._variables:
            raise NameError(f"there is no variable {name!r}")
        raise Final(as_text(self._variables[name]))


def _places(context: object) -> list[tuple[str, int, int]] | None:
    """Where parts of sources are: the parent reads them there, instead of being sent a copy."""
    if isinstance(context, Bundle):
        return [(part.source.name, part.start, part.end) for part in context.parts]
    if isinstance(context, Part):
        return [(context.source.name, context.start, context.end)]
    return [(context.name, 0, len(context))] if isinstance(context, Text) else None


class _Bytes:
    """A source as chunking wants it: slices are bytes, and looking is not seeing."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __len__(self) -> int:
        return len(self._text)

    def __getitem__(self, part: slice) -> bytes:
        return self._text.bytes_of(part.start, part.stop)


def as_text(value: object) -> str:
    """A value as the words a model or a person reads."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Hits):
        return repr(value)
    if (
        isinstance(value, list | tuple)
        and value
        and all(isinstance(each, str | Part | Text) for each in value)
    ):
        return "\n".join(as_text(each) for each in value)
    return str(value)


def shown(value: object) -> str:
    """A value as it is echoed: text as it is, long lists not whole."""
    if isinstance(value, str | Hits):
        return as_text(value)
    if isinstance(value, list) and value and all(isinstance(each, Part) for each in value):
        told = [f"[{number}] {part!r}" for number, part in enumerate(value[:SHOWN])]
        more = len(value) - SHOWN
        return "\n".join([*told, *([f"[and {more} more]"] if more > 0 else [])])
    return repr(value)
