# SPDX-License-Identifier: BSD-2-Clause
"""The model's inner loops as numba compiles them: one row of one query and head, then blocks of rows.

Bits are those of NumPy's loops in :mod:`~spatten_drivers.model.kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exp2 import WEIGHTS
from ..planes import LSB_WIDTH
from .division import Block
from .lanes import LANES, prefetch, unpack_eight

#: Stands for LSBs of V that are not read.
MIDPOINT = 1 << LSB_WIDTH - 1
_TABLE = WEIGHTS.astype(np.uint16)
_LAST = float(len(_TABLE) - 1)
#: Rows that are asked for ahead of their time: pruned rows lie where no cache guesses.
_AHEAD = 8
_CACHE_LINE = 64

Memory = NDArray[np.uint8]
Slots = NDArray[np.int64]
Row = NDArray[np.float64]
Elements = NDArray[Any]
#: An integer of Python or of NumPy: to the compiler widths matter.
Int = Any


def _unpacker(width: int) -> Callable[..., None]:
    """Unpacking of one width, which the compiler has to know."""

    def unpack(
        memory: Memory,
        address: Int,
        size: Int,
        slots: Slots,
        flip: Int,
        factor: Int,
        base: Int,
        out: Elements,
    ) -> None:
        for n in range(len(slots)):
            soon = address + slots[min(n + _AHEAD, len(slots) - 1)] * size
            for line in range(0, size, _CACHE_LINE):
                prefetch(memory, soon + line)
            row, elements = address + slots[n] * size, out[n]
            for g in range(out.shape[1] // LANES):
                unpack_eight(width, memory, row + g * width, flip, factor, base, elements, g * LANES)

    unpack.__name__ = f"unpack_{width}"
    unpack.__qualname__ = f"_unpacker.{unpack.__name__}"
    return unpack


unpack_4, unpack_6, unpack_8, unpack_10, unpack_12 = map(_unpacker, (4, 6, 8, 10, 12))


def unpack_rows(
    memory: Memory, address: Int, size: Int, slots: Slots, coding: tuple[Int, Int, Int, Int], out: Elements
) -> None:
    """Rows of some slots of one head's plane to ``out [n, D]``.

    An element is ``(bits << up) + offset``, bits two's complement or unsigned; ``coding`` is width, signed or
    not, up and offset.
    """
    width, signed, up, offset = coding
    # Two's complement: flip the sign bit, then take its weight off.
    flip = np.int16(1 << (width - 1) if signed else 0)
    factor = np.int16(1 << up)
    base = np.int16(offset - flip * factor)
    if width == 4:
        unpack_4(memory, address, size, slots, flip, factor, base, out)
    elif width == 6:
        unpack_6(memory, address, size, slots, flip, factor, base, out)
    elif width == 8:
        unpack_8(memory, address, size, slots, flip, factor, base, out)
    elif width == 10:
        unpack_10(memory, address, size, slots, flip, factor, base, out)
    else:
        unpack_12(memory, address, size, slots, flip, factor, base, out)


def unpack(
    memory: Memory,
    region: tuple[Int, Int, Int],
    coding: tuple[Int, Int, Int, Int],
    heads: NDArray[np.intp],
    slots: Slots,
    out: Elements,
) -> None:
    """Rows of some heads and slots of a plane to ``out [h, n, D]``."""
    address, stride, size = region
    for h in range(len(heads)):
        unpack_rows(memory, address + heads[h] * stride, size, slots, coding, out[h])


def weigh_row(row: Row) -> Int:
    """Scaled scores of the keys that a query sees become weights, in place; answers their sum."""
    peak = row[0]
    for score in row:
        if score > peak:
            peak = score
    peak += 0.5
    total = np.int64(0)
    for j in range(len(row)):
        distance = peak - row[j]
        weight = _TABLE[np.int32(distance if distance < _LAST else _LAST)]
        row[j] = weight
        total += weight
    return total


def greatest(row: Row, keep: int) -> tuple[float, int]:
    """Of the ``keep`` greatest of a row of natural numbers the least, and how many equal it among them.

    By bisection of values: each pass is one that the compiler makes vectors of.
    """
    low, high = 0.0, 0.0
    for value in row:
        high = max(high, value)
    while low < high:
        middle, above = np.ceil((low + high) / 2), 0
        for value in row:
            above += value >= middle
        if above >= keep:
            low = middle
        else:
            high = middle - 1.0
    ties = keep
    for value in row:
        ties -= value > low
    return low, ties


def drop_row(row: Row, keep: int, limit: int) -> int:
    """Zeroes all weights but the ``keep`` greatest, and those below ``limit``; answers how many are kept."""
    loud = len(row)
    if limit > 0:
        for j in range(len(row)):
            if row[j] < limit:
                row[j] = 0.0
                loud -= 1
    if keep < loud:
        border, ties = greatest(row, keep)
        for j in range(len(row)):
            if row[j] < border:
                row[j] = 0.0
            elif row[j] == border:
                if ties <= 0:
                    row[j] = 0.0
                ties -= 1
    return min(loud, keep)


def gain_row(gain: Row, row: Row, total: float) -> tuple[float, float]:
    """Add to ``gain`` each key's share of a row; answers ``2^z`` and ``R`` of section 5, step 3."""
    scale = 2.0 ** max(math.frexp(total)[1] - 17, 0)
    inverse = np.floor(2.0**33 * scale / total)
    share = np.floor(8.0 * inverse / scale)
    for j in range(len(row)):
        gain[j] += share * row[j]
    return scale, inverse


