# SPDX-License-Identifier: BSD-2-Clause
"""Cycles of a job whose K and V stay on chip over the queries of a head."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spatten_drivers import KeyPolicy, ValuePolicy

from .job_model import GAINS_AHEAD, QUERY_COMMAND, TO_LSBS, TO_OUTPUT, TO_WEIGHTS, Cost, JobModel
from .units import SLOTS


class ReuseModel(JobModel):
    """K and V of a head are loaded once; every query reads them on chip."""

    @property
    def passes(self) -> float:
        """Rows that are unsure go through the LSB plane too."""
        progressive = self.job.quantization.k_policy == KeyPolicy.PROGRESSIVE
        return 1 + (self.job.refetch_share if progressive else 0.0)

    @property
    def value_words(self) -> NDArray[np.float64]:
        """All values in their places, whether they are kept or not."""
        return self._of(self.units.words, self.job.visible)

    def _load(self, kind: str) -> float:
        """Beats of K or V of a head that are loaded ahead."""
        rules = self.job.quantization
        both = (rules.k_policy == KeyPolicy.ALWAYS) if kind == "k" else (rules.v_policy == ValuePolicy.ALWAYS)
        beats = self.plane_beats[f"{kind}_msb"] + (self.plane_beats[f"{kind}_lsb"] if both else 0)
        return self.job.keys * beats

    @property
    def late_load(self) -> float:
        """Beats of the LSB planes that a head loads when a row is unsure."""
        rules, share = self.job.quantization, self.job.refetching_heads / self.job.heads
        late = self.plane_beats["k_lsb"] if rules.k_policy == KeyPolicy.PROGRESSIVE else 0
        late += self.plane_beats["v_lsb"] if rules.v_policy == ValuePolicy.ON_REFETCH else 0
        return share * self.job.keys * late

    def _load_cycles(self, beats: float, written: float = 0.0) -> float:
        """Cycles of memory for a load, with the rows of the chips it goes through and outputs beside it."""
        pages = beats * self.config.beat_bytes / self.memory.page_bytes if self.memory.page_bytes else 0.0
        spread = self.job.slots / self.job.keys
        return self.memory.cycles(beats, written, pages * spread, self.memory.write_extra)

    @cached_property
    def memory_cycles(self) -> float:
        """All loads, queries and outputs."""
        heads = self.job.heads
        loads = self._load_cycles(self._load("k") + self._load("v") + self.late_load)
        extra = self.memory.write_extra
        return heads * loads + self.memory.cycles(
            self.beats["read_q"], self.beats["written_output"], write_extra=extra
        )

    def cost(self) -> Cost:
        """The slowest unit over all rows, what a head waits for, and the last row's way out."""
        job, memory = self.job, self.memory
        computed = float(self.paces.sum()) * job.heads
        rows = max(computed, self.memory_cycles)
        ahead = min(job.rows, self.config.query_buffer_rows)
        queries = ahead * max(QUERY_COMMAND, memory.cycles(self.query_beats))
        first_load = self._load_cycles(self._load("k"))
        fill = queries + first_load + memory.latency + TO_WEIGHTS
        waits = job.heads * self._lsb_wait()
        if computed >= self.memory_cycles:
            waits += self._waits()
        end = max(self._tokens_end, self._outputs_end)
        return Cost(self.start, fill, rows, waits, end, self.answer, self.by_unit)

    def _way(self, keys: int) -> float:
        """Of a row, from its last key in the Q x K array to its last value in the other."""
        units = self.units
        return TO_WEIGHTS + units.softmax(keys) + units.topk_search(keys) + units.words(keys)

    @property
    def _outputs_end(self) -> float:
        """From the last row's end in the slowest unit to the last head's importance."""
        job, units = self.job, self.units
        first = units.words(int(job.visible[0])) + self._way(int(job.visible[0]))
        last = self._way(self.last) + job.head_dim - self._lead
        return max(first * self._begins_with_outputs, last) + TO_OUTPUT + self.head_finish

    @property
    def _begins_with_outputs(self) -> bool:
        """Outputs are the slowest unit of the first row: they begin behind that row's way."""
        return bool(self.paces[0] <= self.row_costs["outputs"][0])

    @property
    def _lead(self) -> float:
        """Cycles that the Q x K array is ahead where outputs were the slowest: three rows, less its gaps."""
        if not self._begins_with_outputs:
            return 0.0
        longer = int((self.paces > self.row_costs["outputs"]).sum())  # causal rows at the end
        lead = (SLOTS - 1) * self.units.drain - longer * self.units.score_gap
        return max(0.0, float(lead))

    @property
    def _tokens_end(self) -> float:
        """The same to the list of survivors; gains keep step with the values."""
        drained = self._outputs_end - TO_OUTPUT - self.head_finish - self.job.head_dim
        return drained - GAINS_AHEAD + self.token_finish(blocked=self.job.head_dim - 8.0)

    def _waits(self) -> float:
        """Loads ahead that rows do not hide, for each head that has them."""
        heads, arrives = self.job.heads, self.memory.latency + TO_WEIGHTS
        four = float(self.paces[:SLOTS].sum())
        for_values = max(0.0, self._load_cycles(self._load("v")) - four)
        if 2 * self.units.words(self.job.keys) <= self.units.buffer_words:  # the next head loads meanwhile
            return for_values + (heads - 1) * self._query_wait()
        again = self._load_cycles(self._load("k")) + arrives + self.select + self.units.words(self.last)
        return heads * for_values + (heads - 1) * again

    def _lsb_wait(self) -> float:
        """The first unsure row of a head waits for the LSB planes; three rows behind it go on."""
        if not self.late_load:
            return 0.0
        decided = 2 * self.memory.latency + TO_WEIGHTS + self.units.softmax(self.last) + TO_LSBS
        return max(0.0, decided + self._load_cycles(self.late_load) - float(self.paces[1:SLOTS].sum()))

    def _query_wait(self) -> float:
        """The next head's load is one burst: queries that were not fetched before wait for its end."""
        ahead = self.paces[: self.config.query_buffer_rows]
        if len(ahead) < self.config.query_buffer_rows:
            return 0.0
        load = self._load_cycles(self._load("k") + self._load("v"), len(ahead) * self.output_beats)
        return max(0.0, load - float(ahead.sum()))
