# SPDX-License-Identifier: BSD-2-Clause
"""Division of a row by the sum of its weights (``docs/contract.md``, sections 5 and 6), in NumPy.

Every product is exact in float64: the widest, ``acc * R``, stays below 2^51.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float64]


def add_gain(gain: Block, weights: Block, sums: Block) -> tuple[Block, Block]:
    """Add to ``gain [n]`` each key's shares of the rows ``weights [h,q,n]`` (section 6), units of 2^-36.

    Answers ``2^z`` and ``R`` of section 5, step 3, both ``[h,q]``.
    """
    unit = np.exp2(np.maximum(np.frexp(sums)[1] - 17, 0).astype(np.float64))
    reciprocal = np.floor(2.0**33 * unit / sums)
    share = np.floor(8.0 * reciprocal / unit)
    gain += np.matmul(share[:, None, :], weights).sum(axis=(0, 1))
    return unit, reciprocal


def divide(
    total: Block, unit: Block, reciprocal: Block, value_bits: int, output: NDArray[np.int16]
) -> NDArray[np.int64]:
    """``output [h,q,D]`` from ``total [h,q,D]`` (section 5, step 4); answers sums of magnitudes ``[h]``."""
    unit, reciprocal = unit[..., None], reciprocal[..., None]
    mantissa = np.floor((total + np.floor(unit / 2)) / unit)
    mantissa *= reciprocal
    mantissa += 2.0 ** (16 + value_bits)
    mantissa *= 2.0 ** -(17 + value_bits)
    exact = np.clip(np.floor(mantissa), -32768, 32767)
    output[...] = exact
    loudness: NDArray[np.int64] = np.abs(exact).sum(axis=(1, 2)).astype(np.int64)
    return loudness