def divide_row(total: Row, unit: float, inverse: float, value_bits: int, output: NDArray[np.int16]) -> Int:
    """``output [D]`` from the sums ``total [D]`` (section 5, step 4); answers the sum of its magnitudes."""
    half_up, scale = 2.0 ** (16 + value_bits), 2.0 ** -(17 + value_bits)
    half, down, loudness = np.floor(unit / 2), 1.0 / unit, np.int64(0)
    for d in range(len(total)):
        mantissa = np.floor((total[d] + half) * down) * inverse
        exact = min(max(np.floor((mantissa + half_up) * scale), -32768.0), 32767.0)
        output[d] = np.int16(exact)
        loudness += np.int64(abs(exact))
    return loudness


def weights(scores: Block, visible: NDArray[np.int64]) -> Block:
    """Scaled scores ``[h,q,n]`` become weights in place; answers their sums ``[h,q]``."""
    heads, queries, _ = scores.shape
    sums = np.empty((heads, queries))
    for h in range(heads):
        for q in range(queries):
            sums[h, q] = weigh_row(scores[h, q, : visible[q]])
            scores[h, q, visible[q] :] = 0.0
    return sums


def drop_values(block: Block, visible: NDArray[np.int64], keep: int, limit: int) -> NDArray[np.int64]:
    """Local value pruning of ``[h,q,n]``; answers how many are kept of each row."""
    heads, queries, _ = block.shape
    kept = np.empty((heads, queries), np.int64)
    for h in range(heads):
        for q in range(queries):
            kept[h, q] = drop_row(block[h, q, : visible[q]], keep, limit)
    return kept


def add_gain(gain: Row, block: Block, sums: Block) -> tuple[Block, Block]:
    """As :func:`spatten_drivers.model.division.add_gain`."""
    heads, queries, _ = block.shape
    unit, reciprocal = np.empty((heads, queries)), np.empty((heads, queries))
    for h in range(heads):
        for q in range(queries):
            unit[h, q], reciprocal[h, q] = gain_row(gain, block[h, q], sums[h, q])
    return unit, reciprocal


def divide(
    total: Block, unit: Block, reciprocal: Block, value_bits: int, output: NDArray[np.int16]
) -> NDArray[np.int64]:
    """As :func:`spatten_drivers.model.division.divide`."""
    heads, queries, _ = total.shape
    loudness = np.zeros(heads, np.int64)
    for h in range(heads):
        for q in range(queries):
            loudness[h] += divide_row(total[h, q], unit[h, q], reciprocal[h, q], value_bits, output[h, q])
    return loudness


#: To compile, in the order of who is called by whom.
FUNCTIONS = (
    *(prefetch, unpack_eight),
    *(unpack_4, unpack_6, unpack_8, unpack_10, unpack_12, unpack_rows, unpack),
    *(weigh_row, greatest, drop_row, gain_row, divide_row),
    *(weights, drop_values, add_gain, divide),
)
