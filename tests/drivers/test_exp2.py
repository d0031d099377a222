# SPDX-License-Identifier: BSD-2-Clause
"""The weight ``2^-x`` against the real function, and its shape."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spatten_drivers.exp2 import MAX_EXPONENT, SEGMENTS, WEIGHTS, round_shift, weight


def test_segments_are_the_rounded_powers() -> None:
    """Decided in exact arithmetic: ``(T +- 1/2)^64`` encloses ``65535^64 * 2^-i``; a half rounds to even."""
    for i, entry in enumerate(SEGMENTS.tolist()):
        exact = Fraction(65535**64, 2**i)
        assert (entry - Fraction(1, 2)) ** 64 <= exact < (entry + Fraction(1, 2)) ** 64


def test_ends() -> None:
    assert WEIGHTS[0] == 65535
    assert WEIGHTS[-1] == 0 == weight(np.array([MAX_EXPONENT]))[0]
    assert WEIGHTS.size == MAX_EXPONENT + 1 == 69633


def test_never_rises_and_stays_near_the_power() -> None:
    """Half a step of rounding twice, and a chord that lies at most 2^-15.9 above its arc."""
    exact = 65535 * np.exp2(-np.arange(WEIGHTS.size) / 4096)
    assert (np.diff(WEIGHTS) <= 0).all()
    assert np.abs(WEIGHTS - exact).max() < 2.0


@given(st.integers(-(1 << 40), 1 << 40), st.integers(0, 40))
def test_round_shift_is_round_half_up(value: int, shift: int) -> None:
    rounded = int(round_shift(np.array([value], np.int64), shift)[0])
    assert rounded == (Fraction(value, 1 << shift) + Fraction(1, 2)).__floor__()
