"""A GGUF file small enough for a test: a llama that is nothing but a table of which token follows which.

Attention and feed-forward add zero, embeddings are one-hot, so the output matrix is read row by row as bigrams. It
says one sentence and stops; where a grammar forbids stopping it goes on with a tool call. The server that reads it
(llama.cpp) is somebody else's, tokenizer, template engine, grammar and HTTP included.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np

SENTENCE = ("A", " tiny", " model", " says", " hello", ".")
BEGIN, END, QUOTE = "<|assistant|>", "</s>", '"'
CALL, CALL_END, NEWLINE = "<tool_call>", "</tool_call>", "<0x0A>"
TEMPLATE = """\
{%- if tools %}<|system|>{{ tools | tojson }}
{% endif %}
{%- for message in messages %}<|{{ message.role }}|>{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}
{% endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}"""
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6
WIDTH = 512  # at least the vocabulary, for one-hot embeddings, and a multiple of the heads
HEADS = 4


def _vocabulary() -> dict[str, int]:
    """Piece to type, in the order of the ids."""
    pieces = {"<unk>": UNKNOWN, "<s>": CONTROL, END: CONTROL}
    pieces |= {f"<0x{byte:02X}>": BYTE for byte in range(256)}
    pieces |= dict.fromkeys(map(chr, range(33, 127)), NORMAL)
    pieces |= {"\u2581": NORMAL, BEGIN: USER, CALL: USER}
    pieces |= {word.replace(" ", "\u2581"): NORMAL for word in SENTENCE if len(word) > 1}
    return pieces


def _bigrams(ids: dict[str, int]) -> np.ndarray:
    """Logits by [next, current]."""
    logits = np.zeros((len(ids), WIDTH), np.float32)
    logits[ids[QUOTE], :] = 20  # inside a call: a string ends as soon as it may
    words = (BEGIN, *(word.replace(" ", "\u2581") for word in SENTENCE), END)
    for current, following in pairwise(words):
        logits[ids[following], ids[current]] = 60
    logits[ids[CALL], ids[SENTENCE[-1]]] = 40  # second to stopping
    logits[ids[NEWLINE], ids[CALL]] = 80  # with it the marker is whole, and the grammar takes over
    logits[ids[END], ids[CALL_END[-1]]] = 80  # one call in one pair of marks is enough
    logits[ids["<"], ids["}"]] = 80
    for piece, number in ids.items():
        if piece == "\u2581" or piece.startswith("<0x"):
            logits[number] -= (
                20  # neither white space nor a piece's twin among the bytes, if there is a choice
            )
    # What the last norm makes of a one-hot vector is sqrt(WIDTH) long.
    return (logits / WIDTH**0.5).astype(np.float32)


def write_tiny_model(path: Path) -> Path:
    """Write the model and return its path."""
    pieces = _vocabulary()
    ids = {piece: number for number, piece in enumerate(pieces)}
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_context_length(8192)
    out.add_embedding_length(WIDTH)
    out.add_block_count(1)
    out.add_feed_forward_length(32)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_layer_norm_rms_eps(1e-6)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_vocab_size(len(ids))
    out.add_tokenizer_model("llama")
    out.add_token_list(list(pieces))
    out.add_token_scores([0.0] * len(ids))
    out.add_token_types(list(pieces.values()))
    out.add_bos_token_id(ids["<s>"])
    out.add_eos_token_id(ids[END])
    out.add_unk_token_id(ids["<unk>"])
    out.add_add_space_prefix(False)
    out.add_chat_template(TEMPLATE)
    zero = np.zeros((WIDTH, WIDTH), np.float32)
    one = np.ones(WIDTH, np.float32)
    out.add_tensor("token_embd.weight", np.eye(len(ids), WIDTH, dtype=np.float32))
    out.add_tensor("output_norm.weight", one)
    out.add_tensor("output.weight", _bigrams(ids))
    out.add_tensor("blk.0.attn_norm.weight", one)
    out.add_tensor("blk.0.ffn_norm.weight", one)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        out.add_tensor(f"blk.0.{name}.weight", zero)
    out.add_tensor("blk.0.ffn_gate.weight", zero[:32])
    out.add_tensor("blk.0.ffn_up.weight", zero[:32])
    out.add_tensor("blk.0.ffn_down.weight", zero[:, :32].copy())
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path
