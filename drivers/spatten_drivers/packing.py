# SPDX-License-Identifier: BSD-2-Clause
"""Rows of floats to bit planes in the host's memory, in NumPy and in numba: both give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .planes import pack_rows, split_planes
from .quantize import SILENCE, quantize

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


class Packer(NamedTuple):
    """The loops.

    Attributes
    ----------
    fits : ``(values [h,n,D], scale [h], bits)``: all numbers are finite, and need no greater scale.
    store : ``(values [h,n,D], scale [h], heads [h], slots [n], target, saturated)`` quantizes and packs rows
        and puts them there; adds to ``saturated``, by head id, how many elements were clamped.
    """

    fits: Callable[[Floats, NDArray[np.float64], int], bool]
    store: Callable[[Floats, NDArray[np.float64], Ids, Ids, Target, NDArray[np.int64]], None]


def put_rows(integers: NDArray[np.integer], heads: Ids, slots: Ids, target: Target) -> None:
    """Pack ``integers [h,n,D]`` and put them there."""
    msb, lsb, msb_bits, lsb_bits = target
    place = heads[:, None], slots
    if lsb_bits:
        integers, low = split_planes(integers, lsb_bits)
        lsb[place] = pack_rows(low, lsb_bits, lsb.shape[-1])
    msb[place] = pack_rows(integers, msb_bits, msb.shape[-1])


def _numpy_fits(values: Floats, scale: NDArray[np.float64], bits: int) -> bool:
    peaks = np.abs(values.reshape(len(values), -1)).max(axis=1).astype(np.float64)
    return bool((np.maximum(peaks, SILENCE) / ((1 << bits - 1) - 1) <= scale).all())  # NaN is not


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


NUMPY = Packer(_numpy_fits, _numpy_store)


@cache
def _numba_packer() -> Packer:
    import numba

    @numba.njit(cache=True, nogil=True)
    def all_fit(values: Floats, scale: NDArray[np.float64], limit: int) -> bool:
        heads, rows, dim = values.shape
        for h in range(heads):
            peak = SILENCE
            for n in range(rows):
                for d in range(dim):
                    size = abs(values[h, n, d])
                    if not size <= peak:
                        if np.isnan(size):
                            return False
                        peak = size
            if peak / limit > scale[h]:
                return False
        return True

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

    def fits(values: Floats, scale: NDArray[np.float64], bits: int) -> bool:
        return bool(all_fit(_plain(values), scale, (1 << bits - 1) - 1))

    def store(
        values: Floats,
        scale: NDArray[np.float64],
        heads: Ids,
        slots: Ids,
        target: Target,
        saturated: NDArray[np.int64],
    ) -> None:
        rows = _plain(values)
        ids, places = np.ascontiguousarray(heads, np.intp), np.ascontiguousarray(slots, np.intp)
        pack(rows, (1.0 / scale).astype(rows.dtype), ids, places, *target, saturated)

    return Packer(fits, store)


def _plain(values: Floats) -> Floats:
    """Side by side, in the type that they are multiplied in: few types, so that little is compiled."""
    if values.dtype == np.float32 and values.flags.c_contiguous:
        return values
    rows: Floats = np.ascontiguousarray(values, np.promote_types(values.dtype, np.float32))
    return rows


def packer(kernel: str) -> Packer:
    """The loops of a kernel by its name, as a device's ``kernel`` gives it."""
    return _numba_packer() if kernel == "numba" else NUMPY
