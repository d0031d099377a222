# SPDX-License-Identifier: BSD-2-Clause
"""What the device does to a model, in torch and with gradients: for training with pruning in the loop.

Static and progressive quantization, refetch by key, cascade token and head pruning and both kinds of value
pruning as the contract has them, on padded batches. Integers are floats on the same grid, weights are float32
softmax rather than the contract's 16-bit table, outputs are not rounded; docs/tuning.md says how often that
changes a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from spatten_drivers import KeyPolicy, Quantization, ValuePolicy

from ..errors import ModelError
from ..hf.families import Family, family_of
from ..hf.interface import attention, in_flight, mask
from ..hf.session import cache_and_mask
from ..hf.survivors import leave_survivors
from ..schedule import LayerPlan, Schedule
from .live import BatchCascade, LiveBatch
from .planes import Planes, Rows, grown_scale, needed_scale, rounded, truncated
from .rules import Rule, cumulative

NAME = "spatten-surrogate"
_FAR = -1e9
_KEY = "_spatten_live"


@dataclass(frozen=True)
class Decision:
    """What one layer of one pass decided, for all rows of the batch: what tests and the page compare."""

    step: int
    layer: int
    keys: torch.Tensor
    queries: torch.Tensor
    heads: torch.Tensor
    refetched: torch.Tensor | None


Watch = Callable[[Decision], None]
#: ``settle(layer, computed, hidden, before, alive)``: the states ``[B, n, E]`` that a block leaves.
Settle = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def stays(
    layer: int, computed: torch.Tensor, hidden: torch.Tensor, before: torch.Tensor, alive: torch.Tensor
) -> torch.Tensor:
    """The device's host: a token that is pruned in a block keeps the state it came with."""
    return torch.where(alive[..., None], computed, hidden)


@contextmanager
def surrogate(
    model: PreTrainedModel,
    schedule: Schedule,
    *,
    rule: Rule = cumulative,
    watch: Watch | None = None,
    settle: Settle = stays,
) -> Iterator[PreTrainedModel]:
    """``model`` with the device's pruning and quantization in every forward pass, training mode or not.

    Parameters
    ----------
    model : a BERT or a GPT-2 with any head.
    schedule : what is pruned and how it is quantized.
    rule : what importance a token gains from a layer.
    watch : told every layer's decisions.
    settle : what becomes of the states of tokens that a block prunes.

    Raises
    ------
    ModelError : another family.
    ConfigError : the schedule does not fit the model.
    """
    base = model.base_model
    family, before = family_of(base), model.config._attn_implementation
    plan = schedule.plan(base.config.num_hidden_layers)
    passes = _Passes(family, base, plan, rule, watch, settle)
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)  # without it a model would silently get no mask
    blocks = list(family.blocks(base))
    if any("forward" in block.__dict__ for block in blocks):
        raise ModelError("the model is attached already; leave that session or surrogate first")
    model.set_attn_implementation(NAME)
    for layer, block in enumerate(blocks):
        block.forward = passes.block(layer, block.forward)
    try:
        yield model
    finally:
        leave_survivors(base, None)
        for block in blocks:
            del block.__dict__["forward"]
        model.set_attn_implementation(before)


