# SPDX-License-Identifier: BSD-2-Clause
"""K and V bytes of a schedule on some texts, exactly: planned where nothing is decided by data, else run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedModel

from spatten_drivers import Device, KeyPolicy

from ..errors import InputError
from ..plan.facts import JobFacts
from ..plan.shapes import ModelShape
from ..plan.traffic import traffic
from ..plan.workload import text_jobs
from ..record import KV_KINDS
from ..schedule import Schedule
from .knobs import LEAST_TOKENS, Knobs
from .measure import device_scores
from .tasks import Feature, TuneTask, texts_of

#: Examples that a schedule is run on to count its bytes, where data decide them: one that is looked at, and
#: one that is chosen, for few examples can be some percent off. Of windows, whose steps decide one by one,
#: a quarter of that.
RUN_ON, CHOSEN_ON = 8, 64
#: Halvings of the interval of the share of tokens.
HALVINGS = 10
#: Runs that count what data decide, at most; a ratio so near above the budget needs no other.
RUNS, NEAR = 6, 1.01
#: Aimed at beyond the budget, twice as much in each run: shares of few tokens come in steps.
SPARE = 0.003

#: Knobs, and the ratio that they give.
Fit = tuple[Knobs, float]


def ratio_of(text: str) -> float:
    """``"10x"`` or ``"10"`` as 10.0.

    Raises
    ------
    InputError : no number, or below 1.
    """
    try:
        found = float(text.strip().lower().removesuffix("x"))
    except ValueError:
        found = math.nan
    if not 1.0 <= found < math.inf:
        raise InputError(
            f"budget is {text!r}; expected a factor such as 10x: K and V bytes below dense 32 bit"
        )
    return found


@dataclass
class Bytes:
    """Counts K and V bytes on fixed examples.

    Parameters
    ----------
    model, task, features : what runs; a static schedule needs the lengths alone.
    device : whose configuration counts, and where schedules run whose bytes data decide.
    """

    model: PreTrainedModel
    task: TuneTask
    features: Sequence[Feature]
    device: Device

    def ratio(self, schedule: Schedule, examples: int = RUN_ON) -> float:
        """Dense 32-bit K and V bytes over those read; where data decide, on so many of the examples."""
        if not _decides(schedule):
            return self.planned(schedule)
        if self.task.generates:
            examples = max(1, examples // 4)
        step = max(1, len(self.features) // examples)
        run = self.features[::step][:examples]
        return device_scores(self.model, self.task, run, schedule, self.device).ratio(32)

    def planned(self, schedule: Schedule) -> float:
        """The same from lengths alone; the most it can be, where data decide: no LSBs, one value a row."""
        read = dense = 0.0
        for count, job in self._jobs(schedule):
            found = traffic(job, self.device.config)
            read += count * sum(found[kind] for kind in KV_KINDS)
            dense += count * 2 * 4 * job.head_dim * self._dense_rows(job)
        return dense / read

    def reaches(self, knobs: Knobs, budget: float) -> bool:
        """Whether the smallest share of tokens may keep the budget, from lengths alone."""
        return self.planned(replace(knobs, tokens=LEAST_TOKENS).schedule()) >= budget

    def fitted(
        self, knobs: Knobs, budget: float, examples: int = RUN_ON, like: Fit | None = None
    ) -> Fit | None:
        """The knobs with the greatest share of tokens that keeps the budget, and the ratio it gives.

        ``None`` if even the smallest share reads too much. ``examples`` as for :meth:`ratio`. ``like`` is a
        fit of knobs like these, from which the plan is known to be off by about so much: with it one run is
        mostly enough where data decide.
        """
        if not _decides(knobs.schedule()):
            return self._planned_fit(knobs, budget)
        return self._counted_fit(knobs, budget, examples, like)

    def _planned_fit(self, knobs: Knobs, budget: float) -> Fit | None:
        """By halving: what is planned falls as tokens are kept."""

        def tried(share: float) -> Fit:
            turned = replace(knobs, tokens=share)
            return turned, self.planned(turned.schedule())

        low, high = LEAST_TOKENS, 1.0
        if (best := tried(high))[1] >= budget:
            return best
        if (best := tried(low))[1] < budget:
            return None
        for _ in range(HALVINGS):
            middle = tried(round((low + high) / 2, 4))
            if middle[1] >= budget:
                low, best = middle[0].tokens, middle
            else:
                high = middle[0].tokens
        return best

    def _counted_fit(self, knobs: Knobs, budget: float, examples: int, like: Fit | None) -> Fit | None:
        """By the plan, which each run on the device tells how far it is off."""
        least = replace(knobs, tokens=LEAST_TOKENS)
        aim, kept = budget, list[Fit]()
        if like is not None:
            aim *= self.planned(like[0].schedule()) / like[1] * (1 + SPARE)
        for run in range(RUNS):
            turned, planned = self._planned_fit(knobs, aim) or (least, self.planned(least.schedule()))
            counted = self.ratio(turned.schedule(), examples)
            if counted >= budget:
                kept.append((turned, counted))
            if turned == least or budget <= counted <= NEAR * budget or (kept and turned.tokens == 1.0):
                break
            aim = planned * budget / counted * (1 + SPARE * 2**run)
        if not kept and turned != least and (counted := self.ratio(least.schedule(), examples)) >= budget:
            return least, counted
        return max(kept, key=lambda fit: fit[0].tokens, default=None)

    def _jobs(self, schedule: Schedule) -> Iterator[tuple[int, JobFacts]]:
        """Layer jobs, and how often each is done: texts of one length have the same."""
        for (prompt, generated), count in Counter(self._lengths()).items():
            for jobs in text_jobs(
                self._shape(), schedule, prompt, generated, refetch_share=0.0, values_share=0.0
            ):
                yield from ((count, job) for job in jobs)

    def _lengths(self) -> Iterator[tuple[int, int]]:
        """(tokens of the first pass, tokens fed one by one) of every text."""
        steps = getattr(self.task, "steps", 0)
        for feature in self.features:
            for text in texts_of(feature):
                yield (len(text) - 1 - steps, steps) if steps else (len(text), 0)

    def _shape(self) -> ModelShape:
        config = self.model.config
        heads, positions = config.num_attention_heads, config.max_position_embeddings
        dim, causal = config.hidden_size // heads, self.task.generates
        return ModelShape("model", config.num_hidden_layers, heads, dim, positions, causal)

    def _dense_rows(self, job: JobFacts) -> int:
        """Rows of K that a job of this shape fetches with nothing pruned (contract, section 8)."""
        if job.reuses(self.device.config.kv_buffer_rows):
            return job.total_heads * job.slots
        if job.causal:
            return job.total_heads * sum(range(job.slots - job.queries + 1, job.slots + 1))
        return job.total_heads * job.queries * job.slots


def _decides(schedule: Schedule) -> bool:
    """Whether the data decide which planes, or how many values, are read."""
    by_data = schedule.quantization.k_policy in (KeyPolicy.PROGRESSIVE, KeyPolicy.BY_KEY)
    return by_data or bool(np.any(schedule.value_share))
