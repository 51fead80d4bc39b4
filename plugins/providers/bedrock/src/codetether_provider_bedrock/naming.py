"""Names of models: short ones for people, the ids Bedrock knows, and the geography in front of them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from codetether_wire import Catalogue, Entry

if TYPE_CHECKING:
    from collections.abc import Container

_GEO = re.compile(r"^(?:us|eu|apac|jp|au|global|us-gov)\.")
_TEMPLATE = "{geo}."
_LOCAL = {
    "ap-northeast-1": "jp",
    "ap-northeast-3": "jp",
    "ap-southeast-2": "au",
    "ap-southeast-4": "au",
}
_GEOGRAPHIES = (("us-gov-", "us-gov"), ("us-", "us"), ("ca-", "us"), ("eu-", "eu"), ("ap-", "apac"))


class _Aliases(msgspec.Struct, frozen=True):
    date: str
    source: str
    ids: dict[str, tuple[str, ...]]


@cache
def aliases() -> _Aliases:
    """aliases.json: for each id (with `{geo}.` where only an inference profile answers) the names people use."""
    path = Path(__file__).with_name("aliases.json")
    return msgspec.json.decode(path.read_bytes(), type=_Aliases)


@cache
def _by_name() -> dict[str, str]:
    return {_plain(name): wire for wire, names in aliases().ids.items() for name in names}


@cache
def _first_names() -> dict[str, str]:
    return {wire.removeprefix(_TEMPLATE): names[0] for wire, names in aliases().ids.items()}


def _plain(name: str) -> str:
    return name.lower().replace(".", "-")


def geographies(region: str) -> tuple[str, ...]:
    """The prefixes of inference profiles that a region may use, the usual one first."""
    usual = next((geo for start, geo in _GEOGRAPHIES if region.startswith(start)), None)
    found = (usual, _LOCAL.get(region), "global")
    return tuple(geo for geo in found if geo)


def wire_id(model: str, region: str, listed: Container[str] = ()) -> str:
    """The id of a model named by an alias; any other name is the id and stays as it is. Of the profiles that could be
    meant, one that AWS `listed` is taken, else the one of the region's own geography.
    """
    wire = _by_name().get(_plain(model))
    if wire is None:
        return model
    if not wire.startswith(_TEMPLATE):
        return wire
    base = wire.removeprefix(_TEMPLATE)
    choices = [f"{geo}.{base}" for geo in geographies(region)]
    return next((choice for choice in choices if choice in listed), choices[0])


def without_geography(model: str) -> str:
    """`anthropic.claude-...` of `us.anthropic.claude-...`."""
    return _GEO.sub("", model)


def first_name(model: str) -> str:
    """The name our data knows a model by, whichever way it is named."""
    wire = _by_name().get(_plain(model))
    base = without_geography(model) if wire is None else wire.removeprefix(_TEMPLATE)
    return _first_names().get(base, base)


class BedrockCatalogue(Catalogue):
    """Facts are kept once for a model, and hold for all its names and profiles."""

    def entry(self, model_id: str) -> Entry:
        """The entry of a model by any of its names."""
        return super().entry(first_name(model_id))
