# SPDX-License-Identifier: BSD-2-Clause
"""Passes of planes against the definition of a plane row and of a word, in plain integers."""

import random
from dataclasses import dataclass, field
from functools import cache

import pytest

from spatten_drivers import AcceleratorConfig
from spatten_drivers.config import PRESETS
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.passes import KEYS, QUERY, VALUES
from spatten_fpga.core.plane_reader import PlaneReader
from spatten_fpga.sim.bench import Bench, Run, gaps

CONFIGS = {
    **{name: PRESETS[name] for name in ("ecp5-85f", "ecp5-25f")},
    "all dims, wide beats": AcceleratorConfig(
        lanes=128, head_dims=(32, 64, 96, 128), operand_bits=16, beat_bytes=32
    ),
}
SOURCES = {QUERY: "query", KEYS: "keys", VALUES: "values"}
PADDED = {32: 32, 64: 64, 96: 128, 128: 128}


@dataclass(frozen=True)
class Pass:
    """Rows of a plane, each as the little-endian number of its elements, and what is to be made of them."""

    target: int
    dim: int
    bits: int
    rows: list[int]
    base: int = 0
    slot: int = 0
    modes: dict[str, int] = field(default_factory=dict)

    def token(self, geometry: Geometry) -> dict[str, int]:
        names = ("target", "dim", "bits", "base", "slot")
        return {
            **{name: getattr(self, name) for name in names},
            **self.modes,
            "rows": len(self.rows),
            "row_beats": self.row_beats(geometry),
        }

    def row_beats(self, geometry: Geometry) -> int:
        return -(-self.dim * self.bits // geometry.beat_bits)

    def elements(self, row: int) -> list[int]:
        """Contract, section 2: what the elements of a row stand for."""
        found = [row >> i * self.bits & ((1 << self.bits) - 1) for i in range(self.dim)]
        if not self.modes.get("unsigned"):
            found = [e - (1 << self.bits) if e >= 1 << (self.bits - 1) else e for e in found]
        if self.modes.get("shift"):
            found = [16 * e + (8 if self.modes.get("midpoint") else 0) for e in found]
        return found

    def expected(self, geometry: Geometry) -> list[dict[str, int]]:
        rows = [self.elements(row) for row in self.rows]
        if self.target == QUERY:
            return [token for row in rows for token in self.segments(row, geometry.segment)]
        words, width, lanes = [], geometry.operand_bits, geometry.lanes
        if PADDED[self.dim] <= lanes:
            padding = [0] * (PADDED[self.dim] - self.dim)
            share = lanes // PADDED[self.dim]
            for i in range(0, len(rows), share):
                keys = rows[i : i + share]
                words.append(([element for key in keys for element in key + padding], len(keys)))
        else:
            words = [(row[i : i + lanes], 1) for row in rows for i in range(0, self.dim, lanes)]
        return [
            {
                "elements": number(word, width),
                "count": count,
                "base": self.base,
                "lsb": self.modes.get("lsb", 0),
                "last": int(place == len(words) - 1),
            }
            for place, (word, count) in enumerate(words)
        ]

    def segments(self, row: list[int], size: int) -> list[dict[str, int]]:
        return [
            {"elements": number(row[i : i + size], 12), "last": int(i + size == self.dim), "slot": self.slot}
            for i in range(0, self.dim, size)
        ]


def number(elements: list[int], width: int) -> int:
    return sum((element & ((1 << width) - 1)) << i * width for i, element in enumerate(elements))


def beats(geometry: Geometry, one: Pass, draws: random.Random) -> list[dict[str, int]]:
    """The beats of a pass, with rubbish as padding."""
    count, size = one.row_beats(geometry), one.dim * one.bits
    padding = count * geometry.beat_bits - size
    padded = [row | draws.getrandbits(padding + 1) % (1 << padding) << size for row in one.rows]
    mask = (1 << geometry.beat_bits) - 1
    return [{"data": row >> i * geometry.beat_bits & mask} for row in padded for i in range(count)]


def random_pass(geometry: Geometry, draws: random.Random, most: int = 12) -> Pass:
    """A pass of any kind that a job can ask for."""
    target = draws.choice((QUERY, KEYS, VALUES))
    dim, bits = draws.choice(geometry.config.head_dims), draws.choice((4, 6, 8, 10, 12))
    count, modes, base = draws.randint(1, most), {}, draws.randrange(geometry.buffer_words)
    if target != QUERY:
        lsb = draws.random() < 0.3
        bits = 4 if lsb else bits
        modes = {"lsb": int(lsb), "unsigned": int(lsb)}
        if not lsb and bits + 4 <= geometry.operand_bits and draws.random() < 0.6:
            modes |= {"shift": 1, "midpoint": int(target == VALUES)}
    rows = [draws.getrandbits(dim * bits) for _ in range(count)]
    return Pass(target, dim, bits, rows, base, draws.randrange(geometry.config.query_buffer_rows), modes)


@cache
def bench(name: str) -> tuple[Geometry, Bench]:
    geometry = Geometry(CONFIGS[name])
    dut = PlaneReader(geometry)
    sources = {name: getattr(dut, name) for name in SOURCES.values()}
    return geometry, Bench(dut, {"passes": dut.passes, "data": dut.data}, sources)


def read(name: str, passes: list[Pass], seed: int = 0, offer: float = 1, take: float = 1) -> Run:
    """Passes through the unit; checks all that comes out."""
    geometry, unit = bench(name)
    unit.reset()
    draws = random.Random(seed)
    data = [beat for one in passes for beat in beats(geometry, one, draws)]
    expected = {
        source: [token for one in passes if one.target == target for token in one.expected(geometry)]
        for target, source in SOURCES.items()
    }
    run = unit.run(
        {"passes": [one.token(geometry) for one in passes], "data": data},
        {source: len(tokens) for source, tokens in expected.items()},
        offer={"passes": offer, "data": gaps(seed + 99) if offer < 1 else 1},
        take={
            source: take if source != "keys" else gaps(seed + 98) if take < 1 else 1 for source in expected
        },
        seed=seed,
    )
    for source, tokens in expected.items():
        found = [{k: v for k, v in token.items() if k != "first"} for token in run.tokens[source]]
        assert found == tokens, source
    return run


@pytest.mark.parametrize("name", CONFIGS)
def test_random_passes_and_gaps(name: str) -> None:
    geometry, _ = bench(name)
    for seed in range(12):
        draws = random.Random(seed)
        passes = [random_pass(geometry, draws) for _ in range(40)]
        read(name, passes, seed, offer=gaps(2 * seed), take=gaps(2 * seed + 1))


@pytest.mark.parametrize("name", CONFIGS)
def test_single_rows_of_every_kind(name: str) -> None:
    geometry, _ = bench(name)
    draws = random.Random(1)
    passes = [random_pass(geometry, draws, most=1) for _ in range(200)]
    read(name, passes)
    read(name, passes, seed=3, offer=0.5, take=0.7)


@pytest.mark.parametrize("name", CONFIGS)
def test_extremes(name: str) -> None:
    geometry, _ = bench(name)
    passes = []
    for dim in geometry.config.head_dims:
        for bits in (4, 6, 8, 10, 12):
            ones = (1 << dim * bits) - 1
            lowest = sum(1 << (i * bits + bits - 1) for i in range(dim))
            rows = [0, ones, lowest, ones ^ lowest]
            passes.append(Pass(QUERY, dim, bits, rows, slot=3))
            if bits + 4 <= geometry.operand_bits:
                passes.append(Pass(VALUES, dim, bits, rows, modes={"shift": 1, "midpoint": 1}))
                passes.append(
                    Pass(KEYS, dim, 4, rows, geometry.buffer_words - 1, modes={"unsigned": 1, "lsb": 1})
                )
    read(name, passes)


def test_longest_pass() -> None:
    geometry, _ = bench("ecp5-25f")
    draws = random.Random(6)
    rows = [draws.getrandbits(64 * 12) for _ in range(geometry.config.max_sequence)]
    run = read("ecp5-25f", [Pass(KEYS, 64, 12, rows), Pass(QUERY, 64, 12, rows[:1], slot=2)])
    assert run.cycles["data"][1:] == list(range(3, 3 + 513 * 24 - 1))


@pytest.mark.parametrize("name", ["ecp5-85f", "ecp5-25f"])
def test_a_beat_every_cycle(name: str) -> None:
    # A segment holds a beat at any width here, so no beat ever waits: not between rows, not between passes.
    geometry, _ = bench(name)
    draws = random.Random(2)
    passes = [random_pass(geometry, draws, most=4) for _ in range(100)]
    run = read(name, passes)
    data = run.cycles["data"]
    assert data[0] == 0  # waits for its pass in the buffer
    assert data[1:] == list(range(data[1], data[1] + len(data) - 1))
    target = SOURCES[passes[-1].target]
    assert run.cycles[target][-1] == data[-1] + (3 if target == "query" else 4)


def test_a_segment_every_cycle() -> None:
    # A beat of 256 bits holds two segments of 4 bits.
    name = "all dims, wide beats"
    draws = random.Random(2)
    passes = [Pass(QUERY, 128, 4, [draws.getrandbits(512) for _ in range(3)], slot=i % 4) for i in range(30)]
    query = read(name, passes).cycles["query"]
    assert query == list(range(query[0], query[0] + 30 * 3 * 4))


def test_passes_wait_for_their_data() -> None:
    geometry, unit = bench("ecp5-85f")
    unit.reset()
    one = Pass(KEYS, 64, 8, [0, 1])
    run = unit.run({"passes": [one.token(geometry)] * 9}, {}, limit=100)
    assert run.cycles["passes"] == list(range(9))
