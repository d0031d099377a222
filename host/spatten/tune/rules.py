# SPDX-License-Identifier: BSD-2-Clause
"""Importance rules: what a token gains from one layer. The device knows the paper's; others can be tried."""

from __future__ import annotations

from collections.abc import Callable

import torch

#: ``rule(probabilities [B, H, Q, K], values [B, H, K, D], layer) -> [B, K]``; rows that were pruned are zero.
Rule = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


def cumulative(probabilities: torch.Tensor, values: torch.Tensor, layer: int) -> torch.Tensor:
    """The paper's: probabilities added up over heads and queries (contract, section 6)."""
    return probabilities.sum(dim=(1, 2))


def decayed(probabilities: torch.Tensor, values: torch.Tensor, layer: int) -> torch.Tensor:
    """The paper's with what earlier layers gave halved at each layer: the latest one counts most.

    Doubling what is new instead of halving what is old gives the same order.
    """
    return cumulative(probabilities, values, layer) * 2.0**layer


def latest(probabilities: torch.Tensor, values: torch.Tensor, layer: int) -> torch.Tensor:
    """This layer alone: what earlier layers gave hardly counts."""
    return cumulative(probabilities, values, layer) * 256.0**layer


def value_norm(probabilities: torch.Tensor, values: torch.Tensor, layer: int) -> torch.Tensor:
    """Probabilities times the length of the token's value in that head: what a token moves in the outputs."""
    return (probabilities.sum(dim=2) * values.norm(dim=-1)).sum(dim=1)


def first_row(probabilities: torch.Tensor, values: torch.Tensor, layer: int) -> torch.Tensor:
    """The probabilities of the first query alone, [CLS] of a BERT: what the classifier's own row looks at."""
    return probabilities[:, :, 0].sum(dim=1)


RULES: dict[str, Rule] = {
    "cumulative": cumulative,
    "decayed": decayed,
    "latest": latest,
    "value-norm": value_norm,
    "first-row": first_row,
}
