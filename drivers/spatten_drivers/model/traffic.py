# SPDX-License-Identifier: BSD-2-Clause
"""Bytes that a job moves (``docs/contract.md``, section 8), from plain numbers: numba compiles them too."""

from __future__ import annotations

from typing import Any

from ..answer import answer_bytes
from ..job import KeyPolicy
from ..planes import padded, row_bytes


def lsb_rows(policy: int, msb_rows: int, on_refetch: int) -> int:
    """Rows fetched of an LSB plane; K and V number their policies alike."""
    if policy == KeyPolicy.MSB_ONLY:
        return 0
    return msb_rows if policy == KeyPolicy.ALWAYS else on_refetch


def byte_counts(h: Any, beat: int, k_msb: int, k_lsb: int, v_msb: int, v_lsb: int) -> tuple[int, ...]:
    """The byte counters in their order, from a job's header and the rows fetched of each plane."""
    queries = h.n_heads * h.n_queries
    tokens, heads = padded(4 * h.n_slots, beat), padded(8 * h.total_heads, beat)
    return (
        queries * row_bytes(h.head_dim, h.q_bits, beat),
        k_msb * row_bytes(h.head_dim, h.k_msb_bits, beat),
        k_lsb * row_bytes(h.head_dim, h.k_lsb_bits, beat),
        v_msb * row_bytes(h.head_dim, h.v_msb_bits, beat),
        v_lsb * row_bytes(h.head_dim, h.v_lsb_bits, beat),
        tokens * h.add_tokens + heads * h.add_heads,
        h.descriptor_bytes,
        queries * padded(2 * h.head_dim, beat),
        tokens + heads,
        answer_bytes(h.keep_tokens, h.keep_heads, beat),
    )