class _Passes:
    """The blocks of a model while a surrogate runs."""

    def __init__(
        self,
        family: Family,
        base: PreTrainedModel,
        plan: LayerPlan,
        rule: Rule,
        watch: Watch | None,
        settle: Settle,
    ) -> None:
        self.family, self.base, self.plan, self.rule, self.watch = family, base, plan, rule, watch
        self.settle = settle
        self.now: _BatchPass | None = None

    def block(self, layer: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if layer == 0:
                self.now = self._begin(hidden, *cache_and_mask(self.family.causal, args, kwargs))
            assert self.now is not None
            before = self.now.cascade.queries
            with in_flight(self.now):
                computed = forward(hidden, *args, **kwargs)
            # BERT drops a token before the block's FFN, GPT-2 behind the block: it keeps what it had then.
            alive = self.now.cascade.queries if self.family.before_ffn else before
            leave_survivors(self.base, alive)
            return self.settle(layer, computed, hidden, before, alive)

        return run

    def _begin(self, hidden: torch.Tensor, cache: Any, given: torch.Tensor | None) -> _BatchPass:
        live: LiveBatch | None = getattr(cache, _KEY, None)
        if live is None:
            heads = self.base.config.num_attention_heads
            live = LiveBatch(self.plan, heads, causal=self.family.causal)
            if cache is not None:
                setattr(cache, _KEY, live)
        rows, columns = hidden.shape[:2]
        real = torch.ones(rows, columns, dtype=torch.bool, device=hidden.device)
        if given is not None:
            real = given[:, -columns:].bool()
        cascade = BatchCascade(live, real)
        return _BatchPass(cascade, self.plan.schedule.quantization, self.rule, self.watch)


class _BatchPass:
    """The layer whose block runs now: what :func:`spatten.hf.interface.attention` calls."""

    def __init__(self, cascade: BatchCascade, formats: Quantization, rule: Rule, watch: Watch | None) -> None:
        self.cascade, self.formats, self.rule, self.watch = cascade, formats, rule, watch
        self.heads, self.layer = np.arange(cascade.live.total_heads), 0

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Attention of a padded batch ``[B, H, n, D]`` over ``[B, H, columns, D]``; ``[B, n, H, D]``."""
        cascade, layer = self.cascade, self.layer
        cascade.store(layer)
        if layer == 0:
            cascade.begin(value)
        q = rounded(query, needed_scale(query, cascade.queries, self.formats.q_bits), self.formats.q_bits)
        k, k_msb = self._planes("k", key)
        v, v_msb = self._planes("v", value)
        visible, live = cascade.visible(), self._live_rows()
        weights, refetched = self._weights(q, k, k_msb, visible, scaling)
        kept = self._kept(weights, cascade.values_kept(layer), cascade.value_share(layer))
        out = self._values(kept, v, v_msb, refetched) * live
        self._tell(refetched)
        with torch.no_grad():
            gained = self.rule(weights * live, v.whole(), layer)
            loudness = out.abs().sum(dim=(2, 3))
        cascade.advance(layer, gained, loudness)
        self.layer += 1
        return out.transpose(1, 2)

    def _live_rows(self) -> torch.Tensor:
        """``bool [B, H, n, 1]``: rows of a live head and a live query."""
        return self.cascade.heads[:, :, None, None] & self.cascade.queries[:, None, :, None]

    def _planes(self, name: str, values: torch.Tensor) -> Planes:
        """K or V of all columns: those of earlier passes stay on their grid while its scale does."""
        live, formats, place = self.cascade.live, self.formats, (self.layer, name)
        bits = getattr(formats, f"{name}_bits")
        fresh = values[:, :, -self.cascade.queries.shape[1] :]
        held = live.scales.get(place)
        needed = needed_scale(fresh, self.cascade.queries, bits) * (formats.headroom if held is None else 1.0)
        scale = grown_scale(held, needed) if held is None or formats.growth == "double" else held
        live.scales[place] = scale
        if held is not None and torch.equal(held, scale):
            (whole, msb), (more, more_msb) = live.planes[place], self._on_grid(name, fresh, scale)
            planes = whole.grown(more), msb and msb.grown(more_msb)
        else:
            whole, msb = self._on_grid(name, values, scale)
            planes = Rows((whole,)), None if msb is None else Rows((msb,))
        if live.causal:
            live.planes[place] = planes
        return planes

    def _on_grid(
        self, name: str, values: torch.Tensor, scale: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        formats = self.formats
        bits, low = getattr(formats, f"{name}_bits"), getattr(formats, f"{name}_lsb_bits")
        whole = rounded(values, scale, bits)
        middle = name == "v" or formats.k_policy == KeyPolicy.BY_KEY  # which cancels where no plane mixes
        return whole, truncated(whole, scale, midpoint=middle) if low else None

    def _weights(
        self,
        q: torch.Tensor,
        k: Rows,
        k_msb: Rows | None,
        visible: torch.Tensor,
        scaling: float,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Probabilities ``[B, H, n, columns]`` and, if decided, the rows ``[B, H, n]`` that refetched."""

        def scores(keys: Rows) -> torch.Tensor:
            return (keys.against(q) * scaling).masked_fill(~visible, _FAR)

        def softmax(found: torch.Tensor) -> torch.Tensor:
            return found.softmax(dim=-1) * visible

        policy = self.formats.k_policy
        prompt = policy == KeyPolicy.BY_KEY and q.shape[2] > 1
        if k_msb is None or policy == KeyPolicy.ALWAYS or prompt:
            return softmax(scores(k)), None
        coarse = scores(k_msb)
        first = softmax(coarse)
        if policy == KeyPolicy.MSB_ONLY:
            return first, None
        if policy == KeyPolicy.BY_KEY:
            likely = first.detach() > self.formats.threshold
            whole = scores(k)
            mixed = torch.where(likely, whole, _below_best(coarse, whole, likely))
            return softmax(mixed), likely.any(dim=-1)
        refetched = first.detach().amax(dim=-1) < self.formats.threshold
        if not refetched.any():
            return first, refetched
        return torch.where(refetched[..., None], softmax(scores(k)), first), refetched

    def _kept(self, weights: torch.Tensor, keep: torch.Tensor | None, share: float) -> torch.Tensor:
        """Weights of the values that are read; dropped ones still count in the others' probabilities."""
        told = weights.detach()
        if keep is not None:
            weights = weights * _greatest(told, keep)
        if share:
            weights = weights * (told >= share * told.amax(dim=-1, keepdim=True))
        return weights

    def _values(
        self,
        weights: torch.Tensor,
        v: Rows,
        v_msb: Rows | None,
        refetched: torch.Tensor | None,
    ) -> torch.Tensor:
        """Weighted values ``[B, H, n, D]``."""
        policy = self.formats.v_policy
        if v_msb is None or policy == ValuePolicy.ALWAYS:
            return v.weighted(weights)
        if policy == ValuePolicy.MSB_ONLY or refetched is None:
            return v_msb.weighted(weights)
        return torch.where(refetched[..., None], v.weighted(weights), v_msb.weighted(weights))

    def _tell(self, refetched: torch.Tensor | None) -> None:
        if self.watch is not None:
            cascade = self.cascade
            told = (cascade.keys, cascade.queries, cascade.heads, refetched)
            self.watch(Decision(cascade.live.step, self.layer, *told))


def _below_best(first: torch.Tensor, whole: torch.Tensor, likely: torch.Tensor) -> torch.Tensor:
    """Scores of one plane, none above the best of the ``likely`` ones' whole scores in its row."""
    best = whole.masked_fill(~likely, _FAR).amax(dim=-1, keepdim=True)
    return torch.where(likely.any(dim=-1, keepdim=True), first.minimum(best), first)


def _greatest(weights: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """``bool`` like ``weights [B, H, n, columns]``: each row's ``keep [B]`` greatest, ties to the left."""
    ranks = weights.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return ranks < keep[:, None, None, None]
