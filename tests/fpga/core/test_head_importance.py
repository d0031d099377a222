# SPDX-License-Identifier: BSD-2-Clause
"""Head importance against contract, section 6.3, in plain integers."""

import random

import pytest

from spatten_fpga.core.head_importance import HeadImportance
from spatten_fpga.sim.bench import Bench, gaps
from tests.model.oracle_row import round_shift

BITS = 18  # four lanes
MOST = 4 << 15
TOP = (1 << 48) - 1


@pytest.fixture(scope="module")
def bench():
    dut = HeadImportance(BITS)
    assert dut.LATENCY == 20
    return Bench(dut, {"sink": dut.sink, "update": dut.update}, {"source": dut.source})


def expected(head):
    magnitudes, update = head
    old = update["old"] if update["add"] else 0
    return min(TOP, old + round_shift(sum(magnitudes) * update["mult"], update["shift"]))


def words(head):
    magnitudes, _ = head
    return [{"magnitude": m, "last": i == len(magnitudes) - 1} for i, m in enumerate(magnitudes)]


def check(bench, heads, seed):
    run = bench.run(
        {"sink": [word for head in heads for word in words(head)], "update": [head[1] for head in heads]},
        {"source": len(heads)},
        offer=gaps(seed),
        take=gaps(seed + 1),
        seed=seed,
        limit=1_000_000,
    )
    for head, got in zip(heads, run.tokens["source"], strict=True):
        assert got == {"first": 1, "last": 1, "new": expected(head)}, head[1]


def update(old, mult, shift, add=1):
    return {"old": old, "mult": mult, "shift": shift, "add": add}


@pytest.mark.parametrize("seed", range(6))
def test_random(bench, seed):
    draws = random.Random(seed)
    heads = []
    for _ in range(150):
        magnitudes = [draws.randint(0, MOST) for _ in range(draws.randint(1, 40))]
        old = draws.getrandbits(draws.randint(1, 48))
        shift = draws.randint(0, 47)
        heads.append((magnitudes, update(old, draws.getrandbits(16), shift, draws.getrandbits(1))))
    check(bench, heads, 10 * seed)


def test_every_shift(bench):
    """Products of every length, rounding down, half up, and up."""
    heads = [
        ([magnitude], update(old, mult, shift))
        for shift in range(48)
        for magnitude, mult in (
            (0, 65535),
            (1, 1),
            (3, 1),
            (MOST, 65535),
            (MOST - 1, 32769),
            (1 << 9, 1 << 7),
        )
        for old in (0, (1 << 25) - 1)
    ]
    check(bench, heads, 1)


def test_saturation(bench):
    """Sums around 2^48 - 1, and far beyond."""
    heads = []
    for shift in (0, 1, 7, 30):
        for magnitudes in ([MOST] * 40, [MOST - 3, 5, 0, 77]):
            gain = round_shift(sum(magnitudes) * 54321, shift)
            heads += [(magnitudes, update(min(TOP, TOP - gain + i), 54321, shift)) for i in range(-2, 3)]
    heads += [([MOST] * 10, update(TOP, 65535, 0)), ([0], update(TOP, 65535, 0)), ([1], update(TOP, 1, 0))]
    assert sum(expected(head) == TOP for head in heads) > 20
    check(bench, heads, 2)


def test_largest_head(bench):
    """1,024 queries of 128 elements at -32768: A = 2^32."""
    loud = [MOST] * (1024 * 128 // 4)
    assert sum(loud) == 1 << 32
    heads = [(loud, update(TOP, 65535, 0, add)) for add in (0, 1)] + [(loud, update(0, 65535, 47))]
    check(bench, [*heads, ([1], update(0, 1, 0))], 3)


def test_cycles(bench):
    """An update waits for its head; meanwhile the next head is taken up to its last magnitude."""
    heads = [([5, 6, 7], update(0, 3, shift)) for shift in (0, 1, 47)]
    run = bench.run(
        {"sink": [word for head in heads for word in words(head)], "update": [head[1] for head in heads]},
        {"source": 3},
    )
    accepted, offered = run.cycles["update"], run.cycles["source"]
    assert accepted[0] == 3
    assert [b - a for a, b in zip(accepted, offered, strict=True)] == [20, 21, 67]
    assert [b - a for a, b in zip(offered, accepted[1:], strict=False)] == [1, 1]
    assert run.cycles["sink"][:6] == [0, 1, 2, 4, 5, 6]
    assert run.cycles["sink"][6] == accepted[1] + 1
