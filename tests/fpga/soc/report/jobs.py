# SPDX-License-Identifier: BSD-2-Clause
"""Layer jobs behind the memory of the ECPIX-5: cycles, bytes, and what each cycle went to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from rich.progress import track

from spatten_drivers.answer import BYTE_COUNTERS, decode_header
from spatten_drivers.config import PRESETS
from tests.fpga.core.core_bench import core_bench
from tests.fpga.plan.grid import STATIC8, decode, prefill
from tests.model.jobs import JobImage, JobSpec, build
from tests.model.test_against_model import run_model

PRESET = "ecp5-85f"
KEYS, SHARE_KEPT = 992, 0.3
#: Bytes that the data lines of the ECPIX-5 move in a cycle of the system at most: 16 lines, 4 transfers.
DRAM_BYTES_PER_CYCLE = 8


@dataclass
class Played:
    """One job, or several one after the other.

    Attributes
    ----------
    jobs, mismatches : how many, and of them those whose answer is not the software model's.
    cycles : from the push of each to its end.
    bytes : read and written, as the answers count them: all that the job needs.
    refetched : rows that refetched.
    counters : clocked counters of the answers: busy and waiting cycles.
    shares : cycles by what they went to (:data:`tests.fpga.core.cycle_shares.SHARES`).
    operations : multiplications and additions that the attention asks for; second passes do not count.
    seconds : of the simulation.
    """

    jobs: int = 0
    mismatches: int = 0
    cycles: int = 0
    bytes: int = 0
    refetched: int = 0
    operations: int = 0
    counters: Counter[str] = field(default_factory=Counter)
    shares: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def dram_share(self) -> float:
        """Needed bytes over what the DRAM could have moved in that time."""
        return self.bytes / (self.cycles * DRAM_BYTES_PER_CYCLE)

    @property
    def busy(self) -> float:
        """Share of the cycles in which the less busy of the two arrays worked."""
        return min(self.counters["busy_qk"], self.counters["busy_pv"]) / self.cycles


def played(spec: JobSpec, image: JobImage) -> Played:
    """Run a job on the simulated core and on the software model; ``image`` is ``spec``, built.

    Raises
    ------
    AssertionError : it is not one that a core accepts.
    """
    core, start = core_bench(PRESETS[PRESET], board=True), time.perf_counter()
    status, memory, clocked = core.run(image, limit=50_000_000)
    seconds = time.perf_counter() - start
    expected = run_model(image, "numba")
    assert clocked, f"a job ended with status {status}"
    fields, counted = header(image, memory)
    return Played(
        jobs=1,
        mismatches=int((status, memory) != expected),
        cycles=core.cycles,
        bytes=sum(counted[one.name] for one in BYTE_COUNTERS),
        refetched=fields["refetched_rows"],
        operations=operations(spec),
        counters=Counter(clocked),
        shares=Counter(core.shares),
        seconds=seconds,
    )


def operations(spec: JobSpec) -> int:
    """Multiplications and additions of Q x K and probability x V."""
    asked = np.array(spec.queries)
    seen = (
        np.searchsorted(spec.keys, asked, side="right")
        if spec.causal
        else np.full(len(asked), len(spec.keys))
    )
    products = seen.sum() + np.minimum(seen, spec.keep_values).sum()
    return 2 * len(spec.heads) * spec.head_dim * int(products)


def header(image: JobImage, memory: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """Fields and counters of a job's answer."""
    start = image.regions["answer"][0]
    return decode_header(np.frombuffer(memory[start : start + 256], np.uint8))


def together(several: Iterable[Played]) -> Played:
    """Sums."""
    total = Played()
    for one in several:
        for name, value in vars(one).items():
            if isinstance(value, Counter):
                getattr(total, name).update(value)  # `+` would leave out what is 0
            else:
                setattr(total, name, getattr(total, name) + value)
    return total


def specs() -> dict[str, JobSpec]:
    """The jobs of the issue's figures: GPT-2 small is 12 heads of 64."""
    kept = round(KEYS * SHARE_KEPT)
    return {
        "decode": decode(PRESET, KEYS, **STATIC8),
        "decode_pruned": decode(PRESET, KEYS, keys=kept, **STATIC8),
        "prefill": prefill(PRESET, 384, 4),
    }


def all_played() -> dict[str, Played]:
    """Each of them."""
    return {name: played(spec, build(spec)) for name, spec in track(list(specs().items()), "single jobs")}
