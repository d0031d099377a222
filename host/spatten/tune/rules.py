# SPDX-License-Identifier: BSD-2-Clause
"""Importance rules: what a token gains from one layer. The device knows the paper's; others can be tried."""

from __future__ import annotations

from collections.abc import Callable

import torch

#: ``rule(probabilities [B, H, Q, K], values [B, H, K, D]) -> [B, K]``; rows of what was pruned are zero.
Rule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cumulative(probabilities: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The paper's: probabilities added up over heads and queries (contract, section 6)."""
    return probabilities.sum(dim=(1, 2))


RULES: dict[str, Rule] = {"cumulative": cumulative}
