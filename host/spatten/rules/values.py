# SPDX-License-Identifier: BSD-2-Clause
"""Which rows of V a query reads, by its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from .keys import Looked, logarithm, standard


class ValueRule(Protocol):
    """From what was seen of K to ``bool [H, n, T]``: the rows of V that are read."""

    def __call__(self, looked: Looked) -> torch.Tensor: ...


@dataclass(frozen=True)
class Weighty:
    """All keys that have a weight: all that are seen, or what an early stop leaves."""

    def __call__(self, looked: Looked) -> torch.Tensor:
        return looked.scores.isfinite()


@dataclass(frozen=True)
class Top:
    """The contract's local value pruning: the greatest weights, a share of the visible; ties to the left."""

    share: float

    def __call__(self, looked: Looked) -> torch.Tensor:
        seen = looked.scores.isfinite()
        keep = torch.floor(seen.sum(dim=-1, keepdim=True) * self.share + 0.5).clamp_min(1)
        ranks = looked.scores.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        return seen & (ranks < keep)


@dataclass(frozen=True)
class Above:
    """Weights above a share of the ``sum`` of all, or of the ``largest``; the largest itself always."""

    threshold: float
    of: str = "sum"

    def __call__(self, looked: Looked) -> torch.Tensor:
        scores = looked.scores
        best = scores >= scores.amax(dim=-1, keepdim=True)
        return (best | (scores - standard(scores, self.of) >= logarithm(self.threshold))) & scores.isfinite()
