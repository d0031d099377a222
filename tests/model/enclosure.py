# SPDX-License-Identifier: BSD-2-Clause
"""Powers of two enclosed between two integers: what softmax errors are measured against.

Every number stands in units of `1 / ONE`. Roots of 1/2 come from integer square roots, any other power is a
product of roots; each step rounds the lower end down and the upper end up, so the true value lies between.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, repeat
from math import isqrt
from typing import NamedTuple

PRECISION = 96
ONE = 1 << PRECISION
ROOTS = 68  # an exponent has 12 + 48 fraction bits at most, and 8 more where a multiplier is in doubt


class Enclosure(NamedTuple):
    """A real number from `low / ONE` to `high / ONE`."""

    low: int
    high: int


def _root(square: Enclosure, _: None = None) -> Enclosure:
    return Enclosure(isqrt(square.low << PRECISION), isqrt(square.high << PRECISION) + 1)


#: `2^(-2^-k)` at index k.
HALVES = list(accumulate(repeat(None, ROOTS), _root, initial=Enclosure(ONE >> 1, ONE >> 1)))


@lru_cache(maxsize=1 << 14)  # all of a table's exponents
def _fraction_power(fraction: int, fraction_bits: int) -> Enclosure:
    """`2^-(fraction / 2^fraction_bits)` of a fraction below 1: one root for each bit that is set."""
    low = high = ONE
    for k in range(1, fraction_bits + 1):
        if fraction >> (fraction_bits - k) & 1:
            low = low * HALVES[k].low >> PRECISION
            high = (high * HALVES[k].high >> PRECISION) + 1
    return Enclosure(low, high)


def power(numerator: int, fraction_bits: int) -> Enclosure:
    """`2^-(numerator / 2^fraction_bits)` for `numerator >= 0` and up to 68 fraction bits."""
    whole, fraction = numerator >> fraction_bits, numerator & ((1 << fraction_bits) - 1)
    low, high = _fraction_power(fraction, fraction_bits)
    return Enclosure(low >> whole, (high >> whole) + 1)
