# SPDX-License-Identifier: BSD-2-Clause
"""The inner loops of the model, in NumPy and in numba: unpacking, softmax weights, local top-k, division.

All numbers are integers held in float64 below 2^53, so both kernels give the same bits, and matrix products
can go through BLAS. Keys are ascending and causality compares slots, so the keys a query sees are a prefix.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..exp2 import WEIGHTS
from ..planes import unpack_rows
from .division import Block, add_gain, divide

#: A scaled score so low that its weight is zero, and still exact in float64 and int64.
HIDDEN = -(2.0**60)


Memory = NDArray[np.uint8]
Slots = NDArray[np.int64]
Rows = NDArray[Any]


class Region(NamedTuple):
    """Rows in device memory: byte addresses of head 0, slot 0, from head to head and from slot to slot."""

    address: int
    stride: int
    row: int


class Coding(NamedTuple):
    """What the bits of a plane stand for: ``(bits << shift) + offset``, bits two's complement or unsigned."""

    width: int
    signed: bool
    shift: int = 0
    offset: int = 0


class Kernel(NamedTuple):
    """The loops.

    Attributes
    ----------
    step_type : type of the elements that a job of one query, a step of decoding, is unpacked to: each is used
        once, so memory counts. Other jobs take float64, for BLAS.
    unpack : ``(memory, region, heads [h], slots [n], dim, coding, dtype)`` gathers rows of a plane, unpacks
        them to ``[h,n,dim]``.
    dot : ``(query [h,q,D], rows [h,n,D])`` is the product of each query and row, ``[h,q,n]``.
    mix : ``(weights [h,q,n], rows [h,n,D])`` is the weighted sum of rows, ``[h,q,D]``.
    weights : ``(scores [h,q,n], visible [q])`` turns scaled scores into weights in place; answers their sums
        ``[h,q]``.
    drop_values : ``(weights [h,q,n], visible [q], keep, limit)`` zeroes all but the ``keep`` greatest of a
        row, and of these those below ``limit``; answers how many are kept, ``[h,q]``.
    add_gain, divide : as in :mod:`~spatten_drivers.model.division`.
    """

    name: str
    step_type: type[np.number]
    unpack: Callable[..., Rows]
    dot: Callable[[Block, Rows], Block]
    mix: Callable[[Block, Rows], Block]
    weights: Callable[[Block, NDArray[np.int64]], Block]
    drop_values: Callable[[Block, NDArray[np.int64], int, int], NDArray[np.int64]]
    add_gain: Callable[[Block, Block, Block], tuple[Block, Block]]
    divide: Callable[[Block, Block, Block, int, NDArray[np.int16]], NDArray[np.int64]]


def _numpy_unpack(
    memory: Memory,
    region: Region,
    heads: NDArray[np.intp],
    slots: Slots,
    dim: int,
    coding: Coding,
    dtype: type[np.number] = np.float64,
) -> Rows:
    address, stride, row = region
    shape = (int(heads[-1]) + 1, int(slots[-1]) + 1, row)
    rows = np.ndarray(shape, np.uint8, memory, address, (stride, row, 1))
    gathered = rows[heads][:, _as_slice(slots)]
    values: Rows = unpack_rows(gathered, coding.width, dim, signed=coding.signed).astype(dtype)
    if coding.shift:
        values *= 1 << coding.shift
    if coding.offset:
        values += coding.offset
    return values


def _as_slice(slots: Slots) -> slice | Slots:
    """A slice where the slots are consecutive, so that nothing needs to be gathered."""
    first, last = int(slots[0]), int(slots[-1])
    return slice(first, last + 1) if last - first + 1 == len(slots) else slots


def _numpy_weights(scores: Block, visible: NDArray[np.int64]) -> Block:
    keys = scores.shape[-1]
    if visible[0] < keys:
        scores[:, np.arange(keys) >= visible[:, None]] = HIDDEN
    # floor(d + 1/2) of a non-negative exact d is truncation, which the integer conversion does.
    np.subtract(scores.max(axis=-1, keepdims=True) + 0.5, scores, out=scores)
    np.take(WEIGHTS, scores.astype(np.intp), out=scores, mode="clip")
    sums: Block = scores.sum(axis=-1)
    return sums


