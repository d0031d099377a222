# SPDX-License-Identifier: BSD-2-Clause
"""Reads a job's Q, K and V rows out of device memory (``docs/contract.md``, sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..job import KeyPolicy, LayerJob, ValuePolicy
from ..planes import LSB_WIDTH, row_bytes
from .division import Block
from .kernels import Coding, Kernel, Region, Rows
from .loops import MIDPOINT

_LSB = Coding(LSB_WIDTH, signed=False)
_LSB_CORRECTION = Coding(LSB_WIDTH, signed=False, offset=-MIDPOINT)


class Operands:
    """Operands of the live heads and live keys of a job, as integers in float64, for BLAS.

    A plane is unpacked for the heads in work alone, and kept only while there are more queries of them:
    one memory is used over and over. ``heads`` are indices of live heads.

    Attributes
    ----------
    q : ``[h, q, D]``, already multiplied by ``score_mult * 2**-score_shift`` of its head, which is exact: a
        scaled score has at most 50 significant bits.
    """

    def __init__(self, memory: NDArray[np.uint8], job: LayerJob, beat_bytes: int, kernel: Kernel) -> None:
        self._memory, self._job, self._beat, self._kernel = memory, job, beat_bytes, kernel
        self._kept: dict[str, tuple[NDArray[np.intp], Rows]] = {}
        self._slots = job.key_slots
        self._ids = job.heads["head_id"].astype(np.intp)
        shift = job.heads["score_shift"].astype(np.int32)
        self.q = self._queries() * np.ldexp(job.heads["score_mult"].astype(np.float64), -shift)[:, None, None]

    def k(self, heads: NDArray[np.intp]) -> Rows:
        """``[h, n, D]`` as the first pass of a row uses it."""
        always = self._job["k_policy"] == KeyPolicy.ALWAYS
        return self._shared("k", heads, lambda: self._first_pass("k", heads, always, unread=0))

    def v(self, heads: NDArray[np.intp]) -> Rows:
        """``[h, n, D]`` as a row without refetch uses it."""
        always = self._job["v_policy"] == ValuePolicy.ALWAYS
        return self._shared("v", heads, lambda: self._first_pass("v", heads, always, unread=MIDPOINT))

    def k_lsb(self, heads: NDArray[np.intp]) -> Rows:
        """LSB plane ``[h, n, D]`` of K."""
        return self._shared("k_lsb", heads, lambda: self._plane("k_lsb", _LSB, heads))

    def k_correction(self, heads: NDArray[np.intp], keys: NDArray[np.intp]) -> Rows:
        """What some keys add to their scores ``[h, n, D]``: the LSB plane, centred as the others lack it."""
        return self._plane("k_lsb", _LSB_CORRECTION, heads, self._slots[keys])

    def v_correction(self, heads: NDArray[np.intp]) -> Rows:
        """What a refetched row adds to ``v [h, n, D]``: the LSB plane instead of its midpoint."""
        return self._shared("v_lsb", heads, lambda: self._plane("v_lsb", _LSB_CORRECTION, heads))

    def _shared(self, name: str, heads: NDArray[np.intp], make: Callable[[], Rows]) -> Rows:
        """Made once for all queries of the same heads, whose blocks follow one another."""
        if self._job["n_queries"] == 1:
            return make()
        kept = self._kept.get(name)
        if kept is None or not np.array_equal(kept[0], heads):
            self._kept.pop(name, None)  # its memory is what the next one takes
            kept = self._kept[name] = heads, make()
        return kept[1]

    def _queries(self) -> Block:
        job = self._job
        row = row_bytes(job["head_dim"], job["q_bits"], self._beat)
        region = Region(job["q_address"], job["n_queries"] * row, row)
        everything = np.arange(job["n_heads"]), np.arange(job["n_queries"])
        coding = Coding(job["q_bits"], signed=True)
        return self._kernel.unpack(self._memory, region, *everything, job["head_dim"], coding)

    def _first_pass(self, name: str, heads: NDArray[np.intp], lsb_read: bool, unread: int) -> Rows:
        """K or V as a row first uses it; ``unread`` stands for the bits of an LSB plane that is not read."""
        lsb = self._job[f"{name}_lsb_bits"]
        coding = Coding(self._job[f"{name}_msb_bits"], True, lsb, 0 if lsb_read or not lsb else unread)
        values = self._plane(f"{name}_msb", coding, heads)
        return values + self._plane(f"{name}_lsb", _LSB, heads) if lsb_read else values

    def _plane(
        self, name: str, coding: Coding, heads: NDArray[np.intp], slots: NDArray[np.int64] | None = None
    ) -> Rows:
        """Rows of a plane: those of some slots, or all that are live."""
        slots = self._slots if slots is None else slots
        job, dim = self._job, self._job["head_dim"]
        row = row_bytes(dim, coding.width, self._beat)
        region = Region(job[f"{name}_address"], job[f"{name}_stride"], row)
        return self._kernel.unpack(self._memory, region, self._ids[heads], slots, dim, coding)
