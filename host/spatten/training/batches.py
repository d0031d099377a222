# SPDX-License-Identifier: BSD-2-Clause
"""Batches cut from one long stream of tokens, without state: a position in training names its batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..errors import InputError


@dataclass(frozen=True)
class Batches:
    """Windows of a stream, each once an epoch, in an order that depends on the seed and the epoch alone.

    Attributes
    ----------
    stream : token ids of all documents, each after an end-of-text token.
    positions : how many positions the model has.
    seed : of the order.
    """

    stream: Tensor
    positions: int
    seed: int = 0

    def at(self, seen: int, size: int, length: int) -> tuple[Tensor, Tensor]:
        """``size`` windows of ``length`` + 1 tokens, and the positions of each, after ``seen`` tokens.

        A window shorter than the model's context takes one of the places that it can have there, so that
        late positions are trained long before the long windows come.

        Raises
        ------
        InputError : the stream is shorter than one window.
        """
        count = (len(self.stream) - 1) // length
        if not count:
            raise InputError(
                f"the texts are {len(self.stream)} tokens; expected more than {length}: add text or "
                "shorten the windows"
            )
        starts = [self._start(seen // length + index, count, length) for index in range(size)]
        places = np.random.default_rng((self.seed, seen)).integers(self.positions // length, size=(size, 1))
        windows = torch.stack([self.stream[start : start + length + 1] for start in starts])
        return windows, torch.arange(length) + length * torch.from_numpy(places)

    def _start(self, index: int, count: int, length: int) -> int:
        epoch, place = divmod(index, count)
        rng = np.random.default_rng((self.seed, length, epoch))
        slack = len(self.stream) - 1 - count * length
        return int(rng.integers(slack + 1) + length * rng.permutation(count)[place])


def token_stream(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str], seed: int = 0) -> Tensor:
    """Token ids of the documents in a random order, each after an end-of-text token."""
    order = np.random.default_rng(seed).permutation(len(documents))
    encoded = tokenizer([documents[index] for index in order], verbose=False)["input_ids"]
    return torch.tensor([token for document in encoded for token in (tokenizer.eos_token_id, *document)])
