# SPDX-License-Identifier: BSD-2-Clause
"""Cycles of a layer job: which unit is the slowest, and what is added before, between and behind.

Start, rows and end follow one another. Over the rows every unit works all the time or waits for the slowest
one; what no overlap hides has a name of its own in :class:`Cost`. Constants are cycles that the gateware's
pipelines take by construction; they were read off the handshakes of the jobs of `make plan-grid`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spatten_drivers import AcceleratorConfig, KeyPolicy, ValuePolicy
from spatten_drivers.planes import padded, row_bytes

from .facts import JobFacts
from .memory import Memory
from .traffic import plane_row_bytes, traffic
from .units import DIVIDER_ROW, SLOTS, Units

#: From the push of a descriptor to its first command, and from its last word to that of the tables.
TAKE, CHECK_HEADER = 7, 13
HEADER_WORDS = 64
#: From the first table command until the checks of the regions are through, whatever the lists are.
CHECK_REGIONS = 106
#: From the last entry of the lists to the first command of the rows.
BEGIN = 14
#: Cycles of a command that fetches one row, at least.
QUERY_COMMAND = 4
#: From the last command of a row's keys to the first of its weights, without memory's latency: conversion,
#: array, maximum, 2^-x, sum.
TO_WEIGHTS = 25
#: From the k-th greatest weight to the first command of a kept value: marks, places, the choice, the fetch.
TO_VALUES = 30
#: From a row's sum to the first command of its LSBs: the decision, the order, the choice, the fetch.
TO_LSBS = 14
#: From the last word of values to the last output element but the drain, and memory's latency to it.
TO_OUTPUT = 24
#: Gains are added up before the values of their last words are through the array.
GAINS_AHEAD = 15
#: From the last gain to the first word of importance written, and on to the survivors' search.
WALK, TO_SURVIVORS = 30, 9
#: A head's importance: 20 cycles, the shift that most scales have, and the hand-over.
HEAD_UPDATE = 44
#: Of the answer, beside its beats.
ANSWER = 8


@dataclass(frozen=True)
class Cost:
    """Cycles of a job from the push of its descriptor to its end.

    Attributes
    ----------
    start : descriptor read and checked.
    fill : until the first row can begin.
    rows : the slowest unit over all rows.
    waits : the slowest unit waits inside the rows: loads and chains that nothing hides.
    end : from the last word of the slowest unit to importance and survivors written.
    answer : the answer written.
    units : busy cycles by unit.
    """

    start: float
    fill: float
    rows: float
    waits: float
    end: float
    answer: float
    units: dict[str, float]

    @property
    def cycles(self) -> float:
        """All of them."""
        return self.start + self.fill + self.rows + self.waits + self.end + self.answer

    @property
    def overhead(self) -> float:
        """Cycles in which the slowest unit does not work: start, fill, waits and end."""
        return self.cycles - self.rows

    @property
    def bottleneck(self) -> str:
        """The slowest unit, or ``start and finish`` where that is most of the job."""
        slowest = max(self.units, key=lambda name: self.units[name])
        return slowest if self.rows > self.overhead else "start and finish"


def job_cost(job: JobFacts, config: AcceleratorConfig, memory: Memory) -> Cost:
    """Cycles of a job on a core of that configuration behind that memory."""
    made = _Reuse if job.reuses(config.kv_buffer_rows) else _Stream
    return made(job, config, memory).cost()


class _Job:
    """What both modes share."""

    def __init__(self, job: JobFacts, config: AcceleratorConfig, memory: Memory) -> None:
        self.job, self.config, self.memory = job, config, memory
        self.units = Units(config, job.head_dim)
        beat = config.beat_bytes
        self.beats = {name: size // beat for name, size in traffic(job, config).items()}
        self.plane_beats = {name: size // beat for name, size in plane_row_bytes(job, config).items()}
        self.query_beats = row_bytes(job.head_dim, job.quantization.q_bits, beat) // beat
        self.output_beats = padded(2 * job.head_dim, beat) // beat
        self.last = int(job.visible[-1])  # keys of the row that comes last

    # Start and end -----------------------------------------------------------------------------------

    @property
    def start(self) -> float:
        """Header, checks, lists; causal queries are merged with the keys that they do not all see."""
        job, latency = self.job, self.memory.latency
        word = max(1.0, self.memory.beat_cycles * 4 / self.config.beat_bytes)
        header = TAKE + latency + HEADER_WORDS * word + CHECK_HEADER
        passed = int(job.visible[job.visible < job.keys].max(initial=0)) if job.causal else 0
        lists = latency + 2 * job.heads + job.keys + job.queries + passed + BEGIN
        return header + max(CHECK_REGIONS, lists)

    @property
    def answer(self) -> float:
        """Beats of the answer's header, and its way."""
        beats = HEADER_WORDS * 4 / self.config.beat_bytes
        return ANSWER + self.memory.queue / 2 + self.memory.beat_cycles * beats

    def token_finish(self, blocked: float) -> float:
        """From the last gain on: the walk over all slots, the search, the list.

        ``blocked`` : cycles in which outputs go first.
        """
        job, units = self.job, self.units
        walk = job.slots * self.memory.slot_cycles + WALK + blocked
        return walk + units.token_search(job.keys) + job.keys + TO_SURVIVORS

    @property
    def head_finish(self) -> float:
        """From the last output on: the last head's importance, then each head is compared with all."""
        return HEAD_UPDATE + self.job.heads * (self.job.heads + 6)

    # Units -------------------------------------------------------------------------------------------

    @cached_property
    def by_unit(self) -> dict[str, float]:
        """Busy cycles over all rows, by unit."""
        sums = {name: float(cost.sum()) * self.job.heads for name, cost in self.row_costs.items()}
        return sums | {"DRAM": self.memory_cycles}

    @cached_property
    def row_costs(self) -> dict[str, np.ndarray]:
        """Cycles by unit of each query's row, second passes by their share."""
        units, seen = self.units, self.job.visible
        return {
            "Q x K array": self._of(lambda n: units.words(n) + units.score_gap, seen) * self.passes,
            "prob x V array": self.value_words,
            "softmax": self._of(units.softmax, seen) * self.passes,
            "top-k": self._of(units.topk_row, seen),
            "outputs": np.full(len(seen), max(units.drain, DIVIDER_ROW)),
        }

    @property
    def passes(self) -> float:
        """Passes of a row through the Q x K array, on average."""
        raise NotImplementedError

    @property
    def value_words(self) -> np.ndarray:
        """Words of the probability x V array of each query's row."""
        raise NotImplementedError

    @property
    def memory_cycles(self) -> float:
        """Cycles of memory over all rows."""
        raise NotImplementedError

    def _of(self, cost, counts: np.ndarray) -> np.ndarray:
        """``cost`` of each count; rows of one length are worked out once."""
        lengths, places = np.unique(counts, return_inverse=True)
        return np.array([cost(int(n)) for n in lengths])[places]

    @cached_property
    def paces(self) -> np.ndarray:
        """Cycles from row to row of each query: of the slowest unit beside memory."""
        return np.max(list(self.row_costs.values()), axis=0)

    def pages(self, name: str, live: int) -> float:
        """Rows of the chips of a head's plane."""
        return self.memory.pages(self.job.slots, self.plane_beats[name] * self.config.beat_bytes, live)

    @property
    def select(self) -> float:
        """From the last keys of the last row, once they are there, to its k-th greatest weight."""
        return TO_WEIGHTS + self.units.softmax(self.last) + self.units.topk_search(self.last)


