# SPDX-License-Identifier: BSD-2-Clause
"""Merging pruned tokens of a BERT into survivors instead of dropping them.

The host computes the hidden states between two layers, so it can merge them there: a device sees fewer
tokens and need not know. A survivor becomes the mean of all tokens that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

#: From states ``[B, n, E]`` and who is alive ``bool [B, n]`` to the place ``[B, n]`` of each one's survivor.
Partner = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def nearest(states: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """The survivor nearest in the text; of two as near, the one to the left."""
    places = torch.arange(states.shape[1], device=states.device)
    away = (places[:, None] - places[None, :]).abs().expand(len(states), -1, -1)
    return away.masked_fill(~alive[:, None, :], states.shape[1]).argmin(dim=-1)


def alike(states: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """The survivor whose state is most alike by cosine; Token Merging (arXiv 2210.09461) compares keys."""
    unit = torch.nn.functional.normalize(states, dim=-1)
    return (unit @ unit.transpose(-1, -2)).masked_fill(~alive[:, None, :], -2.0).argmax(dim=-1)


class Merge:
    """What a block leaves behind when tokens were pruned in it: a ``settle`` of the surrogate.

    Parameters
    ----------
    partner : the survivor that a pruned token joins.
    mixes : the survivor becomes the mean; if not it stays as it is and only stands for the others.

    Attributes
    ----------
    place : ``int [B, n]`` after a pass, the survivor that each token joined; its own if it lives.
    """

    def __init__(self, partner: Partner, *, mixes: bool = True) -> None:
        self.partner, self.mixes = partner, mixes
        self.place = torch.zeros(0)
        self.sizes = torch.zeros(0)

    def __call__(
        self,
        layer: int,
        computed: torch.Tensor,
        hidden: torch.Tensor,
        before: torch.Tensor,
        alive: torch.Tensor,
    ) -> torch.Tensor:
        """States ``[B, n, E]`` from those the block computed and was given, and who lived before and now."""
        if layer == 0:
            self.place = torch.arange(before.shape[1], device=before.device).repeat(len(before), 1)
            self.sizes = before.to(computed.dtype)
        left = before & ~alive
        if not left.any():
            return torch.where(alive[..., None], computed, hidden)
        joins = torch.where(left, self.partner(computed, alive), torch.arange(before.shape[1]))
        self.place = joins.gather(1, self.place)
        merged = self._mixed(computed, joins, before) if self.mixes else computed
        return torch.where(alive[..., None], merged, hidden)

    def _mixed(self, computed: torch.Tensor, joins: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """Means by size; the sum of all states, each as often as it stands for a token, stays what it was."""
        weights = self.sizes * before
        self.sizes = torch.zeros_like(weights).scatter_add(1, joins, weights)
        into = joins[..., None].expand_as(computed)
        sums = torch.zeros_like(computed).scatter_add(1, into, computed * weights[..., None])
        return sums / self.sizes[..., None].clamp_min(1.0)

    def spread(self, states: torch.Tensor) -> torch.Tensor:
        """Each token's survivor's of states ``[B, n, E]``: a mean over all tokens then counts by size."""
        return states.gather(1, self.place[..., None].expand_as(states))
