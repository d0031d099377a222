# SPDX-License-Identifier: BSD-2-Clause
"""The shipped GPT-2 on real text, its generation steps reading K and V by a rule.

The front of a window is read in float. The steps behind it are computed together, which changes nothing: each
sees the rows up to its own, and no rule depends on the other steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from ..hf.interface import attention, in_flight, mask
from .rule import Rule, dense_bytes, visible

NAME = "spatten-rules"
#: The name of the reading without a rule.
FLOAT = "float"


@dataclass
class Reading:
    """What a rule did on all windows of a text.

    Attributes
    ----------
    surprise : mean negative log-likelihood of each window.
    agreed : share of the steps of each window whose likeliest next token is float's.
    read, dense_16 : K and V bytes, and those of the same steps whole at 16 bit.
    """

    surprise: list[float] = field(default_factory=list)
    agreed: list[float] = field(default_factory=list)
    read: int = 0
    dense_16: int = 0

    @property
    def x16(self) -> float:
        """How many times fewer bytes than whole rows of 16 bit."""
        return self.dense_16 / self.read

    @property
    def scores(self) -> NDArray[np.float64]:
        """Of the windows, for :data:`spatten.quality.metrics.PERPLEXITY`."""
        return np.array(self.surprise)


def read_windows(
    model: PreTrainedModel,
    windows: Sequence[Sequence[int]],
    rules: Mapping[tuple[str, str], Rule],
    scored: int,
    step: Callable[[], None] = lambda: None,
) -> dict[tuple[str, str], Reading]:
    """How the last ``scored`` of windows of token ids are predicted: by rule, and as ``(FLOAT, "")``."""
    everything = {(FLOAT, ""): None, **rules}
    found = {name: Reading() for name in everything}
    with torch.inference_mode(), _attached(model) as reader:
        for window in windows:
            ids, told = torch.tensor([list(window[:-1])]), torch.tensor(list(window[-scored:]))
            cache = model(input_ids=ids[:, :-scored], use_cache=True, logits_to_keep=1).past_key_values
            best = None
            for name, rule in everything.items():
                with reader.reading(rule, found[name]):
                    logits = model(input_ids=ids[:, -scored:], past_key_values=cache, use_cache=True).logits
                cache.crop(-scored)
                guess = logits[0].argmax(dim=-1)
                best = guess if best is None else best
                found[name].surprise.append(float(cross_entropy(logits[0].double(), told)))
                found[name].agreed.append(float((guess == best).double().mean()))
                step()
    return found


@contextmanager
def _attached(model: PreTrainedModel) -> Iterator[_Reader]:
    """The model's attention is the reader's."""
    before, reader = model.config._attn_implementation, _Reader(model.config.num_attention_heads)
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)  # without it a model would silently get no mask
    model.set_attn_implementation(NAME)
    try:
        with in_flight(reader):
            yield reader
    finally:
        model.set_attn_implementation(before)


class _Reader:
    """The layer that runs now: attention in float, or by a rule that is being read with."""

    def __init__(self, heads: int) -> None:
        self.heads = np.arange(heads)
        self.rule: Rule | None = None
        self.told = Reading()

    @contextmanager
    def reading(self, rule: Rule | None, told: Reading) -> Iterator[None]:
        """Read by ``rule`` and count it; in float without one."""
        self.rule, self.told = rule, told
        try:
            yield
        finally:
            self.rule = None

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Causal attention of one sequence ``[1, H, n, D]``; the answer is ``[1, n, H, D]``."""
        seen = visible(query.shape[2], key.shape[2])
        if self.rule is None:
            out = scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scaling)
            return out.transpose(1, 2)
        whole, read = self.rule.attend(query[0], key[0], value[0], scaling)
        self.told.read += read
        self.told.dense_16 += dense_bytes(len(self.heads), seen, query.shape[3], 16)
        return whole.transpose(0, 1)[None]
