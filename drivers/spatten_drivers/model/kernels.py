# SPDX-License-Identifier: BSD-2-Clause
"""The inner loops of the model, in NumPy and in numba: unpacking, softmax weights, local top-k, division.

All numbers are integers held in float64 below 2^53, so both kernels give the same bits, and matrix products
can go through BLAS. Keys are ascending and causality compares slots, so the keys a query sees are a prefix.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..exp2 import WEIGHTS
from ..planes import unpack_rows
from . import loops, step
from .compiled import compiled
from .division import Block, add_gain, divide
from .loops import Memory, Slots

#: A scaled score so low that its weight is zero, and still exact in float64 and int64.
HIDDEN = -(2.0**60)

Rows = NDArray[np.float64]


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
    unpack : ``(memory, region, heads [h], slots [n], dim, coding)`` gathers rows of a plane, unpacks them to
        ``[h,n,dim]``.
    weights : ``(scores [h,q,n], visible [q])`` turns scaled scores into weights in place; answers their sums
        ``[h,q]``.
    drop_values : ``(weights [h,q,n], visible [q], keep, limit)`` zeroes all but the ``keep`` greatest of a
        row, and of these those below ``limit``; answers how many are kept, ``[h,q]``.
    add_gain, divide : as in :mod:`~spatten_drivers.model.division`.
    step : a job of one query as a whole, as :func:`~spatten_drivers.model.step.run_step`; ``None`` where such
        a job is run like others.
    """

    name: str
    unpack: Callable[..., Rows]
    weights: Callable[[Block, NDArray[np.int64]], Block]
    drop_values: Callable[[Block, NDArray[np.int64], int, int], NDArray[np.int64]]
    add_gain: Callable[[Block, Block, Block], tuple[Block, Block]]
    divide: Callable[[Block, Block, Block, int, NDArray[np.int16]], NDArray[np.int64]]
    step: Callable[..., tuple[int, bool]] | None


def _numpy_unpack(
    memory: Memory,
    region: Region,
    heads: NDArray[np.intp],
    slots: Slots,
    dim: int,
    coding: Coding,
) -> Rows:
    address, stride, row = region
    shape = (int(heads[-1]) + 1, int(slots[-1]) + 1, row)
    rows = np.ndarray(shape, np.uint8, memory, address, (stride, row, 1))
    gathered = rows[heads][:, _as_slice(slots)]
    values: Rows = unpack_rows(gathered, coding.width, dim, signed=coding.signed).astype(np.float64)
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


NUMPY = Kernel("numpy", _numpy_unpack, _numpy_weights, _numpy_drop_values, add_gain, divide, None)


@cache
def _numba_kernel() -> Kernel:
    made = compiled((*loops.FUNCTIONS, *step.FUNCTIONS), step.EXACT)

    def unpack(
        memory: Memory, region: Region, heads: NDArray[np.intp], slots: Slots, dim: int, coding: Coding
    ) -> Rows:
        out = np.empty((len(heads), len(slots), dim))
        made.unpack(memory, region, coding, heads, slots, out)
        return out

    return Kernel("numba", unpack, made.weights, made.drop_values, made.add_gain, made.divide, made.run_step)


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
