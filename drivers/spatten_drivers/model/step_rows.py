# SPDX-License-Identifier: BSD-2-Clause
"""The rows of a job of one query, as numba compiles them (``docs/contract.md``, sections 4 to 6)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..job import KeyPolicy, ValuePolicy
from ..planes import padded, row_bytes
from .loops import (
    MIDPOINT,
    Elements,
    Int,
    Memory,
    Row,
    Slots,
    divide_row,
    drop_row,
    gain_row,
    unpack_rows,
    weigh_row,
)


class Plane(NamedTuple):
    """Where a plane lies: byte address, bytes from head to head, bytes of a row, bits of an element."""

    address: Int
    stride: Int
    row: Int
    width: Int


class Tensor(NamedTuple):
    """K or V: its planes; that of the LSBs has no bits where there is none."""

    msb: Plane
    lsb: Plane


def attend(
    memory: Memory,
    h: Any,
    beat: int,
    heads: Memory,
    slots: Slots,
    gain: Row,
    output: NDArray[np.int16],
    loudness: NDArray[np.int64],
) -> tuple[Int, Int, Int, Int]:
    """All heads (sections 4 to 6).

    Answers how many rows refetched, how many values they read, how many keys were read twice, and how many
    values were read at all.
    """
    k = Tensor(
        plane(h, h.k_msb_address, h.k_msb_stride, h.k_msb_bits, beat),
        plane(h, h.k_lsb_address, h.k_lsb_stride, h.k_lsb_bits, beat),
    )
    v = Tensor(
        plane(h, h.v_msb_address, h.v_msb_stride, h.v_msb_bits, beat),
        plane(h, h.v_lsb_address, h.v_lsb_stride, h.v_lsb_bits, beat),
    )
    midpoint = MIDPOINT if h.v_lsb_bits else 0
    first = np.zeros(1, np.int64)  # the only query is the first of its head
    rows, low = np.empty((len(slots), h.head_dim), np.int16), np.empty((len(slots), h.head_dim), np.int16)
    query, total, scores = np.empty(h.head_dim), np.empty(h.head_dim), np.empty(len(slots))
    refetched = lsb_values = lsb_keys = values = np.int64(0)
    size = row_bytes(h.head_dim, h.q_bits, beat)
    for i in range(h.n_heads):
        head = np.int64(heads[i, 0])
        unpack_rows(memory, h.q_address + i * size, size, first, (h.q_bits, 1, 0, 0), rows)
        factor = (np.int64(heads[i, 2]) | np.int64(heads[i, 3]) << 8) * 2.0 ** -np.int64(heads[i, 1])
        for d in range(h.head_dim):
            query[d] = rows[0, d] * factor
        read_rows(memory, k, head, slots, h.k_policy == KeyPolicy.ALWAYS, 0, rows, low)
        for n in range(len(slots)):
            scores[n] = dot(query, rows[n])
        weight_sum, again = weigh(memory, h, k.lsb, head, slots, query, scores, low)
        unit, inverse = gain_row(gain[: len(slots)], scores, weight_sum)
        kept = drop_row(scores, h.keep_values, h.value_limit)
        chosen = np.flatnonzero(scores)
        whole = h.v_policy == ValuePolicy.ALWAYS or (h.v_policy == ValuePolicy.ON_REFETCH and again > 0)
        read_rows(memory, v, head, slots[chosen], whole, midpoint, rows, low)
        total[:] = 0.0
        for n in range(len(chosen)):
            add_row(total, scores[chosen[n]], rows[n])
        loudness[i] = divide_row(total, unit, inverse, h.v_msb_bits + h.v_lsb_bits, output[i])
        values += kept
        lsb_keys += again
        if again:
            refetched += 1
            lsb_values += kept
    return refetched, lsb_values, lsb_keys, values


def plane(h: Any, address: Int, stride: Int, width: Int, beat: int) -> Plane:
    """One of a job's planes."""
    return Plane(address, stride, row_bytes(h.head_dim, width, beat), width)


def read_rows(
    memory: Memory,
    tensor: Tensor,
    head: Int,
    slots: Slots,
    whole: bool,
    unread: Int,
    rows: Elements,
    low: Elements,
) -> None:
    """Rows of K or V with their LSBs, or with ``unread`` in their place."""
    msb = tensor.msb
    coding = (msb.width, 1, tensor.lsb.width, np.int64(0) if whole else unread)
    unpack_rows(memory, msb.address + head * msb.stride, msb.row, slots, coding, rows)
    if whole:
        read_lsbs(memory, tensor.lsb, head, slots, 0, low)
        for n in range(len(slots)):
            for d in range(rows.shape[1]):
                rows[n, d] += low[n, d]


def read_lsbs(memory: Memory, lsb: Plane, head: Int, slots: Slots, offset: Int, low: Elements) -> None:
    """LSB planes of rows, ``offset`` added to each element."""
    unpack_rows(memory, lsb.address + head * lsb.stride, lsb.row, slots, (lsb.width, 0, 0, offset), low)


def dot(query: Row, row: Elements) -> float:
    """The product of a query and a row of K."""
    total = 0.0
    for d in range(len(query)):
        total += query[d] * row[d]
    return total


def add_row(total: Row, weight: float, row: Elements) -> None:
    """Add a row of V by its weight."""
    for d in range(len(total)):
        total[d] += weight * row[d]


def weigh(
    memory: Memory,
    h: Any,
    lsb: Plane,
    head: Int,
    slots: Slots,
    query: Row,
    scores: Row,
    low: Elements,
) -> tuple[int, int]:
    """Scores of the first pass become weights, after a second pass where the job's policy asks for one.

    Answers their sum, and how many keys took the LSB plane in a second pass (section 4).
    """
    if h.k_policy < KeyPolicy.PROGRESSIVE:
        return weigh_row(scores), 0
    kept = scores.copy()
    total = weigh_row(scores)
    if h.k_policy == KeyPolicy.PROGRESSIVE:
        if total <= h.refetch_limit:
            return total, 0
        read_lsbs(memory, lsb, head, slots, 0, low)
        for n in range(len(slots)):
            scores[n] = kept[n] + dot(query, low[n])
        return weigh_row(scores), len(slots)
    picked = np.flatnonzero(scores > total * 2.0**-h.refetch_shift)
    if len(picked):
        read_lsbs(memory, lsb, head, slots[picked], -MIDPOINT, low)
        peak = -np.inf
        for n in range(len(picked)):
            kept[picked[n]] += dot(query, low[n])
            peak = max(peak, kept[picked[n]])
        for n in range(len(slots)):  # what stands above the best of the redone keys counts as much as it
            scores[n] = min(kept[n], peak)
        total = weigh_row(scores)
    return total, len(picked)


#: To compile behind those of :mod:`~spatten_drivers.model.loops`, in the order of who is called by whom.
FUNCTIONS = (padded, row_bytes, plane, dot, add_row, read_lsbs, read_rows, weigh, attend)
#: Those whose sums are exact in whatever order.
EXACT = (dot, add_row)
