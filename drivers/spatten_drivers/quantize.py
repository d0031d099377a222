# SPDX-License-Identifier: BSD-2-Clause
"""Floats to the contract's integers and back: symmetric scales and fixed-point multipliers.

This is the host's side of the contract: a device only ever sees the integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .errors import OperandError
from .exp2 import FRACTION_BITS, WEIGHT_ONE

IMPORTANCE_FRACTION_BITS = 12
NEVER_REFETCH = (1 << 32) - 1
LOG2_E = math.log2(math.e)
#: Peaks below this count as this, so that a silent head has a scale whose inverse is finite in float32.
SILENCE = 2.0**-64
#: ``mult`` of 16 bits and ``shift``: the number ``mult * 2**-shift``.
FixedPoint = tuple[int, int]


def symmetric_scale(values: NDArray[np.floating], bits: int, headroom: float = 1.0) -> NDArray[np.float64]:
    """One scale per leading index (head): ``max|values| * headroom`` maps to ``2**(bits-1) - 1``.

    ``values`` is ``[H, n, D]``; the answer is ``[H]``, never zero.

    Raises
    ------
    OperandError : NaN or infinity; the message names the heads.
    """
    flat = values.reshape(len(values), -1)
    peaks = np.abs(flat).max(axis=1).tolist()  # a dozen at most: plain floats cost less than arrays
    odd = [head for head, peak in enumerate(peaks) if not peak < math.inf]
    if odd:
        raise OperandError(
            f"activations hold NaN or infinity in head(s) {odd}; expected finite numbers. Check the model's "
            "weights and inputs"
        )
    limit = (1 << bits - 1) - 1
    return np.array([max(peak * headroom, SILENCE) / limit for peak in peaks])


def quantize(
    values: NDArray[np.floating], scale: NDArray[np.float64], bits: int
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """``[H, n, D]`` floats to ``bits``-bit integers by per-head scales; also how many of a head saturated."""
    limit = (1 << bits - 1) - 1
    inverse = (1.0 / scale).astype(np.promote_types(values.dtype, np.float32))
    steps = np.rint(values * inverse[:, None, None])
    outside, saturated = np.abs(steps) > limit, np.zeros(len(values), np.int64)
    if outside.any():
        saturated = outside.sum(axis=(1, 2))
        steps = np.clip(steps, -limit, limit)
    return steps.astype(np.int16), saturated


def fixed_point(numbers: Iterable[float], *, shift_range: tuple[int, int], what: str) -> list[FixedPoint]:
    """The 16-bit multipliers and shifts nearest to some numbers, relative error at most 2^-16.

    Numbers too small for the largest shift lose multiplier bits; numbers too large raise
    :class:`OperandError`.
    """
    wanted = [*numbers]
    if not all(0.0 <= number < math.inf for number in wanted):
        raise OperandError(f"{what} is {wanted}; expected finite numbers that are not negative")
    low, high = shift_range
    found = [nearest(number, high) if number else (0, low) for number in wanted]
    if any(shift < low for _, shift in found):
        raise OperandError(
            f"{what} is {max(wanted):.4g}; expected below {2.0 ** (16 - low):.4g}. The activations are too "
            "large: scale the model's inputs or use fewer bits"
        )
    return found


def nearest(number: float, high: int) -> tuple[int, int]:
    """Multiplier and shift of one positive number, the shift at most ``high``."""
    shift = min(16 - math.frexp(number)[1], high)
    mult = round(math.ldexp(number, shift))
    return (mult >> 1, shift - 1) if mult == 1 << 16 else (mult, shift)


def score_scale(q_scale: Iterable[float], k_scale: Iterable[float], scaling: float) -> list[FixedPoint]:
    """Multiplier and shift of each head from an integer score to a base-2 exponent with 12 fraction bits."""
    factor, pairs = float(scaling), zip(q_scale, k_scale, strict=True)
    wanted = (q * k * factor * LOG2_E * (1 << FRACTION_BITS) for q, k in pairs)
    return fixed_point(wanted, shift_range=(1, 48), what="score scale")


def importance_scale(v_scale: Iterable[float], value_bits: int) -> list[FixedPoint]:
    """Multiplier and shift of each head from a sum of \\|output integers\\| to units of 2^-12."""
    wanted = (scale * 2.0 ** (value_bits - 16 + IMPORTANCE_FRACTION_BITS) for scale in v_scale)
    return fixed_point(wanted, shift_range=(0, 47), what="head importance scale")


def refetch_limit(threshold: float) -> int:
    """The largest weight sum at which a row is still confident: refetch if max probability < ``threshold``.

    Raises
    ------
    OperandError : the threshold is not from 0 (never refetch) to 1 (refetch unless one key takes all).
    """
    if not 0.0 <= threshold <= 1.0:
        raise OperandError(f"refetch threshold is {threshold}; expected a probability from 0 (never) to 1")
    if threshold == 0.0:
        return NEVER_REFETCH
    return min(NEVER_REFETCH, int(Fraction(WEIGHT_ONE) / Fraction(threshold)))
