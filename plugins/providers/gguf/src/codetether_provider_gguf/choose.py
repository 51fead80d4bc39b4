"""Whether a file may be loaded at all, and by which library."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from codetether.api import CodetetherError

from codetether_provider_gguf.header import Header, damaged

LLAMACPP, CTRANSFORMERS = "llamacpp", "ctransformers"
_MODULES = {LLAMACPP: "xllamacpp", CTRANSFORMERS: "ctransformers"}
LIBRARIES = {LLAMACPP: "xllamacpp", CTRANSFORMERS: "ctransformers jinja2"}
CONTROL = 3  # the token type of pieces that are no text
# What ctransformers can make of a file from before GGUF, which does not say what it is: by the file's name.
OLD_KINDS = {
    "gptj": "gptj", "gpt-j": "gptj", "neox": "gpt_neox", "pythia": "gpt_neox", "stablelm": "gpt_neox",
    "redpajama": "gpt_neox", "gpt2": "gpt2", "gpt-2": "gpt2", "dolly": "dolly-v2", "falcon": "falcon", "mpt": "mpt",
    "replit": "replit", "starcoder": "gpt_bigcode", "starchat": "gpt_bigcode", "llama": "llama", "vicuna": "llama",
    "alpaca": "llama", "wizard": "llama", "guanaco": "llama", "orca": "llama",
}  # fmt: skip


def installed(backend: str) -> bool:
    """Whether the library is there; it is not loaded."""
    return find_spec(_MODULES[backend]) is not None


def check(header: Header) -> None:
    """Raise CodetetherError for what would make a library abort, or answer nonsense."""
    if header.needs > header.size:
        missing = header.needs - header.size
        raise damaged(
            header.path, f"it is cut short, {missing} bytes of {header.needs} are missing"
        )
    if header.version == 0:
        return
    count = len(header.tokens)
    if not header.architecture:
        raise damaged(header.path, "it does not say which architecture it is")
    if not count:
        raise CodetetherError(
            f"{Path(header.path).name} holds no vocabulary, so it cannot talk",
            "an adapter, a projector or a later part of a split model? name the model itself",
        )
    if len(set(header.tokens)) < count:
        raise damaged(
            header.path,
            f"{count - len(set(header.tokens))} piece(s) of its vocabulary are there twice",
        )
    for what, length in (("scores", header.scores), ("types", len(header.types))):
        if length not in (0, count):
            raise damaged(header.path, f"its vocabulary has {count} pieces and {length} {what}")
    for what, number in (("first", header.bos), ("last", header.eos)):
        if number is not None and number >= count and number != 0xFFFFFFFF:
            raise damaged(header.path, f"its {what} token is number {number} of {count}")


def backend_for(header: Header, wanted: str = "auto") -> str:
    """The library for this file. Raises CodetetherError naming what to install."""
    able = [LLAMACPP] if not header.legacy else []
    if _ctransformers_reads(header):
        able.append(CTRANSFORMERS)
    if wanted != "auto":
        able = [one for one in able if one == wanted]
    name = Path(header.path).name
    if not able:
        what = f"the architecture {header.architecture!r}" if header.version else "this old format"
        raise CodetetherError(
            f"{name}: {wanted if wanted != 'auto' else 'no library'} reads {what}",
            "get the model as GGUF" if header.legacy else "set the backend to auto",
        )
    for one in able:
        if installed(one):
            return one
    raise CodetetherError(f"{name} needs a library that is not installed", install_hint(able[0]))


def install_hint(backend: str) -> str:
    """The command that installs a backend: the libraries by name, which the extra of that name asks for."""
    return f"install it beside codetether: pip (or uv pip) install {LIBRARIES[backend]}"


def old_kind(header: Header) -> str:
    """What ctransformers calls the file's architecture; empty when its name does not say."""
    if header.version:
        return header.architecture
    name = Path(header.path).name.lower()
    return next((kind for word, kind in OLD_KINDS.items() if word in name), "")


def _ctransformers_reads(header: Header) -> bool:
    """Its last release is of 2023. Some files it refuses; those with byte-mapped pieces and scores crash it."""
    if header.version == 0:
        return bool(old_kind(header))
    if header.architecture not in ("llama", "falcon") or not header.dense or not header.scores:
        return False
    mapped = any("Ġ".encode() in piece for piece in header.tokens)
    return header.tokenizer == "llama" or not mapped
