"""What a model file says about itself, read without any of the libraries that would abort on a bad one.

The file is somebody else's: every count is checked against the file's size before it is believed.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from codetether.api import CodetetherError

MAGIC = b"GGUF"
LEGACY = frozenset((0x67676D6C, 0x67676D66, 0x67676A74, 0x67676C61))  # ggml, ggmf, ggjt, ggla
HEADER_LIMIT = 256 << 20
ALIGNMENT = 32
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}  # fmt: skip
_STRING, _ARRAY = 8, 9
# Block length and bytes per block by ggml type: only to see whether all of the file is there.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
}  # fmt: skip


class Header(msgspec.Struct, frozen=True):
    """Facts of one file. `version` 0: from before GGUF. `needs`: bytes the file must have, 0 when that is not known.
    `dense`: no tensor is of a type ctransformers cannot read, and the output matrix is there.
    """

    path: str
    size: int
    version: int = 0
    architecture: str = ""
    name: str = ""
    context: int | None = None
    template: str = ""
    tokenizer: str = ""
    tokens: tuple[bytes, ...] = ()
    types: tuple[int, ...] = ()
    scores: int = 0
    bos: int | None = None
    eos: int | None = None
    parts: int = 1
    needs: int = 0
    dense: bool = False

    @property
    def legacy(self) -> bool:
        """From before GGUF, or its first version: llama.cpp no longer reads it."""
        return self.version < 2


def read_header(path: Path) -> Header:
    """Read it; blocks for a tenth of a second or two. Raises CodetetherError saying what is wrong with the file."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            return _Reader(file, size, path).header()
    except OSError as exc:
        raise CodetetherError(f"{path}: {exc.strerror or exc}", "is the path right?") from None
    except (struct.error, ValueError, TypeError, OverflowError, MemoryError) as exc:
        raise damaged(path, str(exc)) from None


def damaged(path: Path | str, why: str) -> CodetetherError:
    """The error for a file that must not be loaded."""
    return CodetetherError(
        f"{Path(path).name} is damaged: {why}",
        "download it again, with its checksum: codetether models pull URL --sha256 HEX",
    )


class _Reader:
    def __init__(self, file: BinaryIO, size: int, path: Path) -> None:
        self._file = file
        self._size = size
        self._path = path
        self._at = 0

    # --- pieces ---
    def _bytes(self, count: int) -> bytes:
        self._at += count
        if self._at > HEADER_LIMIT:
            raise ValueError("its header is larger than any header is")
        data = self._file.read(count) if count <= self._size else b""
        if len(data) < count:
            raise ValueError("it ends within its header")
        return data

    def _one(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _count(self) -> int:
        """A number of things that take at least a byte each."""
        number: int = self._one("<Q" if self._version > 1 else "<I")
        if number > self._size:
            raise ValueError(f"it claims to hold {number} things and has {self._size} bytes")
        return number

    def _string(self) -> bytes:
        return self._bytes(self._count())

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            inner, count = self._one("<I"), self._count()
            if inner == _STRING:
                return [self._string() for _ in range(count)]
            form = _SCALARS.get(inner)
            if form is None:
                raise ValueError(f"an array of the unknown type {inner}")
            data = self._bytes(struct.calcsize(form) * count)
            return struct.unpack(f"<{count}{form[1]}", data)
        if kind not in _SCALARS:
            raise ValueError(f"a value of the unknown type {kind}")
        return self._one(_SCALARS[kind])

    # --- the whole ---
    def header(self) -> Header:
        magic = self._bytes(4)
        if magic != MAGIC:
            return self._older(magic)
        self._version = self._one("<I")
        if self._version & 0xFFFF == 0:
            raise ValueError("it was written for machines of the other byte order")
        tensors, pairs = self._count(), self._count()
        keys: dict[str, Any] = {}
        for _ in range(pairs):
            key = self._string().decode("utf-8", "replace")
            keys[key] = self._value(self._one("<I"))
        needs, dense = self._tensors(tensors, keys)
        return self._told(keys, needs, dense)

    def _older(self, magic: bytes) -> Header:
        if struct.unpack("<I", magic)[0] in LEGACY:
            return Header(str(self._path), self._size)
        raise CodetetherError(
            f"{self._path.name} is no model file: it begins with {magic!r}, not with GGUF",
            "a page of a website, saved under the model's name?" if magic[:1] == b"<" else "",
        )

    def _tensors(self, count: int, keys: dict[str, Any]) -> tuple[int, bool]:
        """Bytes the file must have, and whether ctransformers could read all."""
        end, known, output, plain = 0, True, False, True
        for _ in range(count):
            name = self._string()
            dimensions = self._one("<I")
            if dimensions > 8:
                raise ValueError(f"a tensor of {dimensions} dimensions")
            items = 1
            for _ in range(dimensions):
                items *= self._one("<Q" if self._version > 1 else "<I")
            kind, offset = self._one("<I"), self._one("<Q")
            output = output or name == b"output.weight"
            plain = plain and kind <= 14
            if kind in BLOCKS:
                block, size = BLOCKS[kind]
                end = max(end, offset + items // block * size)
            else:
                known = False
        step = keys.get("general.alignment", ALIGNMENT)
        if not isinstance(step, int) or not 0 < step <= 1 << 20:
            raise ValueError("a strange alignment")
        start = -(-self._at // step) * step
        return (start + end if known and count else 0), output and plain

    def _told(self, keys: dict[str, Any], needs: int, dense: bool) -> Header:
        architecture = _text(keys.get("general.architecture"))
        context = keys.get(f"{architecture}.context_length")
        types, scores = keys.get("tokenizer.ggml.token_type"), keys.get("tokenizer.ggml.scores")
        tokens = keys.get("tokenizer.ggml.tokens")
        return Header(
            path=str(self._path),
            size=self._size,
            version=self._version,
            architecture=architecture,
            name=_text(keys.get("general.name")),
            context=context if isinstance(context, int) and context > 0 else None,
            template=_text(keys.get("tokenizer.chat_template")),
            tokenizer=_text(keys.get("tokenizer.ggml.model")),
            tokens=tuple(tokens) if isinstance(tokens, list) else (),
            types=tuple(types) if isinstance(types, tuple) else (),
            scores=len(scores) if isinstance(scores, tuple) else 0,
            bos=_id(keys.get("tokenizer.ggml.bos_token_id")),
            eos=_id(keys.get("tokenizer.ggml.eos_token_id")),
            parts=_id(keys.get("split.count")) or 1,
            needs=needs,
            dense=dense,
        )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _id(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
