"""Keeps secrets out of everything that is shown, logged or written.

Two lines: the values themselves, registered when they are loaded, in every form they may appear in; and the shapes of
well-known keys, for those nobody registered.
"""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 4
ANYWHERE = 8

# Values people store where no key is needed; masking them would only destroy text.
_PLACEHOLDERS = frozenset(
    (
        *(
            "none",
            "null",
            "true",
            "false",
            "empty",
            "test",
            "dummy",
            "local",
            "key",
            "token",
            "secret",
        ),
        *("password", "changeme", "no-key", "nokey", "not-needed", "unused"),
        *("ollama", "lm-studio", "llama"),
    )
)

# What must be in a text before its pattern is tried: `in` costs a tenth of a search by regular expression. Patterns
# are compiled (and kept, by re) when first tried: most runs see none of these.
_SHAPES: tuple[tuple[str, str], ...] = (
    ("sk-", r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}"),
    ("AIza", r"AIza[A-Za-z0-9_-]{30,}"),
    ("AKIA", r"(?<![A-Z0-9])AKIA[A-Z0-9]{16}(?![A-Z0-9])"),
    ("ghp_", r"ghp_[A-Za-z0-9]{30,}"),
    ("gho_", r"gho_[A-Za-z0-9]{30,}"),
    ("ghs_", r"ghs_[A-Za-z0-9]{30,}"),
    ("github_pat_", r"github_pat_[A-Za-z0-9_]{40,}"),
    ("hvs.", r"hvs\.[A-Za-z0-9_-]{20,}"),
    ("xox", r"xox[abprs]-[A-Za-z0-9-]{20,}"),
    ("eyJ", r"eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{10,}"),
    ("earer ", r"(?<=earer )[A-Za-z0-9._~+/=-]{20,}"),
    ("PRIVATE KEY-----", r"(?s)(?<=PRIVATE KEY-----)[A-Za-z0-9+/=\\\s]{40,}(?=-----END|$)"),
)
# Every shape but the last has so many of these in a row. In a large text that is looked for first: it costs a fifth of
# looking for the shapes, and most prose and logs hold nothing so long.
_RUN = b"a" * 20
_IN_KEYS = bytes(
    97 if (chr(code).isalnum() and code < 128) or chr(code) in "._~+/=-" else 32
    for code in range(256)
)
_LARGE = 4_096


class Redactor:
    """Replaces secrets by `***`. Cheap when there are none: a substring test per known form and shape, measured at
    0.2 to 0.4 µs per KB and secret, and 4 to 8 µs per KB for all shapes together.

    A value shorter than 4 characters, or a placeholder such as `none` or `ollama`, is not a secret and is left alone;
    one of 4 to 7 characters is masked only where it stands alone, so that ordinary words keep their letters; a longer
    one is masked everywhere, also URL-encoded, in base64 (at any offset) and escaped as in JSON.
    """

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._words: re.Pattern[str] | None = None
        self._short: set[str] = set()

    def add(self, secret: str) -> None:
        """Register a value. Adding it again costs nothing."""
        secret = secret.strip()
        if len(secret) < SHORTEST or secret.lower() in _PLACEHOLDERS:
            return
        if len(secret) < ANYWHERE:
            self._short.add(secret)
            words = "|".join(re.escape(word) for word in sorted(self._short, key=len, reverse=True))
            self._words = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])")
            return
        if secret not in self._forms:
            # Longest first: a form that contains another must be masked whole.
            self._forms = tuple(sorted({*self._forms, *_forms(secret)}, key=len, reverse=True))

    def text(self, text: str) -> str:
        """`text` without secrets. A text without any is returned as it is."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        if self._short and any(word in text for word in self._short):
            assert self._words is not None
            text = self._words.sub(MASK, text)
        for must, pattern in _SHAPES if _may_hold_keys(text) else _SHAPES[-1:]:
            if must in text:
                text = re.sub(pattern, MASK, text)
        return text

    @property
    def knows_any(self) -> bool:
        """Whether a value was registered."""
        return bool(self._forms or self._short)

    def open_from(self, text: str) -> int:
        """Where in a text that goes on something begins that may become a secret with what follows; its length when
        nothing does.
        """
        start = len(text)
        for form in (*self._forms, *self._short):
            # a short one counts only where it stands alone, which the next character tells
            longest = len(form) - (form not in self._short)
            at = text.find(form[0], max(len(text) - longest, 0), start)
            while at != -1:
                if form.startswith(text[at:]):
                    start = at
                    break
                at = text.find(form[0], at + 1, start)
        while (cut := self._cut_by(text, start)) < start:
            start = cut
        return start

    def _cut_by(self, text: str, start: int) -> int:
        """Where a form begins that is whole and goes on beyond `start`; it must not be cut there."""
        for form in self._forms:
            at = text.find(form, max(start - len(form) + 1, 0), start + len(form) - 1)
            if -1 < at < start:
                return at
        return start

    def __repr__(self) -> str:
        return "Redactor(***)"


def _may_hold_keys(text: str) -> bool:
    """Whether any shape but the last can be in `text`; a small one is not looked at."""
    if len(text) < _LARGE:
        return True
    return _RUN in text.encode("utf-8", "surrogatepass").translate(_IN_KEYS)


def _forms(secret: str) -> set[str]:
    """How a value may appear. A form must hold 8 characters, or it would hit ordinary text."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {
        secret,
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        _json_escaped(secret, ascii_only=True),
        _json_escaped(secret, ascii_only=False),
        *(part for encode in (b64encode, urlsafe_b64encode) for part in _base64_parts(raw, encode)),
    }
    return {form for form in forms if len(form) >= ANYWHERE}


def _json_escaped(secret: str, *, ascii_only: bool) -> str:
    import json

    return json.dumps(secret, ensure_ascii=ascii_only)[1:-1]


def _base64_parts(raw: bytes, encode: object) -> list[str]:
    """The characters of a base64 text that depend on `raw` alone, for the three ways it may be aligned in it
    (`user:KEY` in a Basic header).
    """
    assert callable(encode)
    parts: list[str] = []
    for before in range(3):
        text = encode(b"\0" * before + raw).decode("ascii")
        start = (before * 8 + 5) // 6
        end = (before + len(raw)) * 8 // 6
        parts.append(text[start:end])
    return parts
