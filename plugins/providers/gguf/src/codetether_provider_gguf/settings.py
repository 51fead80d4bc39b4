"""The settings of the provider."""

from __future__ import annotations

from typing import Annotated, Literal

from codetether_wire import WireSettings
from msgspec import Meta


class GgufSettings(WireSettings, frozen=True):
    """Where the files are, how they are run, and more patience than for a vendor."""

    model: Annotated[str, Meta(description="Default model; empty: the first file found")] = ""
    folder: Annotated[
        str, Meta(description="Where names are looked up; empty: `models` in the data directory")
    ] = ""
    backend: Annotated[
        Literal["auto", "llamacpp", "ctransformers"],
        Meta(description="Library that runs a file; auto: llama.cpp if it reads the file"),
    ] = "auto"
    context: Annotated[
        int, Meta(ge=256, description="Tokens of context at most; more take more memory")
    ] = 16384
    threads: Annotated[
        int, Meta(ge=1, description="Threads; more than free cores is several times slower")
    ] = 1
    gpu_layers: Annotated[int, Meta(ge=0, description="Layers on the graphics card")] = 0
    loaded_models: Annotated[
        int, Meta(ge=1, description="Models kept in memory; those in use always stay")
    ] = 1
    load_timeout: Annotated[float, Meta(gt=0, description="Seconds loading may take")] = 600.0
    idle_timeout: Annotated[
        float,
        Meta(gt=0, description="Seconds without anything meaningful before a call is given up"),
    ] = 600.0
    total_timeout: Annotated[
        float, Meta(gt=0, description="Seconds one model call may take in all")
    ] = 7200.0
