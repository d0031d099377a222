# SPDX-License-Identifier: BSD-2-Clause
"""Passes of a text on a machine: time, bytes, and what holds it up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .boards import Machine
from .cost import Cost, job_cost
from .facts import JobFacts
from .traffic import traffic

#: Passes that are worked out at most; more are sampled evenly and stand for those beside them.
MOST_PASSES = 64
OVERHEAD = "start and finish"


@dataclass(frozen=True)
class Job:
    """A planned job: its facts, cycles, bytes by kind, and how many jobs it stands for."""

    facts: JobFacts
    cost: Cost
    bytes: dict[str, float]
    weight: float = 1.0


@dataclass(frozen=True)
class Phase:
    """Jobs that belong together: the prompt or sentence, the generated tokens, or a dense run's.

    Attributes
    ----------
    machine : they run on.
    passes : forward passes: 1 for a prompt or sentence, the generated tokens else.
    jobs : of these passes.
    """

    machine: Machine
    passes: int
    jobs: tuple[Job, ...]

    @cached_property
    def cycles(self) -> float:
        """All cycles."""
        return sum(job.weight * job.cost.cycles for job in self.jobs)

    @property
    def seconds(self) -> float:
        """All seconds."""
        return self.cycles / self.machine.clock

    @property
    def passes_a_second(self) -> float:
        """Sentences or tokens a second."""
        return self.passes / self.seconds

    @cached_property
    def bytes(self) -> dict[str, float]:
        """Bytes by kind, as the contract's counters name them."""
        sums: defaultdict[str, float] = defaultdict(float)
        for job in self.jobs:
            for kind, count in job.bytes.items():
                sums[kind] += job.weight * count
        return dict(sums)

    @property
    def total_bytes(self) -> float:
        """All bytes."""
        return sum(self.bytes.values())

    @property
    def dram_share(self) -> float:
        """Bytes moved over those that the data lines could have moved in that time."""
        return self.total_bytes / (self.seconds * self.machine.peak_bytes)

    @cached_property
    def operations(self) -> float:
        """Multiplications and additions of Q x K and of probability x V for what is alive."""
        return sum(job.weight * _operations(job.facts) for job in self.jobs)

    @cached_property
    def busy(self) -> dict[str, float]:
        """Share of the time in which each unit works."""
        sums: defaultdict[str, float] = defaultdict(float)
        for job in self.jobs:
            for unit, cycles in job.cost.units.items():
                sums[unit] += job.weight * cycles
        return {unit: cycles / self.cycles for unit, cycles in sums.items()}

    @cached_property
    def held(self) -> dict[str, float]:
        """Share of the time that each unit, as the slowest, decides; the rest is start and finish."""
        sums: defaultdict[str, float] = defaultdict(float)
        for job in self.jobs:
            slowest = max(job.cost.units, key=lambda name: job.cost.units[name])
            sums[slowest] += job.weight * job.cost.rows
            sums[OVERHEAD] += job.weight * job.cost.overhead
        return {unit: cycles / self.cycles for unit, cycles in sums.items()}

    @property
    def bottleneck(self) -> str:
        """What decides most of the time."""
        return max(self.held, key=lambda unit: self.held[unit])


def _operations(facts: JobFacts) -> float:
    """Two operations a multiplier and element: each visible key, and each kept value."""
    return float(2 * facts.heads * facts.head_dim * (facts.visible.sum() + facts.kept.sum()))


def phase(machine: Machine, passes: Iterable[list[JobFacts]], count: int) -> Phase:
    """The phase of ``count`` passes. Long ones are sampled: see :data:`MOST_PASSES`."""
    chosen = _sampled(count)
    memory, config = machine.memory, machine.config
    jobs = [
        Job(facts, job_cost(facts, config, memory), traffic(facts, config), chosen[number])
        for number, layers in enumerate(passes)
        if number in chosen
        for facts in layers
    ]
    return Phase(machine, count, tuple(jobs))


def _sampled(count: int) -> dict[int, float]:
    """Places of the passes to work out, and how many each stands for: those between two lie on a line."""
    places = np.unique(np.linspace(0, count - 1, min(count, MOST_PASSES)).round().astype(int))
    shares = [np.interp(np.arange(count), places, one).sum() for one in np.eye(len(places))]
    return dict(zip(places.tolist(), map(float, shares), strict=True))


def phases(machine: Machine, passes: Iterable[list[JobFacts]], generate: int) -> dict[str, Phase]:
    """The first pass, and the generated tokens if there are any: ``prompt`` and ``tokens``."""
    walk = iter(passes)
    made = {"prompt": phase(machine, [next(walk)], 1)}
    if generate:
        made["tokens"] = phase(machine, walk, generate)
    return made
