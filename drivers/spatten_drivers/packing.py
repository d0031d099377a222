# SPDX-License-Identifier: BSD-2-Clause
"""Rows of floats to bit planes in the host's memory, in NumPy and in numba: both give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .model.compiled import compiled
from .planes import pack_rows, split_planes
from .quantize import SILENCE, quantize

Floats = NDArray[np.floating]
Ids = NDArray[np.intp]
Packed = NDArray[np.uint8]


class Target(NamedTuple):
    """Where rows of K or of V of one layer go, in plain memory.

    Attributes
    ----------
    msb, lsb : planes ``[heads, slots, row]``; ``lsb`` is empty where there is no such plane.
    msb_bits, lsb_bits : how wide their elements are; ``lsb_bits`` is 0 where there is no such plane.
    scale : ``[heads]``, 0 where nothing was stored.
    saturated : ``[heads]``, elements clamped so far.
    """

    msb: NDArray[np.uint8]
    lsb: NDArray[np.uint8]
    msb_bits: int
    lsb_bits: int
    scale: NDArray[np.float64]
    saturated: NDArray[np.int64]

    @property
    def bits(self) -> int:
        return self.msb_bits + self.lsb_bits


#: Instead of an LSB plane that is not there.
NO_PLANE = np.empty((0, 0, 0), np.uint8)


#: ``append(K [h,n,D], V [h,n,D], heads [h], slots [n], target of K, target of V, clamp)`` quantizes and packs
#: rows, which are as :func:`plain` gives them, and puts them there. Unless elements are to be clamped,
#: nothing is stored if a number is not finite or a head needs a greater scale than it has; answers whether
#: the rows were stored.
Append = Callable[[Floats, Floats, Ids, Ids, Target, Target, bool], bool]


def put_rows(integers: NDArray[np.integer], heads: Ids, slots: Ids, target: Target) -> None:
    """Pack ``integers [h,n,D]`` and put them there."""
    msb, lsb, msb_bits, lsb_bits, *_ = target
    place = heads[:, None], slots
    if lsb_bits:
        integers, low = split_planes(integers, lsb_bits)
        lsb[place] = pack_rows(low, lsb_bits, lsb.shape[-1])
    msb[place] = pack_rows(integers, msb_bits, msb.shape[-1])


def _numpy_append(
    k: Floats, v: Floats, heads: Ids, slots: Ids, k_target: Target, v_target: Target, clamp: bool
) -> bool:
    parts = ((k, k_target), (v, v_target))
    if not clamp and not all(_numpy_fits(values, there, heads) for values, there in parts):
        return False
    for values, there in parts:
        integers, clamped = quantize(values, there.scale[heads], there.bits)
        there.saturated[heads] += clamped
        put_rows(integers, heads, slots, there)
    return True


def _numpy_fits(values: Floats, there: Target, heads: Ids) -> bool:
    peaks = np.abs(values.reshape(len(values), -1)).max(axis=1).astype(np.float64)
    needed = np.maximum(peaks, SILENCE) / ((1 << there.bits - 1) - 1)
    return bool((needed <= there.scale[heads]).all())  # NaN is not


def all_fit(values: Floats, heads: Ids, bits: int, scale: NDArray[np.float64]) -> bool:
    """Whether all numbers are finite and need no greater scales than there are."""
    limit = (1 << bits - 1) - 1
    for h in range(len(heads)):
        peak = peak_of(values[h])
        if not peak / limit <= scale[heads[h]]:
            return False
    return True


def peak_of(rows: Floats) -> float:
    """The greatest magnitude of ``rows [n,D]``, at least ``SILENCE``, or NaN."""
    peak = SILENCE
    for n in range(rows.shape[0]):
        for d in range(rows.shape[1]):
            size = abs(rows[n, d])
            if not size <= peak:
                if np.isnan(size):
                    return np.nan
                peak = np.float64(size)
    return peak


def round_row(row: Floats, inverse: Any, limit: int, steps: NDArray[np.int32]) -> int:
    """Quantize a row; answers how many of its elements were clamped."""
    clamped = 0
    for d in range(len(row)):
        step = np.rint(row[d] * inverse)
        clamped += abs(step) > limit
        steps[d] = np.int32(min(max(step, -limit), limit))
    return clamped


def put_row(steps: NDArray[np.int32], width: int, shift: int, row: Packed) -> None:
    """``width`` bits of each element from bit ``shift`` on, then zeros: four elements fill whole bytes."""
    mask, size, groups = (1 << width) - 1, width // 2, len(steps) // 4
    for g in range(groups):
        word = 0
        for i in range(4):
            word |= (steps[4 * g + i] >> shift & mask) << i * width
        for b in range(size):
            row[g * size + b] = word >> 8 * b & 0xFF
    row[groups * size :] = 0


def pack(
    values: Floats,
    heads: Ids,
    slots: Ids,
    msb: Packed,
    lsb: Packed,
    msb_bits: int,
    lsb_bits: int,
    scale: NDArray[np.float64],
    saturated: NDArray[np.int64],
) -> None:
    """Rows of K or of V to their places."""
    limit = (1 << msb_bits + lsb_bits - 1) - 1
    steps = np.empty(values.shape[2], np.int32)
    for h in range(len(heads)):
        head = heads[h]
        inverse = values.dtype.type(1.0 / scale[head])
        for n in range(len(slots)):
            saturated[head] += round_row(values[h, n], inverse, limit, steps)
            put_row(steps, msb_bits, lsb_bits, msb[head, slots[n]])
            if lsb_bits:
                put_row(steps, lsb_bits, 0, lsb[head, slots[n]])


def append_both(
    k: Floats,
    v: Floats,
    heads: Ids,
    slots: Ids,
    clamp: bool,
    k_msb: Packed,
    k_lsb: Packed,
    k_msb_bits: int,
    k_lsb_bits: int,
    k_scale: NDArray[np.float64],
    k_saturated: NDArray[np.int64],
    v_msb: Packed,
    v_lsb: Packed,
    v_msb_bits: int,
    v_lsb_bits: int,
    v_scale: NDArray[np.float64],
    v_saturated: NDArray[np.int64],
) -> bool:
    """As ``append``, its targets field by field: numba looks longer at a tuple than at all of them."""
    if not clamp:
        if not all_fit(k, heads, k_msb_bits + k_lsb_bits, k_scale):
            return False
        if not all_fit(v, heads, v_msb_bits + v_lsb_bits, v_scale):
            return False
    pack(k, heads, slots, k_msb, k_lsb, k_msb_bits, k_lsb_bits, k_scale, k_saturated)
    pack(v, heads, slots, v_msb, v_lsb, v_msb_bits, v_lsb_bits, v_scale, v_saturated)
    return True


@cache
def _numba_append() -> Append:
    made = compiled((peak_of, all_fit, round_row, put_row, pack, append_both))

    def append(
        k: Floats, v: Floats, heads: Ids, slots: Ids, k_target: Target, v_target: Target, clamp: bool
    ) -> bool:
        places = indices(heads), indices(slots)
        stored = made.append_both(k, v, *places, clamp, *k_target, *v_target)
        return bool(stored)

    return append


def plain(values: Floats) -> Floats:
    """Side by side, in the type that they are multiplied in: few types, so that little is compiled."""
    if values.dtype == np.float32 and values.flags.c_contiguous:
        return values
    rows: Floats = np.ascontiguousarray(values, np.promote_types(values.dtype, np.float32))
    return rows


def indices(given: Ids) -> Ids:
    """The same, in one type and side by side, for the same reason."""
    return np.ascontiguousarray(given, np.intp)


def appender(kernel: str) -> Append:
    """The loops of a kernel by its name, as a device's ``kernel`` gives it."""
    return _numba_append() if kernel == "numba" else _numpy_append
