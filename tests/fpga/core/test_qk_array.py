# SPDX-License-Identifier: BSD-2-Clause
"""Scores against ``sum of q_d * k_jd`` in plain integers, for every head dimension and number of keys."""

import random
from dataclasses import dataclass
from functools import cache

import pytest

from spatten_drivers import AcceleratorConfig
from spatten_drivers.config import PRESETS
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.qk_array import QKArray
from spatten_fpga.sim.bench import Bench, Run, gaps, signed

Q_BITS = 12
CONFIGS = {
    **{name: PRESETS[name] for name in ("ecp5-85f", "ecp5-25f", "paper")},
    "all dims on 64 lanes": AcceleratorConfig(lanes=64, head_dims=(32, 64, 96, 128)),
}
PADDED = {32: 32, 64: 64, 96: 128, 128: 128}


@dataclass
class Row:
    """A query and its passes, each a list of keys."""

    query: list[int]
    passes: list[list[list[int]]]


@cache
def bench(name: str) -> tuple[Geometry, int, Bench]:
    geometry = Geometry(CONFIGS[name])
    dut = QKArray(geometry)
    streams = {"query": dut.query, "sink": dut.sink}
    return geometry, dut.latency, Bench(dut, streams, {"source": dut.source})


def number(elements: list[int], width: int) -> int:
    mask = (1 << width) - 1
    return sum((element & mask) << i * width for i, element in enumerate(elements))


def query_tokens(geometry: Geometry, row: Row) -> list[dict[str, int]]:
    size = geometry.segment
    parts = [row.query[i : i + size] for i in range(0, len(row.query), size)]
    return [{"elements": number(p, Q_BITS), "last": int(i == len(parts) - 1)} for i, p in enumerate(parts)]


def words(geometry: Geometry, row: Row) -> list[dict[str, int]]:
    """Words of all passes of a row."""
    dim, lanes = len(row.query), geometry.lanes
    share = max(1, lanes // PADDED[dim])
    found: list[dict[str, int]] = []
    for keys in row.passes:
        for i in range(0, len(keys), share):
            held = keys[i : i + share]
            flat = [element for key in held for element in key + [0] * (PADDED[dim] - dim)]
            for at in range(0, dim if dim > lanes else 1, lanes):
                elements = number(flat[at : at + lanes], geometry.operand_bits)
                found.append({"elements": elements, "count": len(held), "dim": dim})
        found[-1]["last"] = 1
    found[-1]["release"] = 1
    return found


def scores(geometry: Geometry, row: Row) -> list[dict[str, object]]:
    share = max(1, geometry.lanes // PADDED[len(row.query)])
    found: list[dict[str, object]] = []
    for keys in row.passes:
        dots = [sum(q * k for q, k in zip(row.query, key, strict=True)) for key in keys]
        for i in range(0, len(dots), share):
            held = dots[i : i + share]
            padding = [0] * (geometry.keys_a_word - len(held))
            found.append({"scores": held + padding, "count": len(held), "last": int(i + share >= len(dots))})
    return found


def check(
    name: str,
    rows: list[Row],
    seed: int = 0,
    offer: float | dict[str, float] = 1,
    take: float = 1,
) -> Run:
    geometry, _, unit = bench(name)
    unit.reset()
    tokens = {
        "query": [token for row in rows for token in query_tokens(geometry, row)],
        "sink": [token for row in rows for token in words(geometry, row)],
    }
    expected = [token for row in rows for token in scores(geometry, row)]
    run = unit.run(tokens, {"source": len(expected)}, offer=offer, take=take, seed=seed)
    assert [read(geometry, token) for token in run.tokens["source"]] == expected
    return run


def read(geometry: Geometry, token: dict[str, int]) -> dict[str, object]:
    width = geometry.score_bits
    parts = [token["scores"] >> i * width & ((1 << width) - 1) for i in range(geometry.keys_a_word)]
    return {
        "scores": [signed(part, width) for part in parts],
        "count": token["count"],
        "last": token["last"],
    }


def element(draws: random.Random, bits: int) -> int:
    return draws.randint(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def random_row(geometry: Geometry, draws: random.Random, dim: int, lengths: list[int]) -> Row:
    bits = geometry.operand_bits
    keys = [[[element(draws, bits) for _ in range(dim)] for _ in range(count)] for count in lengths]
    return Row([element(draws, Q_BITS) for _ in range(dim)], keys)


@pytest.mark.parametrize("name", CONFIGS)
def test_largest_and_smallest_scores(name: str) -> None:
    geometry, _, _ = bench(name)
    low, high = -(1 << (geometry.operand_bits - 1)), (1 << (geometry.operand_bits - 1)) - 1
    rows = [
        Row([q] * dim, [[[low] * dim, [high] * dim, [0] * dim, [-1] * dim, [low, high] * (dim // 2)]])
        for dim in geometry.config.head_dims
        for q in (-2048, 2047, -1, 0)
    ]
    check(name, rows)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_length_of_a_pass(name: str) -> None:
    geometry, _, _ = bench(name)
    draws = random.Random(2)
    for dim in geometry.config.head_dims:
        lengths = list(range(1, 2 * geometry.keys_a_word + 2))
        check(name, [random_row(geometry, draws, dim, lengths), random_row(geometry, draws, dim, [1])])


@pytest.mark.parametrize("name", CONFIGS)
def test_random_rows_and_gaps(name: str) -> None:
    geometry, _, _ = bench(name)
    for seed in range(8):
        draws = random.Random(seed)
        rows = []
        for _ in range(10):
            lengths = [draws.randint(1, 24) for _ in range(draws.randint(1, 2))]
            rows.append(random_row(geometry, draws, draws.choice(geometry.config.head_dims), lengths))
        offers = {"query": gaps(3 * seed), "sink": gaps(3 * seed + 1)}
        check(name, rows, seed, offer=offers, take=gaps(3 * seed + 2))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_word_every_cycle_and_its_latency(name: str) -> None:
    geometry, latency, _ = bench(name)
    draws = random.Random(7)
    for dim in geometry.config.head_dims:
        # a row long enough that the next query is loaded meanwhile
        segments = dim // geometry.segment
        count = (segments + 2) * max(1, geometry.lanes // PADDED[dim])
        run = check(name, [random_row(geometry, draws, dim, [count]) for _ in range(4)])
        first = segments + 1
        given = run.cycles["sink"]
        assert given == list(range(first, first + len(given)))
        each = -(-dim // geometry.lanes)
        assert run.cycles["source"] == [cycle + latency for cycle in given[each - 1 :: each]]


def test_a_row_of_one_word_waits_for_its_query_alone() -> None:
    geometry, _, _ = bench("ecp5-85f")
    draws = random.Random(8)
    run = check("ecp5-85f", [random_row(geometry, draws, 32, [1]) for _ in range(10)])
    given = run.cycles["sink"]
    assert given == list(range(given[0], given[0] + 20, 2))  # a segment to load, a cycle to move into use
