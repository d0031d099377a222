# SPDX-License-Identifier: BSD-2-Clause
"""Running head importance and surviving heads against contract, sections 6.3 and 7."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from litex.gen import LiteXModule
from litex.soc.interconnect.stream import Endpoint
from migen import READ_FIRST, If, Memory

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.finish_heads import HeadFinish
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.sim.bench import Bench, Run, gaps

from .finish import Surroundings, beats_of, region

SHAPES = [(4, 16), (8, 1), (64, 13)]  # beat bytes, most heads
SUM_LIMIT = 1 << 33
WORD_MAX = (1 << 48) - 1
TABLE = (("head_id", 8), ("importance_mult", 16), ("importance_shift", 6), ("sum", 33))


class Dut(LiteXModule):
    """A unit with its memory, its head table and the sums of the heads, which ``complete`` one by one."""

    def __init__(self, geometry: Geometry, beats: int) -> None:
        self.unit = unit = HeadFinish(geometry)
        self.around = Surroundings(geometry, beats, unit.port, unit.write)
        self.go = go = Endpoint([])
        self.entries = entries = Endpoint([("index", 8), *TABLE])
        self.complete = complete = Endpoint([])

        # # #

        self.comb += [go.ready.eq(1), unit.start.eq(go.valid), entries.ready.eq(1)]
        self.comb += complete.ready.eq(~go.valid)
        self.sync += If(go.valid, unit.summed.eq(0)).Elif(complete.valid, unit.summed.eq(unit.summed + 1))
        for name, width in TABLE:
            memory = Memory(width, 16)
            store = memory.get_port(write_capable=True, mode=READ_FIRST)
            fetch = memory.get_port(mode=READ_FIRST)
            self.specials += memory, store, fetch
            self.comb += [
                store.adr.eq(entries.index),
                store.dat_w.eq(getattr(entries, name)),
                store.we.eq(entries.valid),
                fetch.adr.eq(unit.sum_index if name == "sum" else unit.head_index),
                getattr(unit, name).eq(fetch.dat_r),
            ]


@dataclass(frozen=True)
class Head:
    """A live head."""

    head_id: int
    sum: int
    mult: int
    shift: int

    @property
    def gained(self) -> int:
        return (self.sum * self.mult + ((1 << self.shift) >> 1)) >> self.shift


@dataclass
class Job:
    """What the unit is given."""

    total: int
    heads: list[Head]
    keep: int
    add: int = 0
    old: list[int] = field(default_factory=list)

    def new_words(self) -> list[int]:
        words = list(self.old) if self.add else [0] * self.total
        for head in self.heads:
            words[head.head_id] = min(WORD_MAX, words[head.head_id] + head.gained)
        return words

    def survivors(self) -> list[int]:
        words = self.new_words()
        ids = [head.head_id for head in self.heads]
        return sorted(sorted(ids, key=lambda i: (-words[i], i))[: self.keep])


class Finisher:
    """A bench around one shape of unit."""

    def __init__(self, beat: int, heads: int) -> None:
        geometry = Geometry(AcceleratorConfig(beat_bytes=beat, max_heads=heads))
        self.beat, self.heads = beat, heads
        self.space = 1 << beats_of(heads, 8, beat).bit_length()
        dut = Dut(geometry, self.space)
        unit, around = dut.unit, dut.around
        self.bench = Bench(
            dut,
            {
                "go": dut.go,
                "complete": dut.complete,
                "table": dut.entries,
                "load": around.load,
                "pace": around.pace,
            },
            {"seen": around.seen},
            inputs={
                "total_heads": unit.total_heads,
                "n_heads": unit.n_heads,
                "keep_heads": unit.keep_heads,
                "add_heads": unit.add_heads,
                "importance_address": unit.importance_address,
                "survivors_address": unit.survivors_address,
            },
            outputs={"done": unit.done},
        )

    def run(self, job: Job, seed: int, gap: float | None = None) -> Run:
        """One job with its table and its old importance."""
        draws = random.Random(seed)
        start, end = draws.getrandbits(20), draws.getrandbits(20)
        self.prepare(job, draws, start)
        for name, value in {
            "total_heads": job.total,
            "n_heads": len(job.heads),
            "keep_heads": job.keep,
            "add_heads": job.add,
            "importance_address": start,
            "survivors_address": end,
        }.items():
            self.bench.set(name, value)
        beats = region(job.new_words(), 8, self.beat, start)
        written = beats + region(job.survivors(), 2, self.beat, end)
        run = self.bench.run(
            {"go": [{}], "complete": [{}] * len(job.heads), "pace": [{}] * (len(beats) * job.add)},
            {"seen": len(written)},
            offer={"pace": gap or gaps(seed), "complete": gap or 0.02},
            take={"seen": gap or gaps(seed + 1)},
            seed=seed,
            after=400,
        )
        assert run.tokens["seen"] == written
        assert self.bench.get("done") == 1
        return run

    def break_off(self, job: Job, cycles: int) -> None:
        """Begin a job whose writes are not taken, and reset."""
        self.prepare(job, random.Random(cycles), 0)
        self.bench.set("total_heads", job.total)
        self.bench.set("n_heads", len(job.heads))
        self.bench.set("add_heads", job.add)
        self.bench.run({"go": [{}], "complete": [{}] * len(job.heads)}, {}, take=0.0, after=cycles)
        self.bench.reset()
        assert self.bench.get("done") == 0

    def prepare(self, job: Job, draws: random.Random, start: int) -> None:
        """Fill table and memory. Words beyond the heads are random: they must not be seen."""
        words = job.old + [draws.getrandbits(64) for _ in range(-8 * len(job.old) % self.beat // 8)]
        beats = region(words, 8, self.beat, start) if job.old else []
        load = [{"address": b["address"] % self.space, "data": b["data"]} for b in beats]
        table = [
            {
                "index": place,
                "head_id": head.head_id,
                "importance_mult": head.mult,
                "importance_shift": head.shift,
                "sum": head.sum,
            }
            for place, head in enumerate(job.heads)
        ]
        self.bench.run({"load": load, "table": table}, {})


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def finisher(request: pytest.FixtureRequest) -> Finisher:
    return Finisher(*request.param)


def random_job(draws: random.Random, most: int) -> Job:
    total = draws.choice([1, most, draws.randint(1, most)])
    n = draws.choice([1, total, draws.randint(1, total)])
    few = draws.random() < 0.4  # values, so that many are equal
    sums = [draws.randrange(SUM_LIMIT) for _ in range(2)] if few else []
    shift, mult = draws.randint(0, 47), draws.getrandbits(16)

    def head(head_id: int) -> Head:
        if few:
            return Head(head_id, draws.choice(sums), mult, shift)
        return Head(head_id, draws.randrange(SUM_LIMIT + 1), draws.getrandbits(16), draws.randint(0, 47))

    top = draws.choice([32, 48, 64])
    old = [draws.getrandbits(top) for _ in range(total)]
    return Job(
        total,
        [head(i) for i in sorted(draws.sample(range(total), n))],
        draws.choice([1, n, draws.randint(1, n)]),
        draws.randint(0, 1),
        [old[0]] * total if few else old,
    )


def test_random_jobs(finisher: Finisher) -> None:
    draws = random.Random(finisher.beat)
    for seed in range(200):
        finisher.run(random_job(draws, finisher.heads), seed)


def test_rounding_and_saturation(finisher: Finisher) -> None:
    most = SUM_LIMIT - 1, 65535
    for old in (0, 1, WORD_MAX - 1, WORD_MAX, WORD_MAX + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        for gained, mult, shift in (
            (0, 0, 0),
            (*most, 0),
            (*most, 47),
            (1, 1, 1),
            (1, 1, 0),
            (3, 1, 2),
            (1, 1, 2),
        ):
            finisher.run(Job(1, [Head(0, gained, mult, shift)], 1, 1, [old]), shift)


def test_ties_go_to_the_lower_head(finisher: Finisher) -> None:
    n = finisher.heads
    for keep in range(1, n + 1):
        finisher.run(Job(n, [Head(i, 5, 1, 0) for i in range(n)], keep), keep)


def test_each_half_of_a_word_decides(finisher: Finisher) -> None:
    """Words that differ in one bit, anywhere."""
    n = finisher.heads
    for bit in range(48):
        old = [1 << 47 ^ 1 << (bit + i) % 48 for i in range(n)]
        finisher.run(Job(n, [Head(i, 0, 0, 0) for i in range(n)], (n + 1) // 2, 1, old), bit)


def test_other_heads_stay_or_become_zero(finisher: Finisher) -> None:
    n = finisher.heads
    old = [(1 << 64) - 1 - i for i in range(n)]
    for add in (0, 1):
        finisher.run(Job(n, [Head(n - 1, 9, 9, 0)], 1, add, old), add)


def test_reset_in_a_job_leaves_nothing(finisher: Finisher) -> None:
    draws = random.Random(5)
    for cycles in range(2, 60, 3):
        finisher.break_off(random_job(draws, finisher.heads), cycles)
        finisher.run(random_job(draws, finisher.heads), cycles)


def test_cycles(finisher: Finisher) -> None:
    n = finisher.heads
    for shift in (0, 20, 47):
        heads = [Head(i, SUM_LIMIT - 1, 65535, shift) for i in range(n)]
        run = finisher.run(Job(n, heads, n, 1, [0] * n), 1, gap=1.0)
        written = beats_of(n, 8, finisher.beat)
        begin = run.cycles["go"][0]
        assert run.cycles["seen"][written - 1] - begin <= n * (25 + shift) + 16
        assert run.cycles["seen"][-1] - begin <= n * (25 + shift) + n * (n + 6) + 20
