# SPDX-License-Identifier: BSD-2-Clause
"""Cycles of a job whose K and V come from memory for every row: one query, or keys that no buffer holds."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .job_model import TO_LSBS, TO_OUTPUT, TO_VALUES, TO_WEIGHTS, Cost, JobModel
from .units import OUTSTANDING, SLOTS


class StreamModel(JobModel):
    """K and V of every row from memory: up to four rows fetch K, then they fetch V."""

    @property
    def passes(self) -> float:
        """A plane of K is a pass; with refetch by key the second is as long as it has keys."""
        return 1 + self.job.second_share

    @property
    def softmax_passes(self) -> float:
        """Of the weights: a row in which keys refetch is weighed anew as a whole."""
        return 1 + self.job.refetch_share if self.job.by_key else self.passes

    @property
    def value_words(self) -> NDArray[np.float64]:
        """Kept values close together, once for each plane."""
        return self._of(self.units.words, np.ceil(self.job.kept).astype(int)) * (1 + self.job.value_share)

    @cached_property
    def memory_cycles(self) -> float:
        """All beats of the rows."""
        job = self.job
        reads = sum(self.beats[f"read_{name}"] for name in ("q", "k_msb", "k_lsb", "v_msb", "v_lsb"))
        seen, kept = int(job.visible.mean()), int(job.kept.mean())
        pages = job.rows * (
            self.pages("k_msb", seen)
            + self.pages("k_lsb", seen) * job.second_share
            + self.pages("v_msb", kept)
            + self.pages("v_lsb", kept) * job.value_share
        )
        written = self.beats["written_output"] * (job.rows - 1) / job.rows  # the last row's come behind
        return self.memory.cycles(reads, written, pages, self.memory.write_extra_stream)

    @property
    def value_row(self) -> float:
        """Cycles of memory for the values of the last row."""
        beats = self.plane_beats["v_msb"] + self.plane_beats["v_lsb"] * self.job.value_share
        return self.memory.cycles(int(self.job.kept[-1]) * beats)

    @property
    def values_behind(self) -> float:
        """Rows whose values come behind the last keys: up to four.

        Of a group in which some rows refetch, about half goes before the last LSBs.
        """
        group = min(self.job.rows, (self.job.rows - 1) % SLOTS + 1)
        share = self.job.refetch_share if self.job.second_share < 1.0 else 0.0
        return max(1.0, group * (1.0 - 2.0 * share * (1.0 - share)))

    @property
    def walk(self) -> float:
        """Cycles that memory gives to running importance, in turns with the values that are fetched then."""
        read, written = self.beats["read_importance"], self.beats["written_importance"]
        return self.memory.cycles(read, written, write_extra=self.memory.write_extra_walk)

    def cost(self) -> Cost:
        """Memory, or the units, to the last value; behind that the chain of the last row."""
        job, memory = self.job, self.memory
        computed = (
            float(self.paces.sum()) * job.heads * (job.rows - 1) / job.rows
        )  # the last row's are behind
        rows = max(self.memory_cycles, computed)
        chain = self._arrival + self.select
        others = (self.values_behind - 1) * self.value_row
        waits = max(0.0, chain + TO_VALUES - others) + self._lsb_waits()
        gains = chain + max(self.units.softmax(self.last), int(job.kept[-1]))
        finished = gains + self.token_finish(self._blocked)  # both from the last keys on
        behind = others + max(self.value_row, self.value_row + chain + TO_VALUES - others)
        left = min(behind - gains, others + self.value_row)  # of the values when the walk begins
        walk = min(self.walk, 2 * max(0.0, left))
        after_values = walk + TO_OUTPUT + memory.latency + job.head_dim + self.head_finish
        end = max(after_values, finished - behind)
        return Cost(self.start, 0.0, rows, waits, end, self.answer, self.by_unit)

    @property
    def _arrival(self) -> float:
        """From the last command of a row's keys to its data; keys that fit into the queue wait less in it."""
        beats = self.last * self.plane_beats["k_msb"]
        return self.memory.latency + self.memory.queue * min(1.0, beats / OUTSTANDING)

    def _lsb_waits(self) -> float:
        """LSBs are asked for once a row's sum is known; keys of the group's other rows come meanwhile."""
        job = self.job
        if not self.passes > 1.0:
            return 0.0
        decided = self._arrival + TO_WEIGHTS + self.units.softmax(self.last) + TO_LSBS
        keys = self.memory.cycles(self.last * self.plane_beats["k_msb"])
        groups = [SLOTS] * ((job.rows - 1) // SLOTS) + [(job.rows - 1) % SLOTS + 1]
        likely = min(1.0, (job.refetch_share if job.by_key else job.second_share) * SLOTS)
        return likely * sum(max(0.0, decided - (rows - 1) * keys) for rows in groups)

    @property
    def _blocked(self) -> float:
        """Importance waits for outputs that come meanwhile, as a row of them is one burst."""
        meanwhile = self.values_behind * self.value_row < self.job.slots
        return min(self.values_behind, 2) * (self.job.head_dim - 8.0) if meanwhile else 0.0
