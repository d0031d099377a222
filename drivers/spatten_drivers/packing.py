# SPDX-License-Identifier: BSD-2-Clause
"""Rows of floats to bit planes in the host's memory, in NumPy and in numba: both give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .planes import pack_rows, split_planes
from .quantize import quantize

Floats = NDArray[np.floating]
Ids = NDArray[np.intp]


class Target(NamedTuple):
    """Planes ``[heads, slots, row]`` of one layer in plain memory, and how wide their elements are.

    ``lsb`` is empty where there is no such plane, and ``lsb_bits`` 0.
    """

    msb: NDArray[np.uint8]
    lsb: NDArray[np.uint8]
    msb_bits: int
    lsb_bits: int


#: Instead of an LSB plane that is not there.
NO_PLANE = np.empty((0, 0, 0), np.uint8)

#: ``(values [h,n,D], scale [h], heads [h], slots [n], target, saturated)`` quantizes and packs rows and puts
#: them there; adds to ``saturated``, by head id, how many elements were clamped.
Store = Callable[[Floats, NDArray[np.float64], Ids, Ids, Target, NDArray[np.int64]], None]


def put_rows(integers: NDArray[np.integer], heads: Ids, slots: Ids, target: Target) -> None:
    """Pack ``integers [h,n,D]`` and put them there."""
    msb, lsb, msb_bits, lsb_bits = target
    place = heads[:, None], slots
    if lsb_bits:
        integers, low = split_planes(integers, lsb_bits)
        lsb[place] = pack_rows(low, lsb_bits, lsb.shape[-1])
    msb[place] = pack_rows(integers, msb_bits, msb.shape[-1])


def _numpy_store(
    values: Floats,
    scale: NDArray[np.float64],
    heads: Ids,
    slots: Ids,
    target: Target,
    saturated: NDArray[np.int64],
) -> None:
    integers, clamped = quantize(values, scale, target.msb_bits + target.lsb_bits)
    saturated[heads] += clamped
    put_rows(integers, heads, slots, target)


@cache
def _numba_store() -> Store:
    import numba

    @numba.njit(cache=True, nogil=True)
    def pack(
        values: Floats,
        inverse: Floats,
        heads: Ids,
        slots: Ids,
        msb: NDArray[np.uint8],
        lsb: NDArray[np.uint8],
        msb_bits: int,
        lsb_bits: int,
        saturated: NDArray[np.int64],
    ) -> None:
        dim = values.shape[2]
        limit = (1 << msb_bits + lsb_bits - 1) - 1
        planes = ((msb, msb_bits, lsb_bits), (lsb, lsb_bits, 0))
        steps = np.empty(dim, np.int32)
        for h in range(len(heads)):
            clamped = 0
            for n in range(len(slots)):
                for d in range(dim):
                    step = np.rint(values[h, n, d] * inverse[h])
                    clamped += abs(step) > limit
                    steps[d] = np.int32(min(max(step, -limit), limit))
                for plane, width, shift in planes:
                    if width == 0:
                        continue
                    row, mask, size = plane[heads[h], slots[n]], (1 << width) - 1, width // 2
                    for g in range(dim // 4):  # four elements fill whole bytes
                        word = 0
                        for i in range(4):
                            word |= (steps[4 * g + i] >> shift & mask) << i * width
                        for b in range(size):
                            row[g * size + b] = word >> 8 * b & 0xFF
                    for b in range(dim // 4 * size, len(row)):
                        row[b] = 0
            saturated[heads[h]] += clamped

    def store(
        values: Floats,
        scale: NDArray[np.float64],
        heads: Ids,
        slots: Ids,
        target: Target,
        saturated: NDArray[np.int64],
    ) -> None:
        # Side by side, in the type that they are multiplied in: few types, so that little is compiled.
        rows = np.ascontiguousarray(values, np.promote_types(values.dtype, np.float32))
        ids, places = np.ascontiguousarray(heads, np.intp), np.ascontiguousarray(slots, np.intp)
        pack(rows, (1.0 / scale).astype(rows.dtype), ids, places, *target, saturated)

    return store


def store_of(kernel: str) -> Store:
    """That of a kernel by its name, as a device's ``kernel`` gives it."""
    return _numba_store() if kernel == "numba" else _numpy_store
