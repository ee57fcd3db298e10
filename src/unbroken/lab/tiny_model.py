"""A tiny random language model that a real llama.cpp server can serve.

It is a GGUF file of some 650 KB: architecture llama, 2 layers, width 64, random weights
from a seed. What it writes is nonsense made of invented words, but the server around it
is the real one: real tokens, real sampling, real prefill, real HTTP.

Three things are built in on purpose:

- Each word is one USER_DEFINED token with a leading space, and only words are ever
  written. So text and tokens map one to one, and a text that was cut between two words
  is tokenised again to exactly the tokens that it came from.
- No token is missing from the tokeniser: bytes and printable ASCII take in any prompt.
- Lane 0 of the residual stream is a constant, which the layers read but never write.
  In the output matrix it carries a strong "no" for all that is not a word, so that
  sampling at a high temperature cannot write half a UTF-8 character or end the answer.
  An answer ends by ``max_tokens`` or by a ``stop`` word.
"""

from __future__ import annotations

import random
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["DEFAULT_SEED", "invented_words", "write_tiny_model"]

DEFAULT_SEED = 20261

_LAYERS = 2
_WIDTH = 64
_HEADS = 4
_FEED_FORWARD = 128
_CONTEXT_TOKENS = 8192
_WORDS = 290
_WEIGHT_SD = 0.3
_NEVER = -1000.0  # weight from the constant lane to all that must not be written

_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def invented_words(count: int, *, seed: int) -> list[str]:
    """Return `count` different made-up words of 4 to 8 letters, the same for the same seed."""
    pick = random.Random(seed)
    consonants, vowels = "bdfgklmnprstvz", "aeiou"
    words: dict[str, None] = {}  # a dict, since a set's order changes from run to run
    while len(words) < count:
        syllables = pick.randint(2, 3)
        word = "".join(pick.choice(consonants) + pick.choice(vowels) for _ in range(syllables))
        words[word + pick.choice(["", "", "n", "r", "s", "l"])] = None
    return list(words)[:count]


def write_tiny_model(path: Path | str, *, seed: int = DEFAULT_SEED) -> None:
    """Write the model as a GGUF file; takes a small part of a second.

    Args:
        path: The file to write; one that exists is replaced.
        seed: The same seed gives the same weights and words.

    Raises:
        ModuleNotFoundError: If the package ``gguf`` (or numpy, which it needs) is missing.
    """
    gguf, numpy = _require("gguf"), _require("numpy")
    tokens, kinds, first_word = _vocabulary(gguf.TokenType, seed)

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny random words")
    writer.add_block_count(_LAYERS)
    writer.add_context_length(_CONTEXT_TOKENS)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(0)  # all tensors are 32-bit floats

    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.encode() for token in tokens])
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(tokens.index("<unk>"))
    writer.add_bos_token_id(tokens.index("<s>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)  # else a resumed text would begin with another token
    writer.add_chat_template(_CHATML)

    for name, weights in _weights(numpy, seed, len(tokens), first_word).items():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _vocabulary(kind: Any, seed: int) -> tuple[list[str], list[int], int]:
    """Return the tokens, their types, and the index of the first word."""
    pieces: list[tuple[str, Any]] = [
        ("<unk>", kind.UNKNOWN),
        ("<s>", kind.CONTROL),
        ("</s>", kind.CONTROL),
        ("<|im_start|>", kind.CONTROL),
        ("<|im_end|>", kind.CONTROL),
    ]
    pieces += [(f"<0x{byte:02X}>", kind.BYTE) for byte in range(256)]
    # In the stored vocabulary of a SentencePiece tokeniser a space is U+2581.
    pieces += [(chr(code).replace(" ", "\u2581"), kind.NORMAL) for code in range(0x20, 0x7F)]
    first_word = len(pieces)
    # USER_DEFINED tokens are matched against the raw text: their space stays a space.
    pieces += [(f" {word}", kind.USER_DEFINED) for word in invented_words(_WORDS, seed=seed)]
    return [text for text, _ in pieces], [int(type_) for _, type_ in pieces], first_word


def _weights(numpy: Any, seed: int, vocabulary: int, first_word: int) -> dict[str, Any]:
    generator = numpy.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> Any:
        return generator.normal(0.0, _WEIGHT_SD, (rows, columns)).astype(numpy.float32)

    embedding, output = matrix(vocabulary, _WIDTH), matrix(vocabulary, _WIDTH)
    embedding[:, 0] = 1.0
    output[:, 0] = 0.0
    output[:first_word] = 0.0
    output[:first_word, 0] = _NEVER
    ones = numpy.ones(_WIDTH, dtype=numpy.float32)
    tensors = {"token_embd.weight": embedding}
    for layer in range(_LAYERS):
        block = {
            "attn_norm": ones,
            "attn_q": matrix(_WIDTH, _WIDTH),
            "attn_k": matrix(_WIDTH, _WIDTH),
            "attn_v": matrix(_WIDTH, _WIDTH),
            "attn_output": matrix(_WIDTH, _WIDTH),
            "ffn_norm": ones,
            "ffn_gate": matrix(_FEED_FORWARD, _WIDTH),
            "ffn_up": matrix(_FEED_FORWARD, _WIDTH),
            "ffn_down": matrix(_WIDTH, _FEED_FORWARD),
        }
        block["attn_output"][0] = 0.0  # nothing is added to the constant lane
        block["ffn_down"][0] = 0.0
        tensors |= {f"blk.{layer}.{name}.weight": value for name, value in block.items()}
    return tensors | {"output_norm.weight": ones, "output.weight": output}


def _require(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        msg = f"the tiny model needs the package {error.name or name}: install gguf (and numpy)"
        raise ModuleNotFoundError(msg, name=error.name or name) from error
