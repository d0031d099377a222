# SPDX-License-Identifier: BSD-2-Clause
"""Reads a job's Q, K and V rows out of device memory (``docs/contract.md``, sections 2 and 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..job import KeyPolicy, LayerJob, ValuePolicy
from ..planes import LSB_WIDTH, row_bytes
from .kernels import Block, Coding, Kernel

_MIDPOINT = 1 << LSB_WIDTH - 1
_LSB = Coding(LSB_WIDTH, signed=False)


class Operands:
    """Operands of the live heads and live keys of a job, integers held in float64.

    Attributes
    ----------
    q : ``[h, q, D]``, already multiplied by ``score_mult * 2**-score_shift`` of its head, which is exact: a
        scaled score has at most 50 significant bits.
    k : ``[h, n, D]`` as the first pass of a row uses it.
    v : ``[h, n, D]`` as a row without refetch uses it.
    """

    def __init__(self, memory: NDArray[np.uint8], job: LayerJob, beat_bytes: int, kernel: Kernel) -> None:
        self._memory, self._job, self._beat, self._kernel = memory, job, beat_bytes, kernel
        self._slots = job.key_slots
        self._ids = job.heads["head_id"].astype(np.intp)
        shift = job.heads["score_shift"].astype(np.int32)
        self.q = self._queries() * np.ldexp(job.heads["score_mult"].astype(np.float64), -shift)[:, None, None]
        self.k = self._first_pass("k", job["k_policy"] == KeyPolicy.ALWAYS, unread=0)
        self.v = self._first_pass("v", job["v_policy"] == ValuePolicy.ALWAYS, unread=_MIDPOINT)

    def k_lsb(self, head: int) -> Block:
        """LSB plane ``[n, D]`` of the ``head``-th live head of K."""
        return _only(self._plane("k_lsb", _LSB, slice(head, head + 1)))

    def v_correction(self, head: int) -> Block:
        """What a refetched row adds to ``v [n, D]``: the LSB plane instead of its midpoint."""
        return _only(self._plane("v_lsb", Coding(LSB_WIDTH, False, 0, -_MIDPOINT), slice(head, head + 1)))

    def _queries(self) -> Block:
        job = self._job
        row = row_bytes(job["head_dim"], job["q_bits"], self._beat)
        shape = (job["n_heads"], job["n_queries"], row)
        start = job["q_address"]
        rows = self._memory[start : start + shape[0] * shape[1] * row].reshape(shape)
        everything = np.arange(shape[0]), np.arange(shape[1])
        return self._kernel.unpack(rows, *everything, job["head_dim"], Coding(job["q_bits"], signed=True))

    def _first_pass(self, name: str, lsb_read: bool, unread: int) -> Block:
        """K or V as a row first uses it; ``unread`` stands for the bits of an LSB plane that is not read."""
        lsb = self._job[f"{name}_lsb_bits"]
        coding = Coding(self._job[f"{name}_msb_bits"], True, lsb, 0 if lsb_read or not lsb else unread)
        values = self._plane(f"{name}_msb", coding)
        return values + self._plane(f"{name}_lsb", _LSB) if lsb_read else values

    def _plane(self, name: str, coding: Coding, heads: slice = slice(None)) -> Block:
        job, stride = self._job, self._job[f"{name}_stride"]
        row = row_bytes(job["head_dim"], coding.width, self._beat)
        shape = (job["total_heads"], job["n_slots"], row)
        region = np.ndarray(shape, np.uint8, self._memory, job[f"{name}_address"], (stride, row, 1))
        return self._kernel.unpack(region, self._ids[heads], self._slots, job["head_dim"], coding)


def _only(planes: Block) -> Block:
    single: Block = planes[0]
    return single
