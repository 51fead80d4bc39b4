"""A model file from before GGUF: gpt2 in ggml's first format, as a table of which token follows which."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np

SENTENCE = ("A", " tiny", " model", " says", " hello", ".")
MAGIC, WIDTH, CONTEXT, HEADS = (
    0x67676D6C,
    128,
    256,
    4,
)  # one head as wide as the model makes the library crash
END = "<|endoftext|>"


def write_tiny_gpt2(path: Path) -> Path:
    """Write the model, which says its sentence after a newline, and return its path."""
    pieces = [END, *map(chr, range(32, 127)), *(word for word in SENTENCE if len(word) > 1), "\n"]
    ids = {piece: number for number, piece in enumerate(pieces)}
    out = bytearray(struct.pack("<7i", MAGIC, len(pieces), CONTEXT, WIDTH, HEADS, 1, 0))
    out += struct.pack("<i", len(pieces))
    for piece in pieces:
        out += struct.pack("<i", len(piece.encode())) + piece.encode()
    follows = np.zeros((len(pieces), WIDTH))
    for current, following in pairwise(("\n", *SENTENCE, END)):
        follows[ids[following], ids[current]] = 10
    tensors = {
        "ln_f/g": np.ones(WIDTH), "ln_f/b": np.zeros(WIDTH), "wte": np.eye(len(pieces), WIDTH),
        "wpe": np.zeros((CONTEXT, WIDTH)), "lm_head": follows,
    }  # fmt: skip
    for name, outputs in (("attn/c_attn", 3), ("attn/c_proj", 1), ("mlp/c_fc", 4)):
        tensors[f"h0/{name}/w"] = np.zeros((outputs * WIDTH, WIDTH))
        tensors[f"h0/{name}/b"] = np.zeros(outputs * WIDTH)
    tensors["h0/mlp/c_proj/w"] = np.zeros((WIDTH, 4 * WIDTH))
    tensors["h0/mlp/c_proj/b"] = np.zeros(WIDTH)
    for name in ("ln_1/g", "ln_1/b", "ln_2/g", "ln_2/b"):
        tensors[f"h0/{name}"] = np.zeros(WIDTH)
    for name, values in tensors.items():
        word, shape = f"model/{name}".encode(), values.shape[::-1]
        out += struct.pack(f"<3i{len(shape)}i", len(shape), len(word), 0, *shape)
        out += word + values.astype(np.float32).tobytes()
    path.write_bytes(out)
    return path
