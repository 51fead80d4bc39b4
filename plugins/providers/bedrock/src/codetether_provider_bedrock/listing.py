"""What AWS lists: models that answer by themselves, and inference profiles, which stand for models in several regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from codetether.api import ModelInfo

from codetether_provider_bedrock.naming import without_geography

MODELS_PATH = "/foundation-models"
PROFILES_PATH = "/inference-profiles?type=SYSTEM_DEFINED&maxResults=1000"
_OTHERS = ("rerank", "embed", "safeguard", "sonic", "pegasus")


def listed(models: Any, profiles: Any, provider: str) -> list[ModelInfo]:
    """The models that can be asked, by the id they are asked with. Raises TypeError or KeyError for odd documents."""
    speaking = {row["modelId"]: row for row in models["modelSummaries"] if _speaks(row)}
    found = [
        _info(model_id, row, row.get("modelName"), provider)
        for model_id, row in speaking.items()
        if "ON_DEMAND" in row.get("inferenceTypesSupported", ("ON_DEMAND",))
    ]
    for profile in profiles["inferenceProfileSummaries"]:
        row = speaking.get(without_geography(profile["inferenceProfileId"]))
        if row is not None and profile.get("status", "ACTIVE") == "ACTIVE":
            name = profile.get("inferenceProfileName")
            found.append(_info(profile["inferenceProfileId"], row, name, provider))
    return list(_unlike(found))


def _speaks(row: Mapping[str, Any]) -> bool:
    return (
        "TEXT" in row.get("outputModalities", ())
        and row.get("responseStreamingSupported") is not False
        and not any(word in row["modelId"] for word in _OTHERS)
    )


def _info(model_id: str, row: Mapping[str, Any], name: Any, provider: str) -> ModelInfo:
    images = row.get("inputModalities")
    return ModelInfo(
        id=model_id,
        provider=provider,
        name=name if isinstance(name, str) else "",
        images="IMAGE" in images if isinstance(images, list) else None,
    )


def _unlike(found: list[ModelInfo]) -> Iterator[ModelInfo]:
    seen: set[str] = set()
    for model in found:
        if model.id not in seen:
            seen.add(model.id)
            yield model
