# SPDX-License-Identifier: BSD-2-Clause
"""The operand buffer gives back what was stored, each pass with the bits that it asked for."""

from __future__ import annotations

import random

import pytest

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.operand_buffer import BOTH, LSB, MSB, OperandBuffer
from spatten_fpga.sim import Bench

LANES, BITS, DEPTH, MIDPOINT = 16, 12, 24, 8
GEOMETRY = Geometry(AcceleratorConfig(lanes=LANES, kv_buffer_rows=16, max_sequence=16))


@pytest.fixture(scope="module")
def built() -> Bench:
    dut = OperandBuffer(GEOMETRY, DEPTH, MIDPOINT)
    return Bench(
        dut,
        {"sink": dut.sink, "read": dut.read},
        {"source": dut.source},
        outputs={"stored": dut.stored},
    )


@pytest.fixture
def bench(built: Bench) -> Bench:
    built.reset()
    return built


def packed(elements: list[int]) -> int:
    return sum((e & (1 << BITS) - 1) << BITS * i for i, e in enumerate(elements))


def fill(base: int, rows: list[list[int]], lsb: int = 0) -> list[dict[str, int]]:
    """A pass of words."""
    last = len(rows) - 1
    return [
        {"elements": packed(row), "count": 1, "base": base, "lsb": lsb, "last": i == last}
        for i, row in enumerate(rows)
    ]


def used(msb: int, lsb: int, use: int) -> int:
    """An element as contract section 2 says: ``msb`` is shifted already."""
    return {BOTH: msb + lsb, MSB: msb + MIDPOINT, LSB: lsb}[use]


def some_rows(draws: random.Random, count: int, low: int, high: int) -> list[list[int]]:
    return [[draws.randrange(low, high) for _ in range(LANES)] for _ in range(count)]


@pytest.mark.parametrize("seed", range(6))
def test_every_pass_chooses_its_bits(bench: Bench, seed: int) -> None:
    draws = random.Random(seed)
    base, count = draws.randrange(8), draws.randint(1, 16)
    msb = [[v << 4 for v in row] for row in some_rows(draws, count, -128, 128)]
    lsb = some_rows(draws, count, 0, 16)
    bench.run({"sink": [*fill(base, msb), *fill(base, lsb, lsb=1)]}, {}, offer=0.8, seed=seed)
    uses = [draws.choice((BOTH, MSB, LSB)) for _ in range(5)]
    reads = [{"base": base, "words": count, "full": 1, "tail": 1, "use": use} for use in uses]
    run = bench.run({"read": reads}, {"source": count * 5}, take=draws.choice((1.0, 0.5)), seed=seed)
    wanted = [
        packed([used(*e, use) for e in zip(*pair, strict=True)])
        for use in uses
        for pair in zip(msb, lsb, strict=True)
    ]
    assert [word["elements"] for word in run.tokens["source"]] == wanted
    assert [word["last"] for word in run.tokens["source"]] == ([0] * (count - 1) + [1]) * 5


def test_the_next_head_loads_while_this_one_is_read(bench: Bench) -> None:
    draws = random.Random(5)
    here, there = some_rows(draws, 12, -2048, 2048), some_rows(draws, 12, -2048, 2048)
    bench.run({"sink": fill(0, here)}, {})
    read = {"base": 0, "words": 12, "full": 1, "tail": 1, "use": BOTH}
    run = bench.run({"sink": fill(12, there), "read": [read] * 3}, {"source": 36}, offer=0.9)
    assert [word["elements"] for word in run.tokens["source"]] == [packed(row) for row in here] * 3
    run = bench.run({"read": [{**read, "base": 12}]}, {"source": 12})
    assert [word["elements"] for word in run.tokens["source"]] == [packed(row) for row in there]


def test_one_word_a_cycle_without_a_gap_between_passes(bench: Bench) -> None:
    bench.run({"sink": fill(0, some_rows(random.Random(0), 8, 0, 9))}, {})
    run = bench.run(
        {"read": [{"base": 0, "words": 8, "full": 1, "tail": 1, "use": BOTH}] * 3}, {"source": 24}
    )
    assert run.cycles["source"] == list(range(2, 26))


def test_keys_of_a_word(bench: Bench) -> None:
    run = bench.run({"read": [{"base": 0, "words": 3, "full": 1, "tail": 0, "use": BOTH}]}, {"source": 3})
    assert [word["count"] for word in run.tokens["source"]] == [1, 1, 0]
