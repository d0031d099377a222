# SPDX-License-Identifier: BSD-2-Clause
"""Tokens as a reader sees them: the piece of text each stands for and the white space before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Word:
    """One token: its text without white space around it, the white space before it, and its origin.

    ``special`` tokens such as [CLS] stand for no text; ``generated`` ones were written by the model.
    """

    text: str
    before: str = ""
    special: bool = False
    generated: bool = False


def input_words(text: str, tokenizer: PreTrainedTokenizerBase, truncate_to: int | None) -> list[Word]:
    """The words of an input, one a token, cut from the text itself by the tokenizer's offsets."""
    encoded = tokenizer(
        text,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        truncation=truncate_to is not None,
        max_length=truncate_to,
    )
    words, end = [], 0
    triples = zip(
        encoded["input_ids"], encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True
    )
    for token, (start, stop), special in triples:
        if special:
            words.append(Word(tokenizer.convert_ids_to_tokens(token), " " if words else "", special=True))
            continue
        piece = text[start:stop]
        before = text[end:start] + piece[: len(piece) - len(piece.lstrip())]
        if words and words[-1].special:
            before = before or " "
        words.append(Word(piece.strip(), before))
        end = stop
    return words


def generated_words(tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[Word]:
    """The words of generated tokens, each decoded by itself."""
    pieces = [tokenizer.decode([token]) for token in tokens]
    return [Word(p.strip(), p[: len(p) - len(p.lstrip())], generated=True) for p in pieces]
