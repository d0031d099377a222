# SPDX-License-Identifier: BSD-2-Clause
"""Weighted sums of values against ``sum of e_j * v_jd`` in plain integers."""

import random
from dataclasses import dataclass
from functools import cache

import pytest

from spatten_drivers import AcceleratorConfig
from spatten_drivers.config import PRESETS
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.pv_array import PVArray
from spatten_fpga.sim.bench import Bench, Run, gaps, signed

CONFIGS = {
    **{name: PRESETS[name] for name in ("ecp5-85f", "ecp5-25f", "paper")},
    "all dims on 64 lanes": AcceleratorConfig(lanes=64, head_dims=(32, 64, 96, 128)),
}
PADDED = {32: 32, 64: 64, 96: 128, 128: 128}


@dataclass
class Row:
    """The keys of a row: a weight and the value elements of each."""

    dim: int
    keys: list[tuple[int, list[int]]]


@cache
def bench(name: str) -> tuple[Geometry, int, Bench]:
    geometry = Geometry(CONFIGS[name])
    dut = PVArray(geometry)
    return geometry, dut.latency, Bench(dut, {"sink": dut.sink}, {"source": dut.source})


def number(elements: list[int], width: int) -> int:
    mask = (1 << width) - 1
    return sum((element & mask) << i * width for i, element in enumerate(elements))


def words(geometry: Geometry, row: Row, draws: random.Random) -> list[dict[str, int]]:
    """Words of a row; weights of keys that are not there are rubbish."""
    dim, lanes = row.dim, geometry.lanes
    share = max(1, lanes // PADDED[dim])
    found: list[dict[str, int]] = []
    for i in range(0, len(row.keys), share):
        held = row.keys[i : i + share]
        flat = [element for _, value in held for element in value + [0] * (PADDED[dim] - dim)]
        weights = [weight for weight, _ in held]
        weights += [draws.getrandbits(16) for _ in range(geometry.keys_a_word - len(held))]
        for at in range(0, dim if dim > lanes else 1, lanes):
            elements = number(flat[at : at + lanes], geometry.operand_bits)
            found.append({"elements": elements, "weights": number(weights, 16), "dim": dim})
    found[-1]["last"] = 1
    return found


def sums(geometry: Geometry, row: Row) -> list[tuple[list[int], int]]:
    totals = [sum(weight * value[d] for weight, value in row.keys) for d in range(row.dim)]
    size = geometry.outputs
    return [(totals[d : d + size], int(d + size == row.dim)) for d in range(0, row.dim, size)]


def check(name: str, rows: list[Row], seed: int = 0, offer: float = 1, take: float = 1) -> Run:
    geometry, _, unit = bench(name)
    unit.reset()
    draws = random.Random(seed)
    given = [token for row in rows for token in words(geometry, row, draws)]
    expected = [token for row in rows for token in sums(geometry, row)]
    run = unit.run({"sink": given}, {"source": len(expected)}, offer=offer, take=take, seed=seed)
    assert [read(geometry, token) for token in run.tokens["source"]] == expected
    return run


def read(geometry: Geometry, token: dict[str, int]) -> tuple[list[int], int]:
    width = geometry.accumulator_bits
    parts = [token["accumulators"] >> i * width & ((1 << width) - 1) for i in range(geometry.outputs)]
    return [signed(part, width) for part in parts], token["last"]


def random_row(geometry: Geometry, draws: random.Random, dim: int, count: int) -> Row:
    half = 1 << (geometry.operand_bits - 1)
    values = [[draws.randint(-half, half - 1) for _ in range(dim)] for _ in range(count)]
    return Row(dim, [(draws.getrandbits(16), value) for value in values])


@pytest.mark.parametrize("name", CONFIGS)
def test_largest_and_smallest_sums(name: str) -> None:
    # 1,024 keys of the greatest weight: the contract's largest accumulator, then a row that starts over it
    geometry, _, _ = bench(name)
    low, high = -(1 << (geometry.operand_bits - 1)), (1 << (geometry.operand_bits - 1)) - 1
    for dim in {geometry.config.head_dims[0], geometry.config.head_dims[-1]}:
        rows = [Row(dim, [(65535, [v] * dim)] * count) for v in (low, high) for count in (1024, 1)]
        check(name, rows)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_length_of_a_row(name: str) -> None:
    geometry, _, _ = bench(name)
    draws = random.Random(2)
    for dim in geometry.config.head_dims:
        counts = range(1, 2 * geometry.keys_a_word + 2)
        check(name, [random_row(geometry, draws, dim, count) for count in counts])


@pytest.mark.parametrize("name", CONFIGS)
def test_random_rows_and_gaps(name: str) -> None:
    geometry, _, _ = bench(name)
    for seed in range(8):
        draws = random.Random(seed)
        dims = [draws.choice(geometry.config.head_dims) for _ in range(10)]
        rows = [random_row(geometry, draws, dim, draws.randint(1, 60)) for dim in dims]
        check(name, rows, seed, offer=gaps(2 * seed), take=gaps(2 * seed + 1))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_word_every_cycle_and_its_latency(name: str) -> None:
    geometry, latency, _ = bench(name)
    draws = random.Random(6)
    for dim in geometry.config.head_dims:
        # rows as short as the drain allows
        each, share = -(-dim // geometry.lanes), max(1, geometry.lanes // PADDED[dim])
        count = -(-(dim // geometry.outputs + 1) // each) * share
        run = check(name, [random_row(geometry, draws, dim, count) for _ in range(4)])
        given, taken = run.cycles["sink"], run.cycles["source"]
        assert given == list(range(len(given)))
        size, a_row = len(given) // 4, dim // geometry.outputs
        starts = [(i + 1) * size - 1 + latency for i in range(4)]
        assert taken == [start + i for start in starts for i in range(a_row)]


def test_a_short_row_waits_for_the_drain() -> None:
    geometry, _, _ = bench("ecp5-85f")
    draws = random.Random(9)
    run = check("ecp5-85f", [random_row(geometry, draws, 64, 1) for _ in range(6)])
    given, taken = run.cycles["sink"], run.cycles["source"]
    assert taken[-1] - taken[0] == 5 * 65 + 63  # a row each 65 cycles
    assert [given[-1] - given[-2], given[-2] - given[-3]] == [65, 65]
