# SPDX-License-Identifier: BSD-2-Clause
"""Weights against contract, section 4, steps 3 and 4, in plain integers."""

import random

import pytest

from spatten_fpga.core.weight import WeightUnit
from spatten_fpga.sim.bench import Bench, gaps
from tests.model.oracle_row import MAX_EXPONENT, exponent, weight

LATENCY = 13


@pytest.fixture(scope="module", params=[(4, 35), (1, 29)], ids=lambda p: f"{p[0]}x{p[1]}")
def unit(request):
    lanes, bits = request.param
    dut = WeightUnit(lanes, bits)
    assert dut.LATENCY == LATENCY
    return Unit(Bench(dut, {"sink": dut.sink}, {"source": dut.source}), lanes, bits)


class Unit:
    """A bench that takes words as tuples: distances, mult, shift, last."""

    def __init__(self, bench, lanes, bits):
        self.bench, self.lanes, self.bits = bench, lanes, bits

    def token(self, word):
        distances, mult, shift, last = word
        packed = sum(d << i * self.bits for i, d in enumerate(distances))
        return {"distances": packed, "count": len(distances), "mult": mult, "shift": shift, "last": last}

    def check(self, words, seed):
        tokens = [self.token(word) for word in words]
        junk = random.Random(seed)
        for token, (distances, *_) in zip(
            tokens, words, strict=True
        ):  # lanes that are not valid hold anything
            used = len(distances) * self.bits
            token["distances"] |= junk.getrandbits(self.lanes * self.bits - used + 1) >> 1 << used
        run = self.bench.run(
            {"sink": tokens}, {"source": len(words)}, offer=gaps(seed), take=gaps(seed + 1), seed=seed
        )
        for word, got in zip(words, run.tokens["source"], strict=True):
            assert got == self.expected(word), word
        return run

    def expected(self, word):
        distances, mult, shift, last = word
        weights = [weight(exponent(d, mult, shift)) for d in distances]
        packed = sum(e << 16 * i for i, e in enumerate(weights))
        return {"first": 0, "last": last, "weights": packed, "count": len(distances)}

    def words(self, triples, seed):
        """One word for each (distance, mult, shift), the distance in a random lane; other lanes random."""
        draws = random.Random(seed)
        for distance, mult, shift in triples:
            count = draws.randint(1, self.lanes)
            distances = [draws.getrandbits(draws.randint(1, self.bits)) for _ in range(count)]
            distances[draws.randrange(count)] = distance
            yield distances, mult, shift, draws.getrandbits(1)


def test_every_exponent(unit):
    """With mult = 2^15 and shift = 15 a distance is its exponent: all 69,633 and some beyond."""
    every = list(range(MAX_EXPONENT + 64))
    words = [(every[i : i + unit.lanes], 1 << 15, 15, 0) for i in range(0, len(every), unit.lanes)]
    unit.check(words, 1)


def test_rounding_of_the_exponent(unit):
    """Products just below, at and above a half, for every shift."""
    draws = random.Random(2)
    triples = []
    for shift in range(1, 49):
        for mult in (1, 3, 257, 32768, 40000, 65535):
            for x in (
                0,
                1,
                63,
                64,
                4095,
                4096,
                65535,
                65536,
                MAX_EXPONENT - 1,
                MAX_EXPONENT,
                1 << 17,
                1 << 18,
            ):
                half = ((2 * x + 1) << shift) // 2 // mult
                triples += [(d, mult, shift) for d in (half - 1, half, half + 1) if 0 <= d < 1 << unit.bits]
    draws.shuffle(triples)
    unit.check(list(unit.words(triples, 3)), 4)


def test_single_bits(unit):
    """Every bit of a distance under every shift: none that is shifted past the window gets lost."""
    triples = [
        (1 << bit, mult, shift)
        for bit in range(unit.bits)
        for shift in range(1, 49)
        for mult in (1, 1 << 15, 65535)
    ]
    unit.check(list(unit.words(triples, 5)), 6)


def test_largest_and_least(unit):
    top = (1 << unit.bits) - 1
    triples = [(d, m, s) for d in (0, 1, top - 1, top) for m in (0, 1, 65534, 65535) for s in range(1, 49)]
    unit.check(list(unit.words(triples, 7)), 8)


@pytest.mark.parametrize("seed", range(8))
def test_random(unit, seed):
    draws = random.Random(seed)
    triples = [
        (draws.getrandbits(draws.randint(1, unit.bits)), draws.getrandbits(16), draws.randint(1, 48))
        for _ in range(1500)
    ]
    unit.check(list(unit.words(triples, seed)), 10 * seed)


def test_a_word_a_cycle(unit):
    words = list(unit.words([(5, 40000, 16)] * 50, 9))
    run = unit.bench.run({"sink": [unit.token(word) for word in words]}, {"source": 50})
    assert [b - a for a, b in zip(run.cycles["sink"], run.cycles["source"], strict=True)] == [LATENCY] * 50
    assert run.cycles["sink"] == list(range(50))


def test_nothing_is_lost_while_nothing_is_taken(unit):
    words = list(unit.words([(d, 40000, 16) for d in range(40)], 10))
    run = unit.bench.run(
        {"sink": [unit.token(word) for word in words]}, {"source": 40}, offer=1.0, take=0.05, seed=11
    )
    assert run.tokens["source"] == [unit.expected(word) for word in words]
