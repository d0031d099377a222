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
from .kernels import Block, Kernel
from .operands import Operands

_BLOCK_ELEMENTS = 1 << 15


@dataclass
class Attended:
    """Sums over the rows of a job.

    Attributes
    ----------
    output : ``int16 [h, q, D]``.
    token_gain : ``float64 [n]``, exact, units of 2^-36.
    head_gain : ``int64 [h]``, sums of \\|output\\|.
    refetched : ``bool [h, q]``, the rows that took the LSB plane of K.
    """

    output: NDArray[np.int16]
    token_gain: Block
    head_gain: NDArray[np.int64]
    refetched: NDArray[np.bool_] = field(repr=False)


def attend(job: LayerJob, operands: Operands, visible: NDArray[np.int64], kernel: Kernel) -> Attended:
    """All rows of a job. ``visible [q]`` counts the keys each query sees, a prefix of the key list."""
    heads, queries, dim = operands.q.shape
    done = Attended(
        np.empty((heads, queries, dim), np.int16),
        np.zeros(job["n_keys"]),
        np.zeros(heads, np.int64),
        np.zeros((heads, queries), bool),
    )
    row_block = max(1, min(queries, _BLOCK_ELEMENTS // job["n_keys"]))
    head_block = max(1, _BLOCK_ELEMENTS // (row_block * job["n_keys"]))
    for h in range(0, heads, head_block):
        for q in range(0, queries, row_block):
            _attend_block(
                job, operands, visible, kernel, done, slice(h, h + head_block), slice(q, q + row_block)
            )
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
    query = operands.q[heads, rows]
    scores = np.matmul(query, operands.k[heads, keys].swapaxes(1, 2))
    if job["k_policy"] == KeyPolicy.PROGRESSIVE:
        weights, sums, redone = _progressive(job, operands, scores, query, seen, kernel, heads)
        done.refetched[heads, rows] = redone
    else:
        weights, redone = scores, None
        sums = kernel.weights(weights, seen)
    z, reciprocal = _reciprocal(sums)
    gain = np.floor(8.0 * reciprocal * np.exp2(-z))
    done.token_gain[keys] += np.matmul(gain[:, None, :], weights).sum(axis=(0, 1))
    kernel.drop_values(weights, seen, job["keep_values"])
    total = np.matmul(weights, operands.v[heads, keys])
    if redone is not None and job["v_policy"] == ValuePolicy.ON_REFETCH:
        for h in np.flatnonzero(redone.any(axis=1)):
            part = redone[h]
            total[h, part] += weights[h, part] @ operands.v_correction(heads.start + h)[keys]
    value_bits = job["v_msb_bits"] + job["v_lsb_bits"]
    output = _normalised(total, z[..., None], reciprocal[..., None], value_bits)
    done.output[heads, rows] = output
    done.head_gain[heads] += np.abs(output).sum(axis=(1, 2)).astype(np.int64)


def _progressive(
    job: LayerJob,
    operands: Operands,
    scores: Block,
    query: Block,
    seen: NDArray[np.int64],
    kernel: Kernel,
    heads: slice,
) -> tuple[Block, Block, NDArray[np.bool_]]:
    """MSB pass, then the rows of low confidence once more with the LSB plane added to their kept scores."""
    kept = scores.copy()
    sums = kernel.weights(scores, seen)
    redone = sums > job["refetch_limit"]
    for h in np.flatnonzero(redone.any(axis=1)):
        part = redone[h]
        lsb = operands.k_lsb(heads.start + h)[: scores.shape[-1]]
        again = (kept[h, part] + query[h, part] @ lsb.T)[None]
        sums[h, part] = kernel.weights(again, seen[part])[0]
        scores[h, part] = again[0]
    return scores, sums, redone


def _reciprocal(sums: Block) -> tuple[Block, Block]:
    """``z`` and ``R`` of section 5, step 3."""
    z = np.maximum(np.frexp(sums)[1] - 17, 0).astype(np.float64)
    return z, np.floor(np.exp2(33 + z) / sums)


def _normalised(total: Block, z: Block, reciprocal: Block, value_bits: int) -> Block:
    """The output of section 5, step 4, still in float64."""
    fraction_bits = 16 - value_bits
    half = np.floor(np.exp2(z) / 2)
    mantissa = np.floor((total + half) * np.exp2(-z))
    mantissa *= reciprocal
    mantissa += 2.0 ** (32 - fraction_bits)
    mantissa *= 2.0 ** (fraction_bits - 33)
    return np.clip(np.floor(mantissa), -32768, 32767)
