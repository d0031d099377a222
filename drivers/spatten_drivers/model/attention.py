# SPDX-License-Identifier: BSD-2-Clause
"""Attention of all live heads of a job on integers (``docs/contract.md``, sections 4 to 6).

Heads and queries are worked in blocks that stay in the processor's cache. Every sum is exact in float64: the
widest, ``t_j`` and ``acc * R``, stay below 2^51.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..job import KeyPolicy, LayerJob, ValuePolicy
from .division import Block
from .kernels import Kernel, Rows
from .operands import Operands

#: Where some rows stand in arrays that begin ``[h, q]``.
Place = tuple[NDArray[np.intp] | slice, NDArray[np.intp] | slice]

_BLOCK_ELEMENTS = 1 << 16


@dataclass
class Attended:
    """Sums over the rows of a job.

    Attributes
    ----------
    output : ``int16 [h, q, D]``.
    token_gain : ``float64 [n]``, exact, units of 2^-36.
    head_gain : ``int64 [h]``, sums of \\|output\\|.
    redone_keys : ``int64 [h, q]``, keys of a row that refetched: took the LSB plane in a second pass.
    values : ``int64 [h, q]``, values that count in the output.
    """

    output: NDArray[np.int16]
    token_gain: Block
    head_gain: NDArray[np.int64]
    redone_keys: NDArray[np.int64] = field(repr=False)
    values: NDArray[np.int64] = field(repr=False)

    @property
    def refetched(self) -> NDArray[np.bool_]:
        """``[h, q]``, the rows that refetched."""
        return self.redone_keys > 0


def attend(job: LayerJob, operands: Operands, visible: NDArray[np.int64], kernel: Kernel) -> Attended:
    """All rows of a job. ``visible [q]`` counts the keys each query sees, a prefix of the key list."""
    heads, queries, dim = operands.q.shape
    done = Attended(
        np.empty((heads, queries, dim), np.int16),
        np.zeros(job["n_keys"]),
        np.zeros(heads, np.int64),
        np.zeros((heads, queries), np.int64),
        np.zeros((heads, queries), np.int64),
    )
    row_block = max(1, min(queries, _BLOCK_ELEMENTS // job["n_keys"]))
    head_block = max(1, _BLOCK_ELEMENTS // (row_block * job["n_keys"]))
    for h in range(0, heads, head_block):
        for q in range(0, queries, row_block):
            block = slice(h, min(h + head_block, heads)), slice(q, q + row_block)
            _attend_block(job, operands, visible, kernel, done, *block)
    return done


def _attend_block(
    job: LayerJob,
    operands: Operands,
    visible: NDArray[np.int64],
    kernel: Kernel,
    done: Attended,
    heads: slice,
    rows: slice,
) -> None:
    seen = visible[rows]
    keys = slice(0, int(seen[-1]))
    live = np.arange(heads.start, heads.stop)
    query = operands.q[heads, rows]
    scores = _dot(query, operands.k(live)[:, keys])
    policy = job["k_policy"]
    redone: list[tuple[NDArray[np.intp], Place]] = []
    if policy == KeyPolicy.PROGRESSIVE:
        sums, unsure = _progressive(job, operands, scores, query, seen, kernel, live)
        done.redone_keys[heads, rows] = unsure * seen
        redone = _rows_of(unsure) if job["v_policy"] == ValuePolicy.ON_REFETCH else []
    elif policy == KeyPolicy.BY_KEY:
        sums, done.redone_keys[heads, rows] = _by_key(job, operands, scores, query, seen, kernel, live)
    else:
        sums = kernel.weights(scores, seen)
    weights = scores
    unit, reciprocal = kernel.add_gain(done.token_gain[keys], weights, sums)
    done.values[heads, rows] = kernel.drop_values(weights, seen, job["keep_values"], job["value_limit"])
    total = _mix(weights, operands.v(live)[:, keys])
    for some, place in redone:
        total[place] += _mix(weights[place], operands.v_correction(live[some])[:, keys])
    value_bits = job["v_msb_bits"] + job["v_lsb_bits"]
    done.head_gain[heads] += kernel.divide(total, unit, reciprocal, value_bits, done.output[heads, rows])


def _progressive(
    job: LayerJob,
    operands: Operands,
    scores: Block,
    query: Block,
    seen: NDArray[np.int64],
    kernel: Kernel,
    live: NDArray[np.intp],
) -> tuple[Block, NDArray[np.bool_]]:
    """MSB pass, then the rows of low confidence once more with the LSB plane added to their kept scores.

    ``scores`` become weights; answers their sums and which rows were redone.
    """
    kept = scores.copy()
    sums = kernel.weights(scores, seen)
    unsure = sums > job["refetch_limit"]
    for some, place in _rows_of(unsure):
        lsb = operands.k_lsb(live[some])[:, : scores.shape[-1]]
        again = kept[place] + _dot(query[place], lsb)
        sums[place] = kernel.weights(again, seen[place[1]])
        scores[place] = again
    return sums, unsure


def _by_key(
    job: LayerJob,
    operands: Operands,
    scores: Block,
    query: Block,
    seen: NDArray[np.int64],
    kernel: Kernel,
    live: NDArray[np.intp],
) -> tuple[Block, NDArray[np.int64]]:
    """MSB pass, then the keys of a greater share of the sum once more with the LSB plane, centred.

    ``scores [h, 1, n]`` become weights; answers their sums and how many keys of each row were redone.
    """
    kept = scores.copy()
    sums = kernel.weights(scores, seen)
    picked = scores > np.ldexp(sums, -job["refetch_shift"])[..., None]
    keys = np.flatnonzero(picked.any(axis=(0, 1)))
    if len(keys):
        correction = _dot(query, operands.k_correction(live, keys))
        kept[..., keys] += np.where(picked[..., keys], correction, 0.0)
        peak = kept.max(axis=-1, keepdims=True, where=picked, initial=-np.inf)
        peak[np.isneginf(peak)] = np.inf  # no key of this row: once more as it was
        # What stands above the best of the redone keys counts as much as it.
        np.minimum(kept, peak, out=scores)
        sums = kernel.weights(scores, seen)
    return sums, np.count_nonzero(picked, axis=-1)


def _dot(query: Block, rows: Rows) -> Block:
    """The product of each query ``[h,q,D]`` and row ``[h,n,D]``, ``[h,q,n]``."""
    product: Block = np.matmul(query, rows.swapaxes(1, 2))
    return product


def _mix(weights: Block, rows: Rows) -> Block:
    """The weighted sum of rows ``[h,n,D]``, ``[h,q,D]``."""
    total: Block = np.matmul(weights, rows)
    return total


def _rows_of(marked: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], Place]]:
    """Heads with marked rows of ``[h, q]``, where these stand: all heads of one query, else one by one."""
    heads = np.flatnonzero(marked.any(axis=1))
    if marked.shape[1] == 1:
        return [(heads, (heads, slice(None)))] if len(heads) else []
    return [(heads[i : i + 1], (slice(h, h + 1), np.flatnonzero(marked[h]))) for i, h in enumerate(heads)]
