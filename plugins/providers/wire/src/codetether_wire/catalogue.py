"""What is known about a provider's models: a dated data file beside the plugin, and what the vendor lists over it.

`models.json`: {"date", "source", "default", "traits": {...}, "exclude": [patterns], "models": [entries],
"families": [{"match": pattern, ...entry fields}]}. An entry holds `id`, the fields of ModelInfo, and `traits`. A family
gives facts to listed models that have no entry; the first pattern that matches counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import msgspec
from codetether.api import ModelInfo

CACHE_SECONDS = 24 * 3600
_FACTS = tuple(name for name in ModelInfo.__struct_fields__ if name not in ("id", "provider"))


class Traits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a model wants to be asked. Data, not code: set per provider, per family or per model in models.json.

    `limit_field`: the name of the output limit ("" sends none). `temperature` false: never sent; `fixed_temperature`
    wins over the request's. `usage` asks for token counts in the stream. `schema`: how a response schema is asked for.
    `replay`: the field that takes earlier reasoning back. `images`: whether pictures are sent; `result_images`: whether
    a tool's result may hold them. `signatures`: a call without the vendor's signature is refused. `cache_points`: where
    marks for the vendor's prompt cache go (system, tools, messages). `stream` false: the answer comes as one document.
    `extra` is merged into the body last. `dialect`: which of OpenAI's two languages is spoken, where a provider leaves it
    to the data.

    For the Messages dialect: schema `tool` asks for the answer as the arguments of a tool made for it; `most_output` is
    the largest limit the model takes; `thinking` the body's field of that name; `betas` the values of `anthropic-beta`;
    `marks` whether the prompt cache is steered by markers; `eager` whether arguments are streamed as they are written.

    For the Responses dialect: `phase`, whether earlier answers are marked as commentary or final.
    """

    limit_field: str = "max_tokens"
    default_limit: int | None = None
    temperature: bool = True
    fixed_temperature: float | None = None
    usage: bool = True
    schema: Literal["json_schema", "json_object", "tool", ""] = "json_schema"
    cache_key: bool = False
    tool_choice: bool = True
    system_role: Literal["system", "developer", "user"] = "system"
    replay: Literal[
        "",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "reasoning_opaque",
        "encrypted_content",
        "thinking",
    ] = ""
    images: bool = True
    most_output: int | None = None
    thinking: dict[str, Any] = {}
    betas: tuple[str, ...] = ()
    marks: bool = True
    eager: bool = False
    result_images: bool = True
    signatures: bool = False
    cache_points: tuple[Literal["system", "tools", "messages"], ...] = ()
    stream: bool = True
    extra: dict[str, Any] = {}
    dialect: Literal["chat", "responses"] = "chat"
    phase: bool = False


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts and manners of one model, or of a family when `match` is set."""

    id: str = ""
    match: str = ""
    name: str = ""
    context: int | None = None
    output: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None
    cache_write_price: float | None = None
    tools: bool | None = None
    images: bool | None = None
    reasoning: bool | None = None
    traits: dict[str, Any] = {}


class DataFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of models.json."""

    date: str = ""
    source: str = ""
    default: str = ""
    traits: dict[str, Any] = {}
    exclude: tuple[str, ...] = ()
    models: tuple[Entry, ...] = ()
    families: tuple[Entry, ...] = ()


class _Listing(msgspec.Struct):
    base_url: str
    at: float
    models: list[ModelInfo]


