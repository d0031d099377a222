# SPDX-License-Identifier: BSD-2-Clause
"""What the cycles of a job are made of in both modes: start, end, and the units over all rows.

Constants are cycles that the gateware's pipelines take by construction; they were read off the handshakes of
the jobs of `make plan-grid`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spatten_drivers import AcceleratorConfig
from spatten_drivers.planes import padded, row_bytes

from .facts import JobFacts
from .memory import Memory
from .traffic import plane_row_bytes, traffic
from .units import DIVIDER_ROW, Units

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


class JobModel(ABC):
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
        lists = latency + 2 * job.heads + (job.keys + 1) // 2 * word + job.queries + passed + BEGIN
        return header + max(CHECK_REGIONS, lists)

    @property
    def answer(self) -> float:
        """Beats of the answer's header, and its way."""
        beats = HEADER_WORDS * 4 / self.config.beat_bytes
        return ANSWER + self.memory.queue / 2 + self.memory.beat_cycles * beats

    def token_finish(self, blocked: float) -> float:
        """From the last gain on: the walk over all slots, the search unless all survive, the list.

        ``blocked`` : cycles in which outputs go first.
        """
        job, units = self.job, self.units
        walk = job.slots * self.memory.slot_cycles + WALK + blocked
        search = units.token_search(job.keys) if job.keep_tokens < job.keys else 0
        return walk + search + units.token_list(job.keys, job.keep_tokens) + TO_SURVIVORS

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
    def row_costs(self) -> dict[str, NDArray[np.float64]]:
        """Cycles by unit of each query's row, second passes by their share."""
        units, seen = self.units, self.job.visible
        return {
            "Q x K array": self._of(lambda n: units.words(n) + units.score_gap, seen) * self.passes,
            "prob x V array": self.value_words,
            "softmax": self._of(units.softmax, seen) * self.softmax_passes,
            "top-k": self._of(units.topk_row, seen),
            "outputs": np.full(len(seen), max(units.drain, DIVIDER_ROW)),
        }

    @property
    @abstractmethod
    def passes(self) -> float:
        """Passes of a row through the Q x K array, on average."""

    @property
    def softmax_passes(self) -> float:
        """Times that a row's weights are worked out, on average."""
        return self.passes

    @property
    @abstractmethod
    def value_words(self) -> NDArray[np.float64]:
        """Words of the probability x V array of each query's row."""

    @property
    @abstractmethod
    def memory_cycles(self) -> float:
        """Cycles of memory over all rows."""

    def _of(self, cost: Callable[[int], float], counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """``cost`` of each count; rows of one length are worked out once."""
        lengths, places = np.unique(counts, return_inverse=True)
        return np.array([cost(int(n)) for n in lengths], float)[places]

    @cached_property
    def paces(self) -> NDArray[np.float64]:
        """Cycles from row to row of each query: of the slowest unit beside memory."""
        slowest: NDArray[np.float64] = np.max(list(self.row_costs.values()), axis=0)
        return slowest

    def pages(self, name: str, live: int) -> float:
        """Rows of the chips of a head's plane."""
        return self.memory.pages(self.job.slots, self.plane_beats[name] * self.config.beat_bytes, live)

    @property
    def select(self) -> float:
        """From the last keys of the last row, once they are there, to its k-th greatest weight."""
        return TO_WEIGHTS + self.units.softmax(self.last) + self.units.topk_search(self.last)
