# SPDX-License-Identifier: BSD-2-Clause
"""The byte-level BPE of GPT-2, learned from the training texts alone."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Tokenizer

END_OF_TEXT = "<|endoftext|>"


def train_tokenizer(documents: Iterable[str], vocab_size: int, positions: int) -> GPT2Tokenizer:
    """A GPT-2 tokenizer whose vocabulary depends on the documents alone.

    All 256 bytes are in the vocabulary, so any text can be encoded and comes back unchanged. Token 0 begins,
    ends and separates documents. ``positions`` is what the tokenizer reports as the longest input.
    """
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learned.train_from_iterator(documents, trainer)
    return _as_gpt2(learned, positions)


def _as_gpt2(learned: Tokenizer, positions: int) -> GPT2Tokenizer:
    """The same vocabulary and merges in the class that AutoTokenizer loads for a GPT-2."""
    model = json.loads(learned.to_str())["model"]
    return GPT2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )
