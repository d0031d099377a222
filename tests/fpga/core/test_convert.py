# SPDX-License-Identifier: BSD-2-Clause
"""The bit-width converter against the definition of a plane: element ``i`` is bits ``i * w`` of the row."""

import random
from dataclasses import dataclass
from functools import cache

import pytest

from spatten_drivers.config import PRESETS
from spatten_fpga.core.convert import PLANE_BITS, Converter
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.sim.bench import Bench, Run, gaps

TAG_BITS = 7
NAMES = ("ecp5-85f", "ecp5-25f", "paper")


@dataclass(frozen=True)
class Row:
    """A row of a plane as a number, and how it is to be read."""

    dim: int
    bits: int
    number: int
    shift: int = 0
    unsigned: int = 0
    midpoint: int = 0
    tag: int = 0

    def beats(self, geometry: Geometry, padding: int) -> list[dict[str, int]]:
        size = self.dim * self.bits
        count = -(-size // geometry.beat_bits)
        padded = self.number | (padding << size) & ((1 << count * geometry.beat_bits) - 1)
        names = ("dim", "bits", "shift", "unsigned", "midpoint", "tag")
        params = {name: getattr(self, name) for name in names}
        mask = (1 << geometry.beat_bits) - 1
        return [{"data": padded >> i * geometry.beat_bits & mask, **params} for i in range(count)]

    def elements(self) -> list[int]:
        found = [self.number >> i * self.bits & ((1 << self.bits) - 1) for i in range(self.dim)]
        if not self.unsigned:
            found = [e - (1 << self.bits) if e >> (self.bits - 1) else e for e in found]
        if self.unsigned and self.midpoint:
            found = [e - 8 for e in found]
        return [(e << 4) + (8 if self.midpoint else 0) if self.shift else e for e in found]


@cache
def bench(name: str) -> tuple[Geometry, Bench]:
    geometry = Geometry(PRESETS[name])
    dut = Converter(geometry, TAG_BITS)
    return geometry, Bench(dut, {"sink": dut.sink}, {"source": dut.source})


def convert(name: str, rows: list[Row], seed: int = 0, offer: float = 1, take: float = 1) -> Run:
    """Rows through the unit, with rubbish as padding; checks every segment."""
    geometry, unit = bench(name)
    unit.reset()
    draws = random.Random(seed)
    beats = [beat for row in rows for beat in row.beats(geometry, draws.getrandbits(600))]
    expected = [segment for row in rows for segment in segments(geometry, row)]
    run = unit.run({"sink": beats}, {"source": len(expected)}, offer=offer, take=take, seed=seed)
    assert [{k: v for k, v in token.items() if k != "first"} for token in run.tokens["source"]] == expected
    return run


def segments(geometry: Geometry, row: Row) -> list[dict[str, int]]:
    elements, size, width = row.elements(), geometry.segment, geometry.operand_bits
    parts = [elements[i : i + size] for i in range(0, row.dim, size)]
    numbers = [sum((e & ((1 << width) - 1)) << i * width for i, e in enumerate(part)) for part in parts]
    return [{"elements": n, "last": int(i == len(parts) - 1), "tag": row.tag} for i, n in enumerate(numbers)]


def modes(geometry: Geometry, bits: int) -> list[dict[str, int]]:
    """The ways to read a plane of this width that are legal."""
    found = [{}]
    if bits == 4:
        found += [{"unsigned": 1}, {"unsigned": 1, "midpoint": 1}]
    if bits + 4 <= geometry.operand_bits:
        found += [{"shift": 1}, {"shift": 1, "midpoint": 1}]
    return found


def random_rows(geometry: Geometry, draws: random.Random, count: int) -> list[Row]:
    rows = []
    for _ in range(count):
        dim, bits = draws.choice(geometry.config.head_dims), draws.choice(PLANE_BITS)
        mode = draws.choice(modes(geometry, bits))
        rows.append(Row(dim, bits, draws.getrandbits(dim * bits), tag=draws.getrandbits(TAG_BITS), **mode))
    return rows


def test_one_element_by_hand() -> None:
    # -3 in 6 bits at element 1: alone, above a missing plane, above a plane that is not used
    number = 0b111101 << 6
    assert Row(32, 6, number).elements()[:3] == [0, -3, 0]
    assert Row(32, 6, number, shift=1).elements()[:3] == [0, -48, 0]
    assert Row(32, 6, number, shift=1, midpoint=1).elements()[:3] == [8, -40, 8]
    assert Row(32, 4, 0xF0, unsigned=1).elements()[:3] == [0, 15, 0]
    # an LSB plane around its middle
    assert Row(32, 4, 0x87F0, unsigned=1, midpoint=1).elements()[:5] == [-8, 7, -1, 0, -8]


@pytest.mark.parametrize("name", NAMES)
def test_extremes_of_every_width(name: str) -> None:
    geometry, _ = bench(name)
    rows = []
    for dim in geometry.config.head_dims:
        for bits in PLANE_BITS:
            ones = (1 << dim * bits) - 1
            lowest = sum(1 << (i * bits + bits - 1) for i in range(dim))
            for mode in modes(geometry, bits):
                rows += [Row(dim, bits, number, **mode) for number in (ones, lowest, ones ^ lowest, 0)]
    convert(name, rows)


@pytest.mark.parametrize("name", NAMES)
def test_random_rows_and_gaps(name: str) -> None:
    geometry, _ = bench(name)
    for seed in range(12):
        rows = random_rows(geometry, random.Random(seed), 120)
        convert(name, rows, seed, offer=gaps(2 * seed), take=gaps(2 * seed + 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_beat_or_a_segment_every_cycle(name: str) -> None:
    geometry, _ = bench(name)
    draws = random.Random(1)
    for dim in geometry.config.head_dims:
        for bits in PLANE_BITS:
            run = convert(name, [Row(dim, bits, draws.getrandbits(dim * bits)) for _ in range(20)])
            beats, parts = run.cycles["sink"], run.cycles["source"]
            beats_a_row = -(-dim * bits // geometry.beat_bits)
            segments_a_row = dim // geometry.segment
            if geometry.segment * bits >= geometry.beat_bits:
                assert beats == list(range(20 * beats_a_row))
            if segments_a_row >= beats_a_row:
                assert parts == list(range(3, 3 + 20 * segments_a_row))
            if segments_a_row <= beats_a_row:
                assert parts[-1] == beats[-1] + 3


def test_no_bubble_where_widths_change() -> None:
    geometry, _ = bench("ecp5-85f")
    rows = random_rows(geometry, random.Random(5), 300)
    run = convert("ecp5-85f", rows)
    assert run.cycles["sink"] == list(range(len(run.cycles["sink"])))