def _numpy_drop_values(
    weights: Block, visible: NDArray[np.int64], keep: int, limit: int
) -> NDArray[np.int64]:
    heads, queries, keys = weights.shape
    kept = np.broadcast_to(np.minimum(visible, keep), (heads, queries))
    if limit:
        weights[weights < limit] = 0.0
        kept = np.minimum(np.count_nonzero(weights, axis=-1), keep)
    if keep >= keys:
        return kept
    # A greater weight first, then the lower index: both in one exact number that partition can rank.
    rank = weights * float(keys)
    rank -= np.arange(keys)
    if visible[0] < keys:
        rank[:, np.arange(keys) >= visible[:, None]] = -np.inf
    border = np.partition(rank, keys - keep, axis=-1)[..., keys - keep, None]
    weights[rank < border] = 0.0
    return kept


def _numpy_dot(query: Block, rows: Rows) -> Block:
    product: Block = np.matmul(query, rows.swapaxes(1, 2))
    return product


def _numpy_mix(weights: Block, rows: Rows) -> Block:
    total: Block = np.matmul(weights, rows)
    return total


NUMPY = Kernel(
    "numpy",
    np.float64,
    _numpy_unpack,
    _numpy_dot,
    _numpy_mix,
    _numpy_weights,
    _numpy_drop_values,
    add_gain,
    divide,
)


def _numba_unpack(
    memory: Memory,
    region: Region,
    heads: NDArray[np.intp],
    slots: Slots,
    dim: int,
    coding: Coding,
    dtype: type[np.number] = np.float64,
) -> Rows:
    out = np.empty((len(heads), len(slots), dim), dtype)
    _unpacker(coding)(memory, *region, heads, slots, out)
    return out