class _Stream(_Job):
    """K and V of every row from memory: up to four rows fetch K, then they fetch V."""

    @property
    def passes(self) -> float:
        """A plane of K is a pass."""
        return 1 + self.job.second_share

    @property
    def value_words(self) -> np.ndarray:
        """Kept values close together, once for each plane."""
        return self._of(self.units.words, self.job.kept) * (1 + self.job.value_share)

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
        rows = max(self.memory_cycles, float(self.paces.sum()) * job.heads)
        chain = memory.latency + memory.queue + self.select
        others = (self.values_behind - 1) * self.value_row
        waits = max(0.0, chain + TO_VALUES - others) + self._lsb_waits()
        gains = chain + max(self.units.softmax(self.last), int(job.kept[-1]))
        finished = gains + self.token_finish(self._blocked)  # both from the last keys on
        behind = others + max(self.value_row, self.value_row + chain + TO_VALUES - others)
        walk = min(self.walk, 2 * max(0.0, behind - gains))
        after_values = walk + TO_OUTPUT + memory.latency + job.head_dim + self.head_finish
        end = max(after_values, finished - behind)
        return Cost(self.start, 0.0, rows, waits, end, self.answer, self.by_unit)

    def _lsb_waits(self) -> float:
        """LSBs are asked for once a row's sum is known; keys of the group's other rows come meanwhile."""
        job = self.job
        if not self.passes > 1.0:
            return 0.0
        arrived = self.memory.latency + self.memory.queue
        decided = arrived + TO_WEIGHTS + self.units.softmax(self.last) + TO_LSBS
        keys = self.memory.cycles(self.last * self.plane_beats["k_msb"])
        groups = [SLOTS] * ((job.rows - 1) // SLOTS) + [(job.rows - 1) % SLOTS + 1]
        likely = min(1.0, job.second_share * SLOTS)
        return likely * sum(max(0.0, decided - (rows - 1) * keys) for rows in groups)

    @property
    def _blocked(self) -> float:
        """Importance waits for outputs that come meanwhile, as a row of them is one burst."""
        meanwhile = self.values_behind * self.value_row < self.job.slots
        return min(self.values_behind, 2) * (self.job.head_dim - 8.0) if meanwhile else 0.0


class _Reuse(_Job):
    """K and V of a head are loaded once; every query reads them on chip."""

    @property
    def passes(self) -> float:
        """Rows that are unsure go through the LSB plane too."""
        progressive = self.job.quantization.k_policy == KeyPolicy.PROGRESSIVE
        return 1 + (self.job.refetch_share if progressive else 0.0)

    @property
    def value_words(self) -> np.ndarray:
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
