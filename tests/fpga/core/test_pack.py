# SPDX-License-Identifier: BSD-2-Clause
"""Segments to words: where each element must stand, from the list of keys of a pass."""

import random
from functools import cache

import pytest

from spatten_drivers import AcceleratorConfig
from spatten_drivers.config import PRESETS
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.pack import Pack
from spatten_fpga.sim.bench import Bench, Run, gaps

TAG_BITS = 9
CONFIGS = {
    **{name: PRESETS[name] for name in ("ecp5-85f", "ecp5-25f", "paper")},
    "all dims on 32 lanes": AcceleratorConfig(lanes=32, head_dims=(32, 64, 96, 128), beat_bytes=8),
}
Key = tuple[int, list[int], int]  # dim, elements as unsigned numbers, tag


@cache
def bench(name: str) -> tuple[Geometry, Bench]:
    geometry = Geometry(CONFIGS[name])
    dut = Pack(geometry, TAG_BITS)
    return geometry, Bench(dut, {"sink": dut.sink}, {"source": dut.source})


def number(elements: list[int], width: int) -> int:
    return sum(element << i * width for i, element in enumerate(elements))


def segments(geometry: Geometry, keys: list[Key]) -> list[dict[str, int]]:
    """Segments of the keys of one pass."""
    found = []
    for place, (dim, elements, tag) in enumerate(keys):
        for i in range(0, dim, geometry.segment):
            part = elements[i : i + geometry.segment]
            found.append(
                {
                    "elements": number(part, geometry.operand_bits),
                    "last": int(i + geometry.segment == dim),
                    "dim": dim,
                    "end": int(place == len(keys) - 1),
                    "tag": tag,
                }
            )
    return found


def words(geometry: Geometry, keys: list[Key]) -> list[dict[str, int]]:
    """Words of the keys of one pass, all of one head dimension."""
    lanes, dim = geometry.lanes, keys[0][0]
    padded = {32: 32, 64: 64, 96: 128, 128: 128}[dim]
    rows: list[tuple[list[int], int, int]] = []
    if dim <= lanes:
        share = lanes // padded
        for i in range(0, len(keys), share):
            row = [0] * lanes
            for place, (_, elements, _) in enumerate(keys[i : i + share]):
                row[place * padded : place * padded + dim] = elements
            rows.append((row, len(keys[i : i + share]), keys[i : i + share][-1][2]))
    else:
        for _, elements, tag in keys:
            for i in range(0, dim, lanes):
                part = elements[i : i + lanes]
                rows.append((part + [0] * (lanes - len(part)), 1, tag))
    return [
        {
            "elements": number(row, geometry.operand_bits),
            "count": count,
            "tag": tag,
            "last": int(i == len(rows) - 1),
        }
        for i, (row, count, tag) in enumerate(rows)
    ]


def pack(name: str, passes: list[list[Key]], seed: int = 0, offer: float = 1, take: float = 1) -> Run:
    geometry, unit = bench(name)
    unit.reset()
    given = [token for keys in passes for token in segments(geometry, keys)]
    expected = [token for keys in passes for token in words(geometry, keys)]
    run = unit.run({"sink": given}, {"source": len(expected)}, offer=offer, take=take, seed=seed)
    assert [{k: v for k, v in token.items() if k != "first"} for token in run.tokens["source"]] == expected
    return run


def random_pass(geometry: Geometry, draws: random.Random, dim: int, count: int) -> list[Key]:
    width = geometry.operand_bits
    return [
        (dim, [draws.getrandbits(width) for _ in range(dim)], draws.getrandbits(TAG_BITS))
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_length_of_a_pass(name: str) -> None:
    geometry, _ = bench(name)
    draws = random.Random(3)
    for dim in geometry.config.head_dims:
        lengths = [*range(1, 2 * geometry.keys_a_word + 2), 1, 1]
        pack(name, [random_pass(geometry, draws, dim, count) for count in lengths])


@pytest.mark.parametrize("name", CONFIGS)
def test_random_passes_and_gaps(name: str) -> None:
    geometry, _ = bench(name)
    for seed in range(10):
        draws = random.Random(seed)
        dims = [draws.choice(geometry.config.head_dims) for _ in range(12)]
        passes = [random_pass(geometry, draws, dim, draws.randint(1, 20)) for dim in dims]
        pack(name, passes, seed, offer=gaps(2 * seed), take=gaps(2 * seed + 1))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_segment_every_cycle(name: str) -> None:
    geometry, _ = bench(name)
    draws = random.Random(4)
    dims = [draws.choice(geometry.config.head_dims) for _ in range(10)]
    run = pack(name, [random_pass(geometry, draws, dim, draws.randint(1, 20)) for dim in dims])
    assert run.cycles["sink"] == list(range(len(run.cycles["sink"])))
    assert run.cycles["source"][-1] == run.cycles["sink"][-1] + 1
