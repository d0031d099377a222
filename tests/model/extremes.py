# SPDX-License-Identifier: BSD-2-Clause
"""Jobs at the extremes, cheap to check at full size: all heads and queries of a job are alike.

So one row of the oracle, in plain integers, times heads and queries is the whole job, also with 1,024 keys,
1,024 queries and 16 heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatten_drivers.answer import Status
from spatten_drivers.config import AcceleratorConfig
from spatten_drivers.job import HEAD_ENTRY, LayerJob, encode_job
from spatten_drivers.model import execute_job
from spatten_drivers.planes import pack_rows, padded, row_bytes, split_planes

from .oracle_row import ALWAYS, BY_KEY, BY_ROW, PlaneRow, Row, RowRules, run_row
from .widths import DIM, HEADS, KEYS, QUERIES

CONFIG = AcceleratorConfig(head_dims=(32, 64, 96, 128), operand_bits=16, beat_bytes=32)
Q_LEAST, LEAST, MOST = -(1 << 11), -(1 << 15), (1 << 15) - 1
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Extreme:
    """One query row, and K and V rows for every key; each head and each query of the job has the same."""

    q: list[int]
    k: Integers
    v: Integers
    score_mult: int = 65535
    score_shift: int = 1
    importance_mult: int = 65535
    importance_shift: int = 0
    heads: int = HEADS
    queries: int = QUERIES
    refetch_limit: int | None = None  # a number makes the job progressive in K and V
    refetch_shift: int = 0  # a number makes it a step of generation that refetches by key
    v_bits: int = 16

    @property
    def policies(self) -> tuple[int, int]:
        """Planes of K and of V: both always, or decided row by row, or of K key by key."""
        if self.refetch_shift:
            return BY_KEY, ALWAYS
        return (ALWAYS, ALWAYS) if self.refetch_limit is None else (BY_ROW, BY_ROW)

    def row(self) -> Row:
        """The one row, by the oracle."""
        limit = self.refetch_limit or 0
        rules = RowRules(
            self.score_mult,
            self.score_shift,
            *self.policies,
            limit,
            65535,
            16 - self.v_bits,
            refetch_shift=self.refetch_shift,
        )
        return run_row(self.q, _plane_rows(self.k), _plane_rows(self.v), rules)


def _plane_rows(integers: Integers) -> list[PlaneRow]:
    msb, lsb = split_planes(integers, 4)
    return [PlaneRow(high, low) for high, low in zip(msb.tolist(), lsb.tolist(), strict=True)]


class Device:
    """The software model with one job in its memory."""

    def __init__(self, extreme: Extreme, kernel: str = "auto") -> None:
        self.extreme, self.kernel = extreme, kernel
        self.keys, self.dim = extreme.k.shape
        beat, slots = CONFIG.beat_bytes, max(self.keys, extreme.queries)
        rows, fields, parts, end = extreme.heads * extreme.queries, {}, {}, 1 << 16
        widths = {"k_msb": 12, "k_lsb": 4, "v_msb": extreme.v_bits - 4, "v_lsb": 4}
        for name, plane in zip(
            widths, (*split_planes(extreme.k, 4), *split_planes(extreme.v, 4)), strict=True
        ):
            row = row_bytes(self.dim, widths[name], beat)
            block = np.zeros((extreme.heads, slots, row), np.uint8)
            block[:, : self.keys] = pack_rows(plane, widths[name], row)
            parts[name], fields[f"{name}_stride"] = block, slots * row
        query_row = row_bytes(self.dim, 12, beat)
        parts["q"] = np.tile(pack_rows(np.array([extreme.q]), 12, query_row), (rows, 1))
        parts["output"] = np.zeros((rows, padded(2 * self.dim, beat)), np.uint8)
        parts["token_importance"] = np.zeros(padded(4 * slots, beat), np.uint8)
        parts["head_importance"] = np.zeros(padded(8 * extreme.heads, beat), np.uint8)
        parts["answer"] = np.zeros(256 + padded(2 * self.keys, beat) + beat, np.uint8)
        for name, block in parts.items():
            fields[f"{name}_address"], end = end, end + block.size
        self.memory = np.zeros(end, np.uint8)
        for name, block in parts.items():
            self.memory[fields[f"{name}_address"] :][: block.size] = block.reshape(-1)
        self.fields = fields | {f"{name}_bits": width for name, width in widths.items()} | self._header(slots)

    def _header(self, slots: int) -> dict[str, int]:
        extreme = self.extreme
        limit = extreme.refetch_limit
        return {
            "config_digest_lo": CONFIG.digest & 0xFFFFFFFF,
            "config_digest_hi": CONFIG.digest >> 32,
            "add_tokens": 1,
            "add_heads": 1,
            "head_dim": self.dim,
            "total_heads": extreme.heads,
            "n_heads": extreme.heads,
            "n_queries": extreme.queries,
            "n_keys": self.keys,
            "n_slots": slots,
            "keep_values": 65535,
            "keep_tokens": self.keys,
            "keep_heads": extreme.heads,
            "q_bits": 12,
            "k_policy": extreme.policies[0],
            "v_policy": extreme.policies[1],
            "refetch_limit": 0 if limit is None else limit,
            "refetch_shift": extreme.refetch_shift,
            "value_limit": 0,
        }

    def run(self) -> None:
        """Run the job once more; importance adds up."""
        heads = np.zeros(self.extreme.heads, HEAD_ENTRY)
        heads["head_id"] = np.arange(self.extreme.heads)
        for name in ("score_mult", "score_shift", "importance_mult", "importance_shift"):
            heads[name] = getattr(self.extreme, name)
        keys, queries = np.arange(self.keys, dtype="<u2"), np.arange(self.extreme.queries, dtype="<u2")
        descriptor = encode_job(LayerJob(self.fields, heads, keys, queries), CONFIG.beat_bytes)
        self.memory[: descriptor.size] = descriptor
        assert execute_job(self.memory, 0, CONFIG, self.kernel) is Status.DONE

    @property
    def outputs(self) -> NDArray[np.int16]:
        """``[heads * queries, D]``."""
        rows, pitch = self.extreme.heads * self.extreme.queries, padded(2 * self.dim, CONFIG.beat_bytes)
        block = self.memory[self.fields["output_address"] :][: rows * pitch].reshape(rows, pitch)
        return block[:, : 2 * self.dim].copy().view("<i2")

    @property
    def tokens(self) -> NDArray[np.uint32]:
        """Running importance of the keys."""
        return self.memory[self.fields["token_importance_address"] :][: 4 * self.keys].view("<u4")

    @property
    def heads(self) -> NDArray[np.uint64]:
        """Running importance of the heads."""
        return self.memory[self.fields["head_importance_address"] :][: 8 * self.extreme.heads].view("<u8")


# -- named extremes ------------------------------------------------------------------------------------------


def every(integer: int, keys: int = KEYS, dim: int = DIM) -> Integers:
    """The same integer everywhere."""
    return np.full((keys, dim), integer, np.int64)


def all_but_one(most_keys: int, one: int) -> Integers:
    """One row of its own, somewhere in the middle."""
    rows = every(most_keys)
    rows[517] = one
    return rows


def alternating(even: int, odd: int) -> Integers:
    """Even rows of one integer, odd rows of the other."""
    return np.where(np.arange(KEYS)[:, None] % 2, odd, even) * np.ones(DIM, np.int64)


def _power_of_two_keys() -> Integers:
    """Three distances: 0; 2048, which scales to an exponent of 16 and weight 1; and one far away."""
    rows = all_but_one(MOST, LEAST)
    rows[518] = LEAST
    rows[518, 0] += 1
    return rows


def mixed_signs(dim: int, **changes: int) -> Extreme:
    """Every operand is the least or the greatest at random, so that partial sums go far up and down."""
    rng = np.random.default_rng(dim)
    return Extreme(
        q=rng.choice((Q_LEAST, -Q_LEAST - 1), dim).tolist(),
        k=rng.choice((LEAST, MOST), (KEYS, dim)),
        v=rng.choice((LEAST, MOST), (KEYS, dim)),
        score_shift=33,
        **changes,
    )


LEAST_QUERY = [Q_LEAST] * DIM
EXTREMES = {
    "largest_sums": Extreme(LEAST_QUERY, every(LEAST), every(LEAST), importance_shift=47),
    "largest_distance": Extreme(LEAST_QUERY, alternating(LEAST, MOST), alternating(MOST, LEAST)),
    "largest_rounding": Extreme(
        LEAST_QUERY, alternating(LEAST, MOST), alternating(MOST, LEAST), score_shift=48, importance_shift=47
    ),
    "one_certain_key": Extreme(LEAST_QUERY, all_but_one(MOST, LEAST), all_but_one(MOST, LEAST)),
    "power_of_two_sum": Extreme(
        LEAST_QUERY, _power_of_two_keys(), every(LEAST), score_mult=32768, score_shift=10
    ),
    "mixed_signs": mixed_signs(DIM),
    "refetched": mixed_signs(DIM, refetch_limit=0),
    "not_refetched": mixed_signs(DIM, refetch_limit=(1 << 32) - 1),
    "likely_keys": mixed_signs(DIM, refetch_shift=10, queries=1),
    "all_keys_likely": Extreme(LEAST_QUERY, every(LEAST), every(LEAST), queries=1, refetch_shift=16),
}
