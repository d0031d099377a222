# SPDX-License-Identifier: BSD-2-Clause
"""Reciprocals against contract, sections 5.3 and 6.1, in plain integers."""

import random
from itertools import pairwise

import pytest

from spatten_fpga.core.reciprocal import Reciprocal
from spatten_fpga.sim.bench import Bench, gaps

LATENCY = 21
LEAST, LARGEST = 65535, 1024 * 65535


@pytest.fixture(scope="module")
def bench():
    dut = Reciprocal()
    assert dut.LATENCY == LATENCY
    return Bench(dut, {"sink": dut.sink}, {"source": dut.source})


def expected(total):
    z = max(0, total.bit_length() - 17)
    reciprocal = (1 << 33 + z) // total
    assert 1 << 16 <= reciprocal <= 131074
    return {"first": 1, "last": 1, "reciprocal": reciprocal, "z": z, "gain": 8 * reciprocal >> z}


def check(bench, sums, seed):
    run = bench.run(
        {"sink": [{"sum": total} for total in sums]},
        {"source": len(sums)},
        offer=gaps(seed),
        take=gaps(seed + 1),
        seed=seed,
        limit=200 * len(sums) + 1000,
    )
    for total, got in zip(sums, run.tokens["source"], strict=True):
        assert got == expected(total), total


def test_around_powers_of_two(bench):
    sums = {(1 << bit) + offset for bit in range(16, 27) for offset in range(-40, 41)}
    check(bench, sorted(s for s in sums if LEAST <= s <= LARGEST), 1)


def test_ends(bench):
    check(bench, [LARGEST, LEAST, LARGEST, LEAST + 1, LARGEST - 1, LEAST, LEAST], 2)


def test_equal_keys(bench):
    """1 to 1,024 keys of weight 65535."""
    check(bench, [65535 * keys for keys in range(1, 1025)], 3)


def test_where_the_quotient_steps(bench):
    """Sums at and around which ``2^(33 + z) / S`` passes a whole number."""
    draws = random.Random(4)
    sums = []
    for _ in range(1500):
        z = draws.randrange(10)
        border = (1 << 33 + z) // draws.randint(1 << 16, 1 << 17)
        sums += [s for s in (border - 1, border, border + 1) if LEAST <= s <= LARGEST]
    check(bench, sums, 4)


@pytest.mark.parametrize("seed", range(4))
def test_random(bench, seed):
    draws = random.Random(seed)
    top = [draws.randint(16, 26) for _ in range(3000)]
    check(bench, [min(LARGEST, max(LEAST, draws.getrandbits(t) | 1 << t - 1)) for t in top], 10 * seed)


def test_cycles(bench):
    """Latency does not depend on the sum, and a row takes 22 cycles."""
    run = bench.run({"sink": [{"sum": s} for s in (LEAST, LARGEST, 100_000, 1 << 20)]}, {"source": 4})
    taken, given = run.cycles["sink"], run.cycles["source"]
    assert [b - a for a, b in zip(taken, given, strict=True)] == [LATENCY] * 4
    assert [b - a for a, b in pairwise(taken)] == [LATENCY + 1] * 3
