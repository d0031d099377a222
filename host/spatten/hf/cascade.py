# SPDX-License-Identifier: BSD-2-Clause
"""Who is alive where: cascade pruning of one sequence, from layer to layer and from step to step.

Which tokens and heads survive a layer is what the device answers; here stands only how many may, who is
protected, and what a later pass starts from. NumPy alone: nothing here knows of torch.
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from spatten_drivers import Device, LayerRequest, LayerResult, Sequence, Shape
from spatten_drivers.topk import top_k

from ..record import RunRecord
from ..schedule import LayerPlan
from .prior import prior_importance

Ids = NDArray[np.intp]


class LiveSequence:
    """One sequence in device memory, and what has been pruned of it so far.

    Attributes
    ----------
    length : slots that hold a token.
    step : passes done; 0 before the first.
    stored : ``bool [layers, slots]``, which rows a layer holds: a pruned token has none in later layers.
    heads : live heads by layer once a pruning pass has chosen them. They stay for all later steps: a head
        that is gone has no rows for the tokens that came since.
    importance : ``uint32 [slots]``, the running token importance after the last pass.
    """

    def __init__(self, device: Device, shape: Shape, plan: LayerPlan, *, causal: bool) -> None:
        self.sequence = Sequence(device, shape, plan.schedule.quantization)
        self.plan, self.causal = plan, causal
        self.length = self.step = 0
        self.stored = np.zeros((shape.layers, shape.slots), bool)
        self.heads: dict[int, Ids] = {}
        self.importance = np.zeros(shape.slots, np.uint32)
        self._reported: dict[str, int] = {}

    @property
    def prunes_now(self) -> bool:
        """Whether the pass that starts now prunes: a prompt may be read whole."""
        starts = not self.causal or self.step > 0 or self.plan.schedule.prune_prefill
        return starts and self.plan.prunes

    def report(self, record: RunRecord) -> None:
        """Add to a record what was clamped, rescaled and uploaded since the last report."""
        found = {
            "saturated": self.sequence.k.saturated + self.sequence.v.saturated,
            "rescaled": self.sequence.k.rescaled + self.sequence.v.rescaled,
            "uploaded_bytes": self.sequence.uploaded_bytes,
        }
        for name, value in found.items():
            setattr(record, name, getattr(record, name) + value - self._reported.get(name, 0))
        self._reported = found

    def copy(self) -> LiveSequence:
        """A sequence of its own that goes on from here (beam search)."""
        twin = copy.copy(self)
        twin.sequence, twin._reported = self.sequence.copy(), {}
        twin.stored, twin.importance, twin.heads = (
            self.stored.copy(),
            self.importance.copy(),
            dict(self.heads),
        )
        return twin

    def free(self) -> None:
        """Give the device memory back."""
        self.sequence.free()


class Cascade:
    """One sequence's way through the layers in one pass.

    Attributes
    ----------
    keys : live key slots of the layer that comes next, ascending.
    queries : slots of this pass's tokens that are alive there, ascending.
    heads : live heads there, ascending.
    """

    def __init__(self, live: LiveSequence, fresh: int) -> None:
        self.live, self.plan = live, live.plan
        self.first, self.length = live.length, live.length + fresh
        self.prunes = live.prunes_now
        self.queries: Ids = np.arange(self.first, self.length)
        self.keys = self._widest()
        self.heads: Ids = np.arange(live.sequence.shape.heads)
        self.protected = self._protected()

    def write(self, layer: int, k: NDArray[np.float32], v: NDArray[np.float32]) -> None:
        """Store the rows ``[live heads, queries, D]`` of this pass's live tokens."""
        self.live.sequence.write(layer, self.heads, self.queries, k, v)
        if layer == 0 and self._has_prior:
            self.live.sequence.begin_importance(prior_importance(v, self.plan.schedule.prior))
        self.live.stored[layer, self.queries] = True

    def request(self, layer: int, queries: NDArray[np.float32], scaling: float) -> LayerRequest:
        """The layer job: what is alive, and what may survive it."""
        started = self.live.step > 0 or layer > 0 or self._has_prior
        decay = self.plan.schedule.decay if self.live.step > 0 and layer == 0 else 1.0
        return LayerRequest(
            layer=layer,
            heads=self.heads,
            queries=queries,
            query_slots=self.queries,
            key_slots=self.keys,
            n_slots=self.length,
            scaling=scaling,
            causal=self.live.causal,
            keep_tokens=self._keep_tokens(layer),
            keep_heads=self._keep_heads(layer),
            keep_values=self._keep_values(layer),
            value_limit=self.plan.value_limit(layer) if self.prunes else 0,
            protected=self.protected,
            add_tokens=started,
            add_heads=started,
            decay=decay,
        )

    def advance(self, layer: int, result: LayerResult) -> None:
        """Go on to the next layer with what survived this one; after the last one the pass is over."""
        if layer + 1 == self.live.sequence.shape.layers:
            self.live.importance[: self.length] = result.answer.token_importance
            self.live.length, self.live.step = self.length, self.live.step + 1
        elif self.prunes:
            survivors = result.tokens
            self.queries = survivors[survivors >= self.first]
            # Earlier passes may have dropped a token before the next layer, which then holds no row for it.
            self.keys = survivors[(survivors >= self.first) | self.live.stored[layer + 1, survivors]]
            self.heads = self.live.heads.setdefault(layer + 1, result.heads)

    @property
    def _has_prior(self) -> bool:
        """Whether importance starts from something: of a sequence's first pass."""
        return self.live.step == 0 and self.plan.schedule.prior > 0

    def _widest(self) -> Ids:
        """The keys that layer 0 sees: all, or the most important of earlier passes.

        Before a sequence's first layer nothing is known of its tokens, so it is entered whole.
        """
        before = np.flatnonzero(self.live.stored[0, : self.first])
        keep = self.plan.tokens(0, self.length) - len(self.queries)
        if self.live.step > 0 and self.prunes and keep < len(before):
            shielded = before < self.plan.schedule.protect_first
            keep = max(keep, int(shielded.sum()))
            before = before[top_k(self.live.importance[before], keep, shielded)]
        return np.concatenate([before, self.queries])

    def _protected(self) -> frozenset[int]:
        """Slots that are never pruned: the schedule's, and what the model's next token is predicted from."""
        schedule = self.plan.schedule
        if not self.live.causal:
            last = schedule.protect_last
        else:
            last = max(schedule.protect_last, len(self.queries) if self.live.step > 0 else 1)
        front = range(min(schedule.protect_first, self.length))
        return frozenset(front) | frozenset(range(max(0, self.length - last), self.length))

    def _keep_tokens(self, layer: int) -> int | None:
        if not self.prunes or layer + 1 == self.live.sequence.shape.layers:
            return None
        wanted = self.plan.tokens(layer + 1, self.length)
        if wanted >= len(self.keys):
            return None
        return max(wanted, len(self.protected.intersection(self.keys.tolist())))

    def _keep_heads(self, layer: int) -> int | None:
        shape = self.live.sequence.shape
        if not self.prunes or layer + 1 == shape.layers or layer + 1 in self.live.heads:
            return None
        return min(len(self.heads), self.plan.heads(layer + 1, shape.heads))

    def _keep_values(self, layer: int) -> int | None:
        if not self.prunes or self.plan.value_ratios[layer] == 1.0:
            return None
        return self.plan.values(layer, len(self.keys))
