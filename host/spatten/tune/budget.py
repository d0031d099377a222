# SPDX-License-Identifier: BSD-2-Clause
"""K and V bytes of a schedule on some texts, exactly: planned where nothing is decided by data, else run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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
from .tasks import Feature, TuneTask

#: Examples that a progressive schedule is run on to count its bytes.
RUN_ON = 8
#: Halvings of the interval of the share of tokens: planned, and run.
HALVINGS, HALVINGS_RUN = 10, 6


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
    device : whose configuration counts, and where progressive schedules run.
    """

    model: PreTrainedModel
    task: TuneTask
    features: Sequence[Feature]
    device: Device

    def ratio(self, schedule: Schedule) -> float:
        """Dense 32-bit K and V bytes over those read."""
        if schedule.quantization.k_policy == KeyPolicy.PROGRESSIVE:
            step = max(1, len(self.features) // RUN_ON)
            run = self.features[::step][:RUN_ON]
            return device_scores(self.model, self.task, run, schedule, self.device).ratio(32)
        read = dense = 0.0
        for count, job in self._jobs(schedule):
            found = traffic(job, self.device.config)
            read += count * sum(found[kind] for kind in KV_KINDS)
            dense += count * 2 * 4 * job.head_dim * self._dense_rows(job)
        return dense / read

    def fitted(self, knobs: Knobs, budget: float) -> tuple[Knobs, float] | None:
        """The knobs with the greatest share of tokens that keeps the budget, and the ratio it gives.

        ``None`` if even the smallest share reads too much.
        """
        low, high = LEAST_TOKENS, 1.0
        best: tuple[Knobs, float] | None = None
        for share in (high, low):
            tried = replace(knobs, tokens=share)
            found = self.ratio(tried.schedule())
            if found >= budget:
                best = tried, found
            if (share == high) == (found >= budget):
                return best  # all tokens fit, or not even the fewest
        decided = knobs.schedule().quantization.k_policy == KeyPolicy.PROGRESSIVE
        for _ in range(HALVINGS_RUN if decided else HALVINGS):
            middle = round((low + high) / 2, 4)
            tried = replace(knobs, tokens=middle)
            found = self.ratio(tried.schedule())
            if found >= budget:
                low, best = middle, (tried, found)
            else:
                high = middle
        return best

    def _jobs(self, schedule: Schedule) -> Iterator[tuple[int, JobFacts]]:
        """Layer jobs, and how often each is done: texts of one length have the same."""
        for (prompt, generated), count in Counter(self._lengths()).items():
            for jobs in text_jobs(self._shape(), schedule, prompt, generated, refetch_share=0.0):
                yield from ((count, job) for job in jobs)

    def _lengths(self) -> Iterator[tuple[int, int]]:
        """(tokens of the first pass, tokens fed one by one) of every text."""
        steps = getattr(self.task, "steps", 0)
        for feature in self.features:
            for name in ("input_ids", "match_ids"):
                if name in feature:
                    length = len(feature[name])
                    yield (length - 1 - steps, steps) if steps else (length, 0)

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
