# SPDX-License-Identifier: BSD-2-Clause
"""The weight ``e = 2^-x`` by shift and interpolated table (``docs/contract.md``, section 4, step 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRACTION_BITS = 12
WEIGHT_ONE = 65535
MAX_EXPONENT = 17 << FRACTION_BITS
_SEGMENT_BITS = 6

#: ``T[i] = round(65535 * 2^(-i/64))``, 65 entries: the segment borders of the gateware's table.
SEGMENTS: NDArray[np.int64] = np.rint(WEIGHT_ONE * np.exp2(-np.arange(65) / 64)).astype(np.int64)


def round_shift(value: NDArray[np.int64], shift: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """``value / 2^shift`` rounded half up."""
    return (value + ((np.int64(1) << shift) >> 1)) >> shift


def weight(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """16-bit weights of exponents ``x`` in 0..69632 with 12 fraction bits."""
    fraction = x & ((1 << FRACTION_BITS) - 1)
    index, offset = fraction >> _SEGMENT_BITS, fraction & ((1 << _SEGMENT_BITS) - 1)
    slope = SEGMENTS[index] - SEGMENTS[index + 1]
    mantissa = SEGMENTS[index] - round_shift(slope * offset, _SEGMENT_BITS)
    return round_shift(mantissa, x >> FRACTION_BITS)


#: All 69,633 weights. The model looks weights up; the gateware computes them; a test compares the two.
WEIGHTS: NDArray[np.float64] = weight(np.minimum(np.arange(MAX_EXPONENT + 1), MAX_EXPONENT)).astype(
    np.float64
)
