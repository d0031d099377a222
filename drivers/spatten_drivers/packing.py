# SPDX-License-Identifier: BSD-2-Clause
"""Rows of floats to bit planes in the host's memory, in NumPy and in numba: both give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .exp2 import FRACTION_BITS
from .model.compiled import compiled
from .planes import pack_rows, split_planes
from .quantize import LOG2_E, SILENCE, nearest, quantize, score_scale, symmetric_scale

Floats = NDArray[np.floating]
Ids = NDArray[np.intp]
Packed = NDArray[np.uint8]


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
    describe : ``(queries [h,n,D], bits, scale of K [h], scaling, entries [h], rows [h,n,bytes])`` quantizes
        queries by scales of their own and packs them, and fills ``score_mult`` and ``score_shift`` of the
        head table; raises what ``symmetric_scale`` and ``score_scale`` raise.
    """

    fits: Callable[[Floats, NDArray[np.float64], int], bool]
    store: Callable[[Floats, NDArray[np.float64], Ids, Ids, Target, NDArray[np.int64]], None]
    describe: Callable[[Floats, int, NDArray[np.float64], float, np.ndarray, Packed], None]


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


def _numpy_describe(
    values: Floats, bits: int, k_scale: NDArray[np.float64], scaling: float, entries: np.ndarray, rows: Packed
) -> None:
    scale = symmetric_scale(values, bits)
    scores = score_scale(scale.tolist(), k_scale.tolist(), scaling)
    entries["score_mult"], entries["score_shift"] = zip(*scores, strict=True)
    rows[...] = pack_rows(quantize(values, scale, bits)[0], bits, rows.shape[-1])


NUMPY = Packer(_numpy_fits, _numpy_store, _numpy_describe)


def all_fit(values: Floats, scale: NDArray[np.float64], limit: int) -> bool:
    """As ``fits``; ``limit`` is the greatest integer."""
    for h in range(len(values)):
        peak = peak_of(values[h])
        if not peak / limit <= scale[h]:
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
    inverse: Floats,
    heads: Ids,
    slots: Ids,
    msb: Packed,
    lsb: Packed,
    msb_bits: int,
    lsb_bits: int,
    saturated: NDArray[np.int64],
) -> None:
    """As ``store``."""
    limit = (1 << msb_bits + lsb_bits - 1) - 1
    steps = np.empty(values.shape[2], np.int32)
    for h in range(len(heads)):
        for n in range(len(slots)):
            saturated[heads[h]] += round_row(values[h, n], inverse[h], limit, steps)
            put_row(steps, msb_bits, lsb_bits, msb[heads[h], slots[n]])
            if lsb_bits:
                put_row(steps, lsb_bits, 0, lsb[heads[h], slots[n]])


def describe_all(
    values: Floats, bits: int, k_scale: NDArray[np.float64], scaling: float, entries: Packed, rows: Packed
) -> bool:
    """As ``describe``, entries as their bytes ``[h,8]``; stops where a number is out of range."""
    limit = (1 << bits - 1) - 1
    steps = np.empty(values.shape[2], np.int32)
    for h in range(len(values)):
        scale = peak_of(values[h]) / limit
        wanted = scale * k_scale[h] * scaling * LOG2_E * (1 << FRACTION_BITS)
        if not 0.0 < wanted < np.inf:
            return False
        mult, shift = nearest(wanted, 48)
        if shift < 1:
            return False
        entries[h, 1], entries[h, 2], entries[h, 3] = shift, mult & 0xFF, mult >> 8
        inverse = np.float32(1.0 / scale)
        for n in range(values.shape[1]):
            round_row(values[h, n], inverse, limit, steps)
            put_row(steps, bits, 0, rows[h, n])
    return True


@cache
def _numba_packer() -> Packer:
    made = compiled((nearest, peak_of, all_fit, round_row, put_row, pack, describe_all))

    def fits(values: Floats, scale: NDArray[np.float64], bits: int) -> bool:
        return bool(made.all_fit(_plain(values), scale, (1 << bits - 1) - 1))

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
        made.pack(rows, (1.0 / scale).astype(rows.dtype), ids, places, *target, saturated)

    def describe(
        values: Floats,
        bits: int,
        k_scale: NDArray[np.float64],
        scaling: float,
        entries: np.ndarray,
        rows: Packed,
    ) -> None:
        plain, raw = _plain(values), entries.view(np.uint8).reshape(len(entries), -1)
        usual = plain.dtype == np.float32
        if not (usual and made.describe_all(plain, bits, k_scale, float(scaling), raw, rows)):
            _numpy_describe(values, bits, k_scale, scaling, entries, rows)  # it says what is out of range

    return Packer(fits, store, describe)


def _plain(values: Floats) -> Floats:
    """Side by side, in the type that they are multiplied in: few types, so that little is compiled."""
    if values.dtype == np.float32 and values.flags.c_contiguous:
        return values
    rows: Floats = np.ascontiguousarray(values, np.promote_types(values.dtype, np.float32))
    return rows


def packer(kernel: str) -> Packer:
    """The loops of a kernel by its name, as a device's ``kernel`` gives it."""
    return _numba_packer() if kernel == "numba" else NUMPY
