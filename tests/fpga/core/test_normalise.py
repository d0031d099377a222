# SPDX-License-Identifier: BSD-2-Clause
"""Outputs against contract, section 5.4, in plain integers."""

import random

import pytest

from spatten_fpga.core.normalise import Normalise
from spatten_fpga.sim.bench import Bench, gaps
from tests.model.oracle_row import reciprocal, round_shift, saturate16

LEAST, LARGEST = 65535, 1024 * 65535


@pytest.fixture(scope="module", params=[(1, 42), (3, 42), (4, 38)], ids=lambda p: f"{p[0]}x{p[1]}")
def unit(request):
    lanes, bits = request.param
    dut = Normalise(lanes, bits)
    assert dut.latency == 12 + {1: 0, 3: 2, 4: 2}[lanes]
    return Unit(Bench(dut, {"sink": dut.sink}, {"source": dut.source}), lanes, bits, dut.latency)


class Unit:
    """A bench that takes words as tuples: accumulators, sum of weights, fo, last."""

    def __init__(self, bench, lanes, bits, latency):
        self.bench, self.lanes, self.bits, self.latency = bench, lanes, bits, latency

    def packed(self, accumulators):
        return sum((a & (1 << self.bits) - 1) << i * self.bits for i, a in enumerate(accumulators))

    def token(self, word):
        accumulators, total, fo, last = word
        z, factor = reciprocal(total)
        return {
            "accumulators": self.packed(accumulators),
            "reciprocal": factor,
            "z": z,
            "fo": fo,
            "last": last,
        }

    def expected(self, word):
        accumulators, total, fo, last = word
        z, factor = reciprocal(total)
        outputs = [saturate16(round_shift(round_shift(a, z) * factor, 33 - fo)) for a in accumulators]
        packed = sum((o & 0xFFFF) << 16 * i for i, o in enumerate(outputs))
        return {"first": 0, "last": last, "outputs": packed, "magnitude": sum(map(abs, outputs))}

    def check(self, words, seed):
        run = self.bench.run(
            {"sink": [self.token(word) for word in words]},
            {"source": len(words)},
            offer=gaps(seed),
            take=gaps(seed + 1),
            seed=seed,
        )
        for word, got in zip(words, run.tokens["source"], strict=True):
            assert got == self.expected(word), word

    def most(self, total):
        """Least and largest accumulator of a row with this sum: all values the least, or largest."""
        value = 1 << self.bits - 26 - 1
        return -value * total, (value - 1) * total

    def words(self, cases, seed):
        """One word for each (accumulator, sum, fo), in a random lane; the others are random."""
        draws = random.Random(seed)
        for accumulator, total, fo in cases:
            accumulators = [draws.randint(*self.most(total)) for _ in range(self.lanes)]
            accumulators[draws.randrange(self.lanes)] = accumulator
            yield accumulators, total, fo, draws.getrandbits(1)


def sums():
    around = {(1 << bit) + offset for bit in range(16, 27) for offset in (-2, -1, 0, 1)}
    return sorted({s for s in around if LEAST <= s <= LARGEST} | {LEAST, LARGEST, 655350})


def test_ends(unit):
    """Least and largest accumulators of every exponent: also far beyond 16 bits, which saturates."""
    cases = [
        (a, total, fo)
        for total in sums()
        for fo in range(13)
        for a in (*unit.most(total), 0, 1, -1, unit.most(total)[0] + 1)
    ]
    assert any(saturate16(round_shift(a, 17 - fo)) != round_shift(a, 17 - fo) for a, _, fo in cases)
    unit.check(list(unit.words(cases, 1)), 2)


def test_borders_of_saturation(unit):
    """Accumulators at which the output passes -32768 and 32767."""
    cases = []
    for total in sums():
        for fo in range(13):
            for output in (-32770, -32769, -32768, -32767, 32766, 32767, 32768, 32769):
                accumulator = output * total >> fo
                low, high = unit.most(total)
                cases += [(a, total, fo) for a in range(accumulator - 2, accumulator + 3) if low <= a <= high]
    unit.check(list(unit.words(cases, 3)), 4)


def test_halves(unit):
    """Accumulators next to an output's half steps, of both signs."""
    draws = random.Random(5)
    cases = []
    for _ in range(2000):
        total, fo = draws.randint(LEAST, LARGEST), draws.randrange(13)
        accumulator = (2 * draws.randint(-300, 300) + 1) * total >> fo + 1
        low, high = unit.most(total)
        cases += [(a, total, fo) for a in (accumulator, accumulator + 1) if low <= a <= high]
    unit.check(list(unit.words(cases, 6)), 7)


@pytest.mark.parametrize("seed", range(6))
def test_random(unit, seed):
    draws = random.Random(seed)
    cases = []
    for _ in range(1500):
        total = min(LARGEST, max(LEAST, draws.getrandbits(draws.randint(16, 26))))
        low, high = unit.most(total)
        cut = draws.randrange(30)
        cases.append((draws.randint(low >> cut, high >> cut), total, draws.randrange(13)))
    unit.check(list(unit.words(cases, seed)), 10 * seed)


def test_a_word_a_cycle(unit):
    words = list(unit.words([(5, 100_000, 4)] * 50, 8))
    run = unit.bench.run({"sink": [unit.token(word) for word in words]}, {"source": 50})
    assert [b - a for a, b in zip(run.cycles["sink"], run.cycles["source"], strict=True)] == [
        unit.latency
    ] * 50
    assert run.cycles["sink"] == list(range(50))


def test_nothing_is_lost_while_nothing_is_taken(unit):
    words = list(unit.words([(1 << i % 27, 100_000, 4) for i in range(30)], 9))
    run = unit.bench.run({"sink": [unit.token(word) for word in words]}, {"source": 30}, take=0.05, seed=10)
    assert run.tokens["source"] == [unit.expected(word) for word in words]
