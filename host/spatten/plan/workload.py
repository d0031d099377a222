# SPDX-License-Identifier: BSD-2-Clause
"""The layer jobs of a text: who is alive in which layer, as :mod:`spatten.hf.cascade` would have it.

How many tokens, heads and values survive stands in the schedule. How much refetches, and how many values
reach a share of the greatest weight, depends on the numbers, so it is asked for. Where a pruned prompt left
tokens without a row in later layers, the most important ones of a later step are taken to have theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from spatten_drivers import KeyPolicy, Quantization

from ..schedule import LayerPlan, Schedule
from .facts import JobFacts
from .shapes import ModelShape


@dataclass
class Text:
    """One sequence on its way through the passes; counts only.

    Parameters
    ----------
    shape : of the model.
    schedule : of the text.
    refetch_share : share of the rows that refetch where the schedule is progressive; a row of one key never
        does. Where it refetches by key, share of the keys that do.
    values_share : share of the visible values that are read in layers with a ``value_share``.
    """

    shape: ModelShape
    schedule: Schedule
    refetch_share: float
    values_share: float = 1.0
    length: int = 0
    step: int = 0
    stored: list[int] = field(default_factory=list)  # rows of each layer
    heads: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stored = self.stored or [0] * self.shape.layers
        self.plan: LayerPlan = self.schedule.plan(self.shape.layers)

    def run(self, fresh: int) -> list[JobFacts]:
        """The jobs of a pass over so many new tokens: one a layer."""
        prunes = not self.shape.causal or self.step > 0 or self.schedule.prune_prefill
        length = self.length + fresh
        keys, queries, heads = self._first_keys(fresh, length, prunes), fresh, self.shape.heads
        jobs = []
        for layer in range(self.shape.layers):
            self.stored[layer] += queries
            last = layer + 1 == self.shape.layers
            keep = keys if last or not prunes else self._kept(layer, keys, length)
            jobs.append(self._job(layer, length, keys, queries, heads, keep, prunes and not last))
            if prunes and not last:
                queries = fresh if self.step else keep
                keys = min(keep, self.stored[layer + 1] + queries)
                heads = self.heads.setdefault(layer + 1, min(heads, self._heads(layer + 1)))
        self.length, self.step = length, self.step + 1
        return jobs

    def _first_keys(self, fresh: int, length: int, prunes: bool) -> int:
        before = self.stored[0]
        keep = self.plan.tokens(0, length) - fresh
        if self.step > 0 and prunes and keep < before:
            return max(keep, min(before, self.schedule.protect_first)) + fresh
        return before + fresh

    def _kept(self, layer: int, keys: int, length: int) -> int:
        """Tokens that survive: the schedule's, and at least those that are protected."""
        own = self.schedule.protect_last
        if self.shape.causal:
            own = max(own, 1)
        shielded = min(self.schedule.protect_first + own, keys)
        return min(keys, max(shielded, self.plan.tokens(layer + 1, length)))

    def _heads(self, layer: int) -> int:
        return self.plan.heads(layer, self.shape.heads)

    def _job(
        self, layer: int, length: int, keys: int, queries: int, heads: int, keep: int, prunes: bool
    ) -> JobFacts:
        rules, causal = _formats(self.schedule.quantization, queries), self.shape.causal
        grows = causal and queries > 1
        visible = np.arange(keys - queries + 1, keys + 1) if grows else np.full(queries, keys)
        refetching = {
            KeyPolicy.PROGRESSIVE: int((visible > 1).sum()),
            KeyPolicy.BY_KEY: int(visible.sum()),
        }
        prunes_values = not causal or self.step > 0 or self.schedule.prune_prefill
        pruned_values = self.plan.value_ratios[layer] < 1.0 and prunes_values
        return JobFacts(
            head_dim=self.shape.head_dim,
            total_heads=self.shape.heads,
            heads=heads,
            slots=length,
            keys=keys,
            visible=visible,
            keep_values=self.plan.values(layer, keys) if pruned_values else keys,
            keep_tokens=keep,
            keep_heads=min(heads, self._heads(layer + 1)) if prunes else heads,
            refetched=self.refetch_share * heads * refetching.get(rules.k_policy, 0),
            quantization=rules,
            causal=causal,
            adds=self.step > 0 or layer > 0 or self.plan.schedule.prior > 0,
            limited=self.values_share if self.plan.value_shares[layer] and prunes_values else 1.0,
        )


def _formats(rules: Quantization, queries: int) -> Quantization:
    """Those of a job of so many queries: a prompt reads both planes of what its steps refetch by key."""
    return replace(rules, k_policy=KeyPolicy(rules.key_fields(queries)["k_policy"]))


def text_jobs(
    shape: ModelShape,
    schedule: Schedule,
    prompt: int,
    generate: int,
    refetch_share: float,
    values_share: float = 1.0,
) -> Iterator[list[JobFacts]]:
    """The jobs of each pass: the prompt or sentence, then each generated token."""
    text = Text(shape, schedule, refetch_share, values_share)
    yield text.run(prompt)
    for _ in range(generate):
        yield text.run(1)
