# SPDX-License-Identifier: BSD-2-Clause
"""Perplexity of a causal model on a text that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import InputError


@dataclass(frozen=True)
class Measured:
    """How well a model foretells a text.

    Attributes
    ----------
    perplexity : of a token; it depends on the tokenizer.
    bits_per_byte : of the UTF-8 text; it does not, so models of other tokenizers can be compared.
    tokens : how many were foretold.
    """

    perplexity: float
    bits_per_byte: float
    tokens: int


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    window: int | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> Measured:
    """Perplexity of every token of the text in windows that overlap by half, in the model's own precision.

    The first token follows an end of text, so all of them are foretold; each but the first half window has
    at least half a window before it. ``window`` is in tokens, by default as long as the model allows;
    ``report`` is told the share done, 0 to 1.

    Raises
    ------
    InputError : the text is empty or the window is too short to overlap.
    """
    tokens = [tokenizer.bos_token_id, *tokenizer(text, verbose=False)["input_ids"]]
    window = window or model.config.max_position_embeddings
    if len(tokens) < 2 or window < 2:
        raise InputError(
            f"a text of {len(text)} characters in windows of {window} tokens; expected some text and windows "
            "of 2 tokens or more"
        )
    nats = 0.0
    for start, end, fresh in spans(len(tokens), window):
        nats += _surprise(model, tokens[start:end], fresh)
        report(end / len(tokens))
    count = len(tokens) - 1
    bits = nats / math.log(2) / len(text.encode())
    return Measured(math.exp(nats / count), bits, count)


def spans(length: int, window: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, how many of its last tokens are scored) of windows that together score 1 .. length - 1."""
    scored = 1
    while scored < length:
        start = max(0, scored - window // 2) if scored > 1 else 0
        end = min(start + window, length)
        yield start, end, end - scored
        scored = end


@torch.inference_mode()
def _surprise(model: PreTrainedModel, tokens: list[int], fresh: int) -> float:
    """Sum of the negative log-likelihoods of the last ``fresh`` tokens, in nats."""
    ids = torch.tensor([tokens])
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits[0, -fresh:]
    return F.cross_entropy(logits.float(), ids[0, -fresh:], reduction="none").double().sum().item()
