"""What a model file says of itself, read from files that are cut, hurt and made up."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from codetether.api import CodetetherError
from codetether_provider_gguf.choose import backend_for, check
from codetether_provider_gguf.folder import find, listed, missing_parts
from codetether_provider_gguf.header import Header, read_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[2] / "peers"))
from tiny_model import TEMPLATE, write_tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


def small(path, *, tokens=("<unk>", "<s>", "</s>", "a"), types=None, scores=None, kind=None, **ids):
    """A file with a vocabulary and one tensor."""
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_context_length(64)
    out.add_tokenizer_model("llama")
    if tokens:
        out.add_token_list(list(tokens))
    out.add_token_scores(scores or [0.0] * len(tokens or [0]))
    out.add_token_types(types or [1] * len(tokens or [0]))
    out.add_eos_token_id(ids.get("eos", 2))
    out.add_tensor("output.weight", np.ones((4, 32), np.float32), raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def test_the_facts_of_a_whole_file(tiny):
    header = read_header(tiny)
    check(header)
    assert (header.version, header.architecture, header.context) == (3, "llama", 8192)
    assert header.template == TEMPLATE
    assert (len(header.tokens), header.tokens[1]) == (len(header.types), b"<s>")
    assert (header.bos, header.eos, header.tokenizer) == (1, 2, "llama")
    assert header.needs == header.size == tiny.stat().st_size
    assert header.dense


def test_it_agrees_with_the_reader_of_the_format(tiny):
    fields = gguf.GGUFReader(tiny).fields
    header = read_header(tiny)
    tokens = fields["tokenizer.ggml.tokens"]
    assert list(header.tokens) == [bytes(tokens.parts[i]) for i in tokens.data]
    kinds = fields["tokenizer.ggml.token_type"]
    assert list(header.types) == [int(kinds.parts[i][0]) for i in kinds.data]


def test_sizes_of_all_types_agree_with_the_format():
    from codetether_provider_gguf.header import BLOCKS

    known = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert {kind: known[kind] for kind in BLOCKS if kind in known} == BLOCKS


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_cut_or_hurt_file_is_an_error_in_words_or_nothing(tiny, tmp_path, data):
    raw = bytearray(tiny.read_bytes()[:20_000])
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw))) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "hurt.gguf"
    path.write_bytes(raw)
    with pytest.raises(CodetetherError, match=r"hurt\.gguf"):
        check(read_header(path))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "ends within"),
        (b"GG", "ends within"),
        (b"<html>hello", "is no model file"),
        (b"PK\x03\x04", "is no model file"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(32), "byte order"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "claims to hold"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "claims to hold"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 60) + bytes(100), "claims to hold"),
        (b"GGUF" + struct.pack("<IQQQcII", 3, 0, 1, 1, b"k", 9, 99) + bytes(99), "unknown type 99"),
        (b"GGUF" + struct.pack("<IQQQcI", 3, 0, 1, 1, b"k", 77) + bytes(99), "unknown type 77"),
    ],
)
def test_what_is_said_of_each_kind_of_damage(tmp_path, head, words):
    path = tmp_path / "m.gguf"
    path.write_bytes(head)
    with pytest.raises(CodetetherError, match=words):
        read_header(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokens": ("a", "b", "a", "c")}, "1 piece.* twice"),
        ({"tokens": ()}, "no vocabulary"),
        ({"scores": [0.0] * 3}, "4 pieces and 3 scores"),
        ({"types": [1] * 5}, "4 pieces and 5 types"),
        ({"eos": 4}, "last token is number 4 of 4"),
    ],
)
def test_what_would_abort_a_library_is_refused_before(tmp_path, change, words):
    header = read_header(small(tmp_path / "m.gguf", **change))
    with pytest.raises(CodetetherError, match=words):
        check(header)


def test_a_file_cut_within_its_weights_is_seen(tmp_path, tiny):
    path = tmp_path / "m.gguf"
    path.write_bytes(tiny.read_bytes()[:-7])
    with pytest.raises(CodetetherError, match="7 bytes of"):
        check(read_header(path))


# --- which library ---
def made(**fields):
    return Header(**{
        "path": "/m.gguf", "size": 1, "version": 3, "architecture": "llama", "tokenizer": "llama", "scores": 1,
        "tokens": (b"a",), "dense": True, **fields,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("header", "wanted", "there", "chosen"),
    [
        (made(), "auto", "both", "llamacpp"),
        (made(), "auto", "ctransformers", "ctransformers"),
        (made(), "ctransformers", "both", "ctransformers"),
        (made(architecture="gemma3"), "auto", "both", "llamacpp"),
        (made(version=1), "auto", "both", "ctransformers"),
        (made(version=0, path="/llama-2-7b.ggmlv3.q4_0.bin", architecture=""), "auto", "both", "ctransformers"),
        # what it refuses, and what crashes it
        (made(architecture="gemma3"), "auto", "ctransformers", "install xllamacpp"),
        (made(dense=False), "auto", "ctransformers", "install xllamacpp"),
        (made(scores=0), "auto", "ctransformers", "install xllamacpp"),
        (made(tokenizer="gpt2", tokens=("Ġa".encode(),)), "auto", "ctransformers", "install xllamacpp"),
        (made(architecture="gpt2"), "ctransformers", "both", "ctransformers reads the architecture 'gpt2'"),
        (made(), "auto", "", "install xllamacpp"),
        (made(version=1), "auto", "llamacpp", "install ctransformers"),
        (made(version=0, path="/x.bin"), "auto", "both", "no library reads this old format"),
    ],
)  # fmt: skip
def test_the_library_is_chosen_by_the_header(monkeypatch, header, wanted, there, chosen):
    monkeypatch.setattr(
        "codetether_provider_gguf.choose.installed", lambda backend: there in ("both", backend)
    )
    try:
        found = backend_for(header, wanted)
    except CodetetherError as error:
        found = f"{error.message} {error.hint}"
    assert re.search(chosen, found)


# --- names ---
def test_names_lead_to_files(tmp_path):
    folder, work = tmp_path / "models", tmp_path / "work"
    for path in (
        folder / "a.gguf",
        folder / "org/b.Q4_0.gguf",
        work / "c.gguf",
        folder / "old.bin",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    for number in (1, 2, 3):
        (folder / f"big-0000{number}-of-00003.gguf").write_bytes(b"x")
    (folder / ".half.gguf.part").write_bytes(b"x")
    assert [path.name for path in listed(folder)] == [
        "a.gguf", "big-00001-of-00003.gguf", "old.bin", "b.Q4_0.gguf",
    ]  # fmt: skip
    assert find("a", folder, work) == folder / "a.gguf"
    assert find("a.gguf", folder, work) == folder / "a.gguf"
    assert find("org/b.Q4_0", folder, work) == folder / "org/b.Q4_0.gguf"
    assert find("./c.gguf", folder, work) == work / "c.gguf"
    assert find(str(work / "c.gguf"), folder, work) == work / "c.gguf"
    assert missing_parts(folder / "big-00001-of-00003.gguf") == []
    (folder / "big-00002-of-00003.gguf").unlink()
    assert missing_parts(folder / "big-00001-of-00003.gguf") == ["big-00002-of-00003.gguf"]


@pytest.mark.parametrize("name", ["nothing", "../there/c", "a/../../x", "/nowhere.gguf", "./x", ""])
def test_names_that_lead_nowhere(tmp_path, name):
    with pytest.raises(CodetetherError):
        find(name, tmp_path / "models", tmp_path)