@cache
def _unpacker(coding: Coding) -> Callable[[Memory, int, int, int, NDArray[np.intp], Slots, Rows], None]:
    """``unpack`` of one coding.

    With every shift a constant, and a row cut out of plain memory, whose bytes the compiler then knows to be
    neighbours, it makes vectors of the loop.
    """
    import numba

    width, signed, up, offset = coding
    group = 8 // math.gcd(width, 8)  # so many elements fill whole bytes
    step = group * width // 8
    mask, half = (1 << width) - 1, 1 << (width - 1)
    flip = half if signed else 0  # two's complement: flip the sign bit, then take its weight off
    base = offset - (flip << up)

    def unpack(
        memory: Memory, address: int, stride: int, size: int, heads: NDArray[np.intp], slots: Slots, out: Rows
    ) -> None:
        for h in range(len(heads)):
            for n in range(len(slots)):
                start = address + heads[h] * stride + slots[n] * size
                row, elements = memory[start : start + size], out[h, n]
                for g in range(out.shape[2] // group):
                    for i in range(group):
                        byte, shift = g * step + (i * width >> 3), i * width & 7
                        word = np.int32(row[byte])
                        if shift + width > 8:
                            word |= np.int32(row[byte + 1]) << 8
                        elements[g * group + i] = (((word >> shift & mask) ^ flip) << up) + base

    # numba's cache links by name, and all codings share this one's: apart, they cannot be taken for another.
    unpack.__qualname__ = f"unpack_{width}_{int(signed)}_{up}_{offset}".replace("-", "minus_")
    compiled: Callable[..., None] = numba.njit(cache=True, nogil=True)(unpack)
    return compiled


@cache
def _numba_kernel() -> Kernel:
    import numba

    table = WEIGHTS.astype(np.uint16)
    last = len(table) - 1

    @numba.njit(cache=True, nogil=True)
    def weights(scores: Block, visible: NDArray[np.int64]) -> Block:
        heads, queries, keys = scores.shape
        sums = np.empty((heads, queries))
        for h in range(heads):
            for q in range(queries):
                row, seen = scores[h, q], visible[q]
                peak = row[0]
                for j in range(1, seen):
                    peak = max(peak, row[j])
                peak += 0.5
                total = np.int64(0)
                for j in range(seen):
                    weight = table[np.int64(min(peak - row[j], float(last)))]
                    row[j] = weight
                    total += weight
                row[seen:keys] = 0.0
                sums[h, q] = total
        return sums

    @numba.njit(cache=True, nogil=True)
    def drop_values(block: Block, visible: NDArray[np.int64], keep: int, limit: int) -> NDArray[np.int64]:
        heads, queries, _ = block.shape
        kept = np.empty((heads, queries), np.int64)
        for q in range(queries):
            seen = visible[q]
            for h in range(heads):
                row, loud = block[h, q], seen
                if limit > 0:
                    for j in range(seen):
                        if row[j] < limit:
                            row[j] = 0.0
                            loud -= 1
                kept[h, q] = min(loud, keep)
                if keep >= loud:
                    continue
                border = np.partition(row[:seen], seen - keep)[seen - keep]
                ties = keep
                for j in range(seen):
                    if row[j] > border:
                        ties -= 1
                for j in range(seen):
                    if row[j] < border:
                        row[j] = 0.0
                    elif row[j] == border:
                        if ties <= 0:
                            row[j] = 0.0
                        ties -= 1
        return kept

    @numba.njit(cache=True, nogil=True)
    def add_gain(gain: Block, block: Block, sums: Block) -> tuple[Block, Block]:
        heads, queries, keys = block.shape
        unit, reciprocal = np.empty((heads, queries)), np.empty((heads, queries))
        for h in range(heads):
            for q in range(queries):
                total, row = sums[h, q], block[h, q]
                scale = 2.0 ** max(math.frexp(total)[1] - 17, 0)
                inverse = np.floor(2.0**33 * scale / total)
                share = np.floor(8.0 * inverse / scale)
                for j in range(keys):
                    gain[j] += share * row[j]
                unit[h, q], reciprocal[h, q] = scale, inverse
        return unit, reciprocal

    @numba.njit(cache=True, nogil=True)
    def divide(
        total: Block, unit: Block, reciprocal: Block, value_bits: int, output: NDArray[np.int16]
    ) -> NDArray[np.int64]:
        heads, queries, dim = total.shape
        half_up, scale = 2.0 ** (16 + value_bits), 2.0 ** -(17 + value_bits)
        loudness = np.zeros(heads, np.int64)
        for h in range(heads):
            for q in range(queries):
                half, down, inverse = np.floor(unit[h, q] / 2), 1.0 / unit[h, q], reciprocal[h, q]
                for d in range(dim):
                    mantissa = np.floor((total[h, q, d] + half) * down) * inverse
                    exact = min(max(np.floor((mantissa + half_up) * scale), -32768.0), 32767.0)
                    output[h, q, d] = np.int16(exact)
                    loudness[h] += np.int64(abs(exact))
        return loudness

    exact = numba.njit(cache=True, nogil=True, fastmath={"reassoc"})  # sums are exact in whatever order

    @exact
    def step_dot(query: Block, rows: Rows) -> Block:
        heads, keys, dim = rows.shape
        out = np.empty((heads, 1, keys))
        for h in range(heads):
            for n in range(keys):
                total = 0.0
                for d in range(dim):
                    total += query[h, 0, d] * rows[h, n, d]
                out[h, 0, n] = total
        return out

    @exact
    def step_mix(block: Block, rows: Rows) -> Block:
        heads, keys, dim = rows.shape
        out = np.zeros((heads, 1, dim))
        for h in range(heads):
            total = out[h, 0]
            for n in range(keys):
                weight = block[h, 0, n]
                if weight != 0.0:
                    for d in range(dim):
                        total[d] += weight * rows[h, n, d]
        return out

    def dot(query: Block, rows: Rows) -> Block:
        return step_dot(query, rows) if rows.dtype == np.int16 else _numpy_dot(query, rows)

    def mix(block: Block, rows: Rows) -> Block:
        return step_mix(block, rows) if rows.dtype == np.int16 else _numpy_mix(block, rows)

    return Kernel("numba", np.int16, _numba_unpack, dot, mix, weights, drop_values, add_gain, divide)


KERNELS = ("numpy", "numba")


@cache  # looking for a package takes longer than a small job
def available_kernels() -> tuple[str, ...]:
    """Kernels that can run here; numba is optional."""
    return KERNELS if importlib.util.find_spec("numba") else KERNELS[:1]


def kernel_name(name: str) -> str:
    """The name itself if such a kernel can run here; for ``"auto"`` the fastest that can.

    Raises
    ------
    ConfigError : the name is unknown or its package is not installed.
    """
    chosen = available_kernels()[-1] if name == "auto" else name
    if chosen not in KERNELS:
        raise ConfigError(f"kernel is {name!r}; expected 'auto' or one of {KERNELS}")
    if chosen not in available_kernels():
        raise ConfigError(
            "kernel is 'numba', which is not installed; pip install 'spatten[numba]' or use 'numpy'"
        )
    return chosen


def kernel(name: str) -> Kernel:
    """The kernel of this name; see :func:`kernel_name`."""
    return _numba_kernel() if kernel_name(name) == "numba" else NUMPY
