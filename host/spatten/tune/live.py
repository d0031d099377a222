# SPDX-License-Identifier: BSD-2-Clause
"""Who is alive where, for a padded batch in torch: :mod:`spatten.hf.cascade` for many sequences at once.

A column of the batch is a slot of its sequence; padding is a slot that was never alive. Nothing here has a
gradient: survivors are decisions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from spatten_drivers.quantize import IMPORTANCE_FRACTION_BITS

from ..schedule import LayerPlan
from .planes import Planes

#: Importance counts in these units, as on the device, so that what ties there ties here.
UNIT = 2.0**-IMPORTANCE_FRACTION_BITS


def top(scores: torch.Tensor, among: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """``bool [B, n]``: the ``keep [B]`` greatest ``scores`` among those allowed; ties to the lower index."""
    order = scores.double().masked_fill(~among, -1.0).argsort(dim=-1, descending=True, stable=True)
    ranks = order.argsort(dim=-1)
    return among & (ranks < keep[..., None])


class LiveBatch:
    """The sequences of a batch and what has been pruned of them so far.

    Attributes
    ----------
    real : ``bool [B, columns]``, columns that hold a token.
    stored : by layer, which columns it holds rows of.
    importance : ``float64 [B, columns]`` after the last pass.
    heads : ``bool [B, H]`` by layer, once a pruning pass has chosen them.
    scales : of K and V by (layer, name).
    planes : of a cache's K and V by the same: they are not rounded anew at each step.
    """

    def __init__(self, plan: LayerPlan, heads: int, *, causal: bool) -> None:
        self.plan, self.total_heads, self.causal, self.step = plan, heads, causal, 0
        self.real = torch.zeros(0)
        self.stored: list[torch.Tensor] = []
        self.importance = self.head_importance = torch.zeros(0)
        self.heads: dict[int, torch.Tensor] = {}
        self.scales: dict[tuple[int, str], torch.Tensor] = {}
        self.planes: dict[tuple[int, str], Planes] = {}

    def grow(self, fresh: torch.Tensor) -> None:
        """Room for new columns ``bool [B, n]``; true where they hold a token."""
        if self.step == 0:
            rows, layers = len(fresh), len(self.plan.token_ratios)
            self.real = fresh[:, :0]
            self.stored = [fresh[:, :0]] * layers
            self.importance = fresh[:, :0].double()
            self.head_importance = torch.zeros(
                rows, self.total_heads, dtype=torch.double, device=fresh.device
            )
        empty = torch.zeros_like(fresh)
        self.real = torch.cat([self.real, fresh], dim=1)
        self.stored = [torch.cat([held, empty], dim=1) for held in self.stored]
        self.importance = torch.cat([self.importance, empty.double()], dim=1)


class BatchCascade:
    """One pass of a batch through the layers.

    Attributes
    ----------
    keys : ``bool [B, columns]``, live keys of the layer that comes next.
    queries : ``bool [B, n]``, live tokens of this pass there.
    heads : ``bool [B, H]``, live heads there.
    """

    def __init__(self, live: LiveBatch, fresh: torch.Tensor) -> None:
        live.grow(fresh)
        self.live, self.plan = live, live.plan
        self.first, self.queries = live.real.shape[1] - fresh.shape[1], fresh
        self.lengths = live.real.sum(dim=1)
        self.prunes = not live.causal or live.step > 0 or live.plan.schedule.prune_prefill
        self.front = live.real & (live.real.cumsum(dim=1) <= live.plan.schedule.protect_first)
        self.protected = self.front | self._last()
        self.keys = self._widest()
        self.heads = torch.ones_like(live.head_importance, dtype=torch.bool)

    def visible(self) -> torch.Tensor:
        """``bool [B, 1, n, columns]``: the live keys that each query sees."""
        columns = self.keys.shape[1]
        seen = self.keys[:, None, None, :]
        if self.live.causal:
            places = torch.arange(columns, device=seen.device)
            seen = seen & (places[None, :] <= places[self.first :, None])
        return seen.expand(-1, 1, self.queries.shape[1], -1)

    def values_kept(self, layer: int) -> torch.Tensor | None:
        """Values kept per query and head ``[B]``, or ``None`` for all."""
        if not self.prunes or self.plan.value_ratios[layer] == 1.0:
            return None
        return self._counts(lambda keys: self.plan.values(layer, keys), self.keys.sum(dim=1))

    def value_share(self, layer: int) -> float:
        """Share of a row's greatest weight below which values are not read; 0 for all."""
        return self.plan.value_shares[layer] if self.prunes else 0.0

    def begin(self, values: torch.Tensor) -> None:
        """Importance that a first pass starts with, from the values ``[B, H, n, D]`` of its layer 0."""
        prior = self.plan.schedule.prior
        if self.live.step > 0 or prior == 0:
            return
        lengths = values.detach().double().square().sum(dim=(1, 3)).sqrt() * self.queries
        mean = lengths.sum(dim=1, keepdim=True) / self.lengths[:, None]
        share = prior * values.shape[1] * lengths / mean.clamp_min(torch.finfo(torch.double).tiny)
        self.live.importance = torch.round(share / UNIT) * UNIT

    def store(self, layer: int) -> None:
        """This pass's live tokens have rows in the layer now."""
        self.live.stored[layer][:, self.first :] = self.queries

    def advance(self, layer: int, tokens: torch.Tensor, heads: torch.Tensor) -> None:
        """Count what a layer gave tokens ``[B, columns]`` and heads ``[B, H]``, and prune for the next."""
        live = self.live
        old = live.importance * self.keep_share(layer)
        gained = torch.round(tokens.double() / UNIT) * UNIT
        live.importance = torch.where(self.keys, old + gained, live.importance)
        live.head_importance = live.head_importance + torch.round(heads.double() / UNIT) * UNIT
        if layer + 1 == len(self.plan.token_ratios):
            live.step += 1
        elif self.prunes:
            self._narrow(layer + 1)

    def keep_share(self, layer: int) -> float:
        """Factor on old importance: decay at the first layer of a generation step."""
        return self.plan.schedule.decay if self.live.step > 0 and layer == 0 else 1.0

    def _narrow(self, layer: int) -> None:
        live = self.live
        shielded = (self.protected & self.keys).sum(dim=1)
        wanted = self._counts(lambda length: self.plan.tokens(layer, length), self.lengths)
        keep = torch.minimum(self.keys.sum(dim=1), torch.maximum(shielded, wanted))
        survivors = top(live.importance.masked_fill(self.protected, torch.inf), self.keys, keep)
        self.queries = survivors[:, self.first :]
        held = live.stored[layer].clone()
        held[:, self.first :] = True
        self.keys = survivors & held
        if layer not in live.heads:
            count = min(self.plan.heads(layer, live.total_heads), live.total_heads)
            many = torch.full_like(self.lengths, count)
            live.heads[layer] = top(live.head_importance, self.heads, many)
        self.heads = live.heads[layer]

    def _widest(self) -> torch.Tensor:
        """The keys of layer 0: all that it holds, or the most important of earlier passes."""
        live = self.live
        if live.step == 0:
            return live.real
        before = live.stored[0].clone()
        before[:, self.first :] = False
        fresh = self.queries.sum(dim=1)
        keep = self._counts(lambda length: self.plan.tokens(0, length), self.lengths) - fresh
        shielded = (before & self.front).sum(dim=1)
        if self.prunes:
            shield = live.importance.masked_fill(self.front, torch.inf)
            before = top(shield, before, torch.maximum(keep, shielded))
        before[:, self.first :] = self.queries
        return before

    def _last(self) -> torch.Tensor:
        schedule, fresh = self.plan.schedule, self.queries.shape[1]
        last = schedule.protect_last
        if self.live.causal:
            last = max(last, fresh if self.live.step > 0 else 1)
        real = self.live.real
        return real & (real.flip(1).cumsum(dim=1).flip(1) <= last)

    def _counts(self, rule: Callable[[int], int], numbers: torch.Tensor) -> torch.Tensor:
        """``rule`` of each number, by the schedule's own arithmetic."""
        return torch.tensor([rule(number) for number in numbers.tolist()], device=numbers.device)