class Catalogue:
    """Facts of one provider. `cache` is the file the vendor's listing is kept in; None keeps nothing on disk."""

    def __init__(self, provider: str, data: DataFile, cache: Path | None = None) -> None:
        self.provider = provider
        self.data = data
        self._cache = cache
        self._entries = {entry.id: entry for entry in data.models}

    @classmethod
    def load(cls, provider: str, path: Path | None, cache: Path | None = None) -> Catalogue:
        """Read models.json at `path`; None or an absent file is an empty one."""
        data = DataFile()
        if path is not None and path.is_file():
            data = msgspec.json.decode(path.read_bytes(), type=DataFile)
        return cls(provider, data, cache)

    def entry(self, model_id: str) -> Entry:
        """The entry of a model, else of its family, else an empty one."""
        found = self._entries.get(model_id)
        if found is None:
            found = next((f for f in self.data.families if fnmatchcase(model_id, f.match)), Entry())
        return found

    def traits(self, model_id: str) -> Traits:
        """How to ask this model: the provider's traits, with the entry's over them."""
        entry = self.entry(model_id)
        return msgspec.convert({**self.data.traits, **entry.traits}, Traits)

    def info(self, model_id: str, listed: ModelInfo | None = None) -> ModelInfo:
        """Facts about a model: what the vendor listed, then the data file; the rest is None."""
        entry = self.entry(model_id)
        facts = {name: getattr(entry, name) for name in _FACTS}
        if listed is not None:
            told = {name: getattr(listed, name) for name in _FACTS}
            facts.update({name: value for name, value in told.items() if value not in (None, "")})
        return ModelInfo(id=model_id, provider=self.provider, **facts)

    def merged(self, listed: Sequence[ModelInfo] | None) -> list[ModelInfo]:
        """Every model: the listed ones (without the excluded), or without a listing those of the data file."""
        if listed is None:
            return [self.info(entry.id) for entry in self.data.models]
        return [self.info(model.id, model) for model in listed if not self._excluded(model.id)]

    def remembered(self, base_url: str = "", *, stale: bool = False) -> list[ModelInfo] | None:
        """The listing on disk, if it is of this address ("": of any) and younger than a day (of any age with `stale`)."""
        if self._cache is None:
            return None
        try:
            listing = msgspec.json.decode(self._cache.read_bytes(), type=_Listing)
        except (OSError, msgspec.DecodeError):
            return None
        young = 0 <= time.time() - listing.at < CACHE_SECONDS
        same = base_url in ("", listing.base_url)
        return listing.models if same and (young or stale) else None

    def remember(self, base_url: str, models: Sequence[ModelInfo]) -> None:
        """Keep a listing on disk. A full or read-only disk is no error: the cache is a convenience."""
        if self._cache is None:
            return
        from codetether.api import write_atomic

        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(
                self._cache, msgspec.json.encode(_Listing(base_url, time.time(), list(models)))
            )
        except OSError:
            return

    def _excluded(self, model_id: str) -> bool:
        return any(fnmatchcase(model_id, pattern) for pattern in self.data.exclude)


def listed_models(document: Any, provider: str) -> list[ModelInfo]:
    """The models of a `/models` answer in the OpenAI form, with the facts that some servers add."""
    rows = document.get("data") if isinstance(document, dict) else document
    if rows is None and isinstance(document, dict):
        rows = document.get("models")
    if not isinstance(rows, list):
        raise TypeError("the answer holds no list of models")
    models = [
        listed_model(row, provider) for row in rows if isinstance(row, dict) and row.get("id")
    ]
    return list({model.id: model for model in models}.values())


def listed_model(row: dict[str, Any], provider: str) -> ModelInfo:
    """One row. Unknown stays None."""
    context = _count(row, "context_length", "max_model_len", "context_window", "max_context_length")
    pricing = row.get("pricing") if isinstance(row.get("pricing"), dict) else {}
    assert isinstance(pricing, dict)
    return ModelInfo(
        id=str(row["id"]),
        provider=provider,
        name=row["name"] if isinstance(row.get("name"), str) else "",
        context=context,
        output=_count(row, "max_output_tokens", "max_completion_tokens"),
        input_price=_per_million(pricing.get("prompt")),
        output_price=_per_million(pricing.get("completion")),
        cached_price=_per_million(pricing.get("input_cache_read")),
    )


def _count(row: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = row.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _per_million(value: Any) -> float | None:
    try:
        price = float(value)
    except (TypeError, ValueError):
        return None
    return round(price * 1e6, 6) if 0 <= price < 1 else None
