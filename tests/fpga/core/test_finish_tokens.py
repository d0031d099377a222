# SPDX-License-Identifier: BSD-2-Clause
"""Running token importance and surviving tokens against contract, sections 6.2 and 7."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import product

import pytest
from litex.gen import LiteXModule
from litex.soc.interconnect.stream import Endpoint
from migen import READ_FIRST, Memory

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.finish_tokens import RANK_BITS, TokenFinish, parallelism
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.topk import TopK
from spatten_fpga.sim.bench import Bench, Run, gaps

from .finish import Surroundings, Token, beats_of, region

# beat bytes, most slots, parallelism of the device's top-k engine
SHAPES = [(4, 64, 1), (16, 128, 16), (64, 50, 8)]
TOTAL_LIMIT = 1 << 51
WORD_MAX = (1 << 32) - 1
PROTECTED = 1 << 15
LATENCY = 40  # beyond slots, top-k and keys


class Dut(LiteXModule):
    """A unit with its memory and its key list."""

    def __init__(self, geometry: Geometry, beats: int) -> None:
        self.unit = unit = TokenFinish(geometry)
        self.around = Surroundings(geometry, beats, unit.port, unit.write)
        self.go = go = Endpoint([])
        self.entries = entries = Endpoint([("index", 16), ("word", 16)])

        # # #

        memory = Memory(16, geometry.config.max_sequence)
        store = memory.get_port(write_capable=True, mode=READ_FIRST)
        fetch = memory.get_port(mode=READ_FIRST)
        self.specials += memory, store, fetch
        self.comb += [
            go.ready.eq(1),
            unit.start.eq(go.valid),
            entries.ready.eq(1),
            store.adr.eq(entries.index),
            store.dat_w.eq(entries.word),
            store.we.eq(entries.valid),
            fetch.adr.eq(unit.list_index),
            unit.list_word.eq(fetch.dat_r),
        ]


@dataclass
class Job:
    """What the unit is given."""

    n_slots: int
    keys: list[int]  # entries of the key list
    totals: list[int]
    keep: int
    add: int = 0
    decay: int = 65536
    old: list[int] = field(default_factory=list)

    def new_words(self) -> list[int]:
        words = list(self.old) if self.add else [0] * self.n_slots
        for entry, total in zip(self.keys, self.totals, strict=True):
            slot = entry % PROTECTED
            gained = (total + (1 << 23)) // (1 << 24)
            words[slot] = min(WORD_MAX, words[slot] * self.decay // 65536 + gained)
        return words

    def survivors(self) -> list[int]:
        words = self.new_words()
        order = sorted(self.keys, key=lambda e: (e < PROTECTED, -words[e % PROTECTED], e % PROTECTED))
        return sorted(order[: self.keep], key=lambda e: e % PROTECTED)


class Finisher:
    """A bench around one shape of unit."""

    def __init__(self, beat: int, slots: int, parallel: int) -> None:
        config = AcceleratorConfig(
            beat_bytes=beat, max_sequence=slots, kv_buffer_rows=0, topk_parallelism=parallel
        )
        self.geometry = Geometry(config)
        self.beat, self.slots = beat, slots
        self.space = 1 << (beats_of(slots, 4, beat)).bit_length()
        dut = Dut(self.geometry, self.space)
        unit, around = dut.unit, dut.around
        self.bench = Bench(
            dut,
            {
                "go": dut.go,
                "list": dut.entries,
                "totals": unit.totals,
                "load": around.load,
                "pace": around.pace,
            },
            {"reads": unit.total_read, "seen": around.seen},
            inputs={
                "n_slots": unit.n_slots,
                "n_keys": unit.n_keys,
                "keep_tokens": unit.keep_tokens,
                "add_tokens": unit.add_tokens,
                "decay": unit.decay,
                "importance_address": unit.importance_address,
                "survivors_address": unit.survivors_address,
            },
            outputs={"done": unit.done},
        )

    def run(self, job: Job, seed: int, gap: float | None = None) -> Run:
        """One job with its lists and its old importance, in which all other bits are random."""
        draws = random.Random(seed)
        start, end = draws.getrandbits(20), draws.getrandbits(20)
        self.prepare(job, draws, start)
        for name, value in {
            "n_slots": job.n_slots,
            "n_keys": len(job.keys),
            "keep_tokens": job.keep,
            "add_tokens": job.add,
            "decay": job.decay,
            "importance_address": start,
            "survivors_address": end,
        }.items():
            self.bench.set(name, value)
        beats = region(job.new_words(), 4, self.beat, start)
        written = beats + region(job.survivors(), 2, self.beat, end)
        run = self.bench.run(
            {"go": [{}], "totals": [{"total": t} for t in job.totals], "pace": [{}] * (len(beats) * job.add)},
            {"reads": len(job.keys), "seen": len(written)},
            offer={name: gap or gaps(seed + at) for at, name in enumerate(("totals", "pace"))},
            take={name: gap or gaps(seed + 2 + at) for at, name in enumerate(("reads", "seen"))},
            seed=seed,
            after=600,
        )
        places = range(len(job.keys))
        assert [token["key"] for token in run.tokens["reads"]] == list(places)
        assert [token["last"] for token in run.tokens["reads"]] == [int(p == places[-1]) for p in places]
        assert run.tokens["seen"] == written
        assert self.bench.get("done") == 1
        return run

    def break_off(self, job: Job, cycles: int) -> None:
        """Begin a job whose writes are not taken, and reset."""
        self.prepare(job, random.Random(cycles), 0)
        self.bench.set("n_slots", job.n_slots)
        self.bench.set("n_keys", len(job.keys))
        self.bench.set("add_tokens", job.add)
        self.bench.run({"go": [{}]}, {}, take=0.0, after=cycles)
        self.bench.reset()
        assert self.bench.get("done") == 0

    def prepare(self, job: Job, draws: random.Random, start: int) -> None:
        """Fill list and memory. Words beyond the slots are random: they must not be seen."""
        words = job.old + [draws.getrandbits(32) for _ in range(-4 * len(job.old) % self.beat // 4)]
        beats: list[Token] = region(words, 4, self.beat, start) if job.old else []
        load = [{"address": b["address"] % self.space, "data": b["data"]} for b in beats]
        self.bench.run({"load": load, "list": [{"index": i, "word": e} for i, e in enumerate(job.keys)]}, {})


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def finisher(request: pytest.FixtureRequest) -> Finisher:
    return Finisher(*request.param)


def random_job(draws: random.Random, slots: int) -> Job:
    n_slots = draws.choice([1, slots, draws.randint(1, slots)])
    n_keys = draws.choice([1, n_slots, draws.randint(1, n_slots)])
    keep = draws.choice([1, n_keys, draws.randint(1, n_keys)])
    chosen = sorted(draws.sample(range(n_slots), n_keys))
    protected = set(draws.sample(chosen, draws.randint(0, keep)))
    few = draws.random() < 0.4  # values, so that many are equal
    largest = draws.choice([1 << 24, 1 << 40, TOTAL_LIMIT])
    pool = [draws.randrange(largest) for _ in range(3)] + [TOTAL_LIMIT - 1, 0]
    return Job(
        n_slots,
        [slot | PROTECTED * (slot in protected) for slot in chosen],
        [draws.choice(pool) if few else draws.randrange(largest) for _ in chosen],
        keep,
        draws.randint(0, 1),
        draws.choice([0, 1, 65535, 65536, draws.randint(0, 65536)]),
        [draws.choice([WORD_MAX, 0]) if few else draws.getrandbits(32) for _ in range(n_slots)],
    )


def test_random_jobs(finisher: Finisher) -> None:
    draws = random.Random(finisher.beat)
    for seed in range(150):
        finisher.run(random_job(draws, finisher.slots), seed)


def test_protected_go_first_and_ties_to_the_lower_slot(finisher: Finisher) -> None:
    n = finisher.slots
    for keep in (1, 2, n - 1, n):
        keys = [slot | PROTECTED * (slot == n - 1) for slot in range(n)]
        finisher.run(Job(n, keys, [TOTAL_LIMIT - 1] * (n - 1) + [0], keep), keep)
        finisher.run(Job(n, keys, [0] * n, keep), keep)


def test_rounding_and_saturation(finisher: Finisher) -> None:
    half = 1 << 23
    totals = [0, half - 1, half, half + 1, 3 * half - 1, 3 * half, TOTAL_LIMIT - 1, TOTAL_LIMIT - half]
    n = len(totals)
    for decay in (0, 32768, 65535, 65536):
        for old in (0, 1, 65535, WORD_MAX - 1, WORD_MAX):
            finisher.run(Job(n, list(range(n)), totals, 3, 1, decay, [old] * n), decay)


def test_other_slots_stay_or_become_zero(finisher: Finisher) -> None:
    n = finisher.slots
    old = [random.Random(slot).getrandbits(32) for slot in range(n)]
    for add in (0, 1):
        for keys in ([0], [n - 1], [3, n // 2]):
            finisher.run(Job(n, keys, [1 << 40] * len(keys), 1, add, 0, old), n)


def test_reset_in_a_job_leaves_nothing(finisher: Finisher) -> None:
    draws = random.Random(5)
    n = finisher.slots
    for cycles in range(2, 60, 3):
        finisher.break_off(Job(n, [n - 1], [0], 1, cycles & 1, 0, [draws.getrandbits(32)] * n), cycles)
        finisher.run(random_job(draws, n), cycles)


def test_cycles(finisher: Finisher) -> None:
    draws = random.Random(7)
    n = finisher.slots
    lanes = parallelism(finisher.geometry)
    for add, kept in product((0, 1), (n, n - 1, n // 8)):
        old = [draws.getrandbits(32) for _ in range(n)]
        totals = [draws.randrange(TOTAL_LIMIT) for _ in range(n)]
        run = finisher.run(Job(n, list(range(n)), totals, kept, add, 65536, old), 1, gap=1.0)
        importance = beats_of(n, 4, finisher.beat)
        written = run.cycles["seen"]
        begin = run.cycles["go"][0]
        assert written[importance - 1] - begin <= n + LATENCY
        search = TopK.cycles(n, lanes, RANK_BITS, n) if kept < n else 0
        beats = -(-n // lanes) if kept < n else 0  # of the engine: those without a survivor take a cycle, too
        assert written[-1] - begin <= n + search + kept + beats + LATENCY
