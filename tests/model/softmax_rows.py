# SPDX-License-Identifier: BSD-2-Clause
"""Rows that try to make softmax err: random ones, and those in which every key errs as much as it can."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from .oracle_row import FRACTION_BITS, MAX_EXPONENT, PlaneRow, Row, run_row, weight
from .softmax_error import plain_rules

DISTANCE_MAX = (1 << 34) - (1 << 18)  # section 12 of the contract: 128 products of 12 and 16 bits
TOO_LARGE, TOO_SMALL = 287, 69  # exponents whose weights are furthest above and below the power
COUNTS = (1, 2, 3, 17, 64, 200, 1024)


@dataclass(frozen=True)
class SoftmaxRow:
    """Integer scores with their multiplier and shift, and one column of values."""

    scores: list[int]
    mult: int
    shift: int
    values: list[int]
    value_bits: int
    keep_values: int = 65535

    @property
    def fraction_bits(self) -> int:
        """`fo`: bits that an output gains over a value."""
        return 16 - self.value_bits

    def run(self) -> Row:
        """The row by the oracle: one dimension, a query of 1, so that keys are scores."""
        rules = plain_rules(self.mult, self.shift, self.fraction_bits, self.keep_values)
        keys = [PlaneRow([s], None) for s in self.scores]
        return run_row([1], keys, [PlaneRow([v], None) for v in self.values], rules)


# -- random rows ---------------------------------------------------------------------------------------------

# How far a key stands below the best, in steps of 2^-12.
Spread = Callable[[random.Random], float]
SPREADS: tuple[Spread, ...] = (
    lambda rng: 0,
    lambda rng: rng.uniform(0, 1.5),
    lambda rng: rng.uniform(0, 1 << FRACTION_BITS),
    lambda rng: rng.expovariate(1 / 8192),
    lambda rng: rng.uniform(0, 1.2 * MAX_EXPONENT),
    lambda rng: MAX_EXPONENT + rng.uniform(-2, 1),
    lambda rng: rng.choice((TOO_LARGE + 0.499, TOO_SMALL - 0.5)),
    lambda rng: (rng.randrange(18) << FRACTION_BITS) + rng.choice((TOO_LARGE + 0.499, TOO_SMALL - 0.5)),
)


def random_row(rng: random.Random) -> SoftmaxRow:
    """Every number of keys up to 1,024, every multiplier and shift, every width of values."""
    keys = rng.choice((*COUNTS, rng.randint(1, 80)))
    mult, shift = rng.choice((rng.randint(1, 65535), rng.randint(32768, 65535))), rng.randint(1, 48)
    spread, offset = rng.choice(SPREADS), rng.randint(-(1 << 33), 1 << 33)
    step = 2.0**shift / mult
    distances = [min(DISTANCE_MAX, round(min(spread(rng), 2 * MAX_EXPONENT) * step)) for _ in range(keys)]
    distances[rng.randrange(keys)] = 0
    value_bits = rng.choice((4, 6, 8, 10, 12, 14, 16))
    least, most = -(1 << value_bits - 1), (1 << value_bits - 1) - 1
    ends = rng.choice(((least, most), (least, least), (most, most), (least, least + 1)))
    values = [rng.choice(ends) if rng.randrange(4) else rng.randint(*ends) for _ in range(keys)]
    keep = rng.choice((65535, rng.randint(1, keys)))
    return SoftmaxRow([offset - d for d in distances], mult, shift, values, value_bits, keep)


# -- the worst rows ------------------------------------------------------------------------------------------


def edge_row(keys: int) -> SoftmaxRow:
    """All keys but the best stand exactly half a step before weight 0 and are rounded to it."""
    scores = [0] + [1 - 2 * MAX_EXPONENT] * (keys - 1)
    return SoftmaxRow(scores, 1, 1, [32767] + [-32768] * (keys - 1), 16)


def flat_row(keys: int) -> SoftmaxRow:
    """Nearly equal keys, one half as much too heavy and the other as much too light as a key can be."""
    heavy, light = keys // 2, keys - 1 - keys // 2
    scores = [0] + [-(256 * TOO_LARGE + 127)] * heavy + [-(256 * TOO_SMALL - 128)] * light
    return SoftmaxRow(scores, 1, 8, [-32768] + [32767] * heavy + [-32768] * light, 16)


def row_of_sum(total: int, values: Callable[[int], list[int]]) -> SoftmaxRow:
    """A row whose weights add up to `total`: as many full ones as fit, then ever smaller ones."""
    exponents = [0] * (total // 65535)
    rest = total % 65535
    while rest:
        x = next(x for x in range(MAX_EXPONENT) if weight(x) <= rest)
        exponents.append(x)
        rest -= weight(x)
    return SoftmaxRow([-2 * x for x in exponents], 1, 1, values(len(exponents)), 16)
