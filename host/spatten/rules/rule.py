# SPDX-License-Identifier: BSD-2-Clause
"""A whole rule: planes of K, rows and planes of V, and what stands for the values that are not read."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from spatten_drivers.planes import row_bytes

from .keys import KeyRule, Sight, Whole
from .planes import BEAT_BYTES, Layout, Rows
from .values import ValueRule, Weighty

#: Of queries, with a scale of its own for each: a decode job has one.
QUERY = Layout((12,))
#: The mean of a head's values stands in memory as one row so wide.
MEAN_BITS = 16


@dataclass(frozen=True)
class Rule:
    """How queries of a growing sequence read K and V.

    Attributes
    ----------
    layout : of K, and of V if that has none of its own.
    keys, values : what is read.
    rest : what becomes of the weight of values that are not read: ``zero`` as in the contract, ``shared``
        among those that are, or given to the ``mean`` of all values that are seen, one more row.
    v_layout : of V; as many planes are read of a value as of its key, if it has them.
    """

    layout: Layout
    keys: KeyRule = field(default_factory=Whole)
    values: ValueRule = field(default_factory=Weighty)
    rest: str = "zero"
    v_layout: Layout | None = None

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> tuple[torch.Tensor, int]:
        """Outputs ``[H, n, D]`` and K and V bytes of queries ``[H, n, D]``, the last of ``[H, T, D]``.

        Each query counts as a job of its own, as in decoding: what one has read is not there for the next.
        """
        seen = visible(query.shape[1], key.shape[1])
        k, v, q = Rows.of(key, self.layout), Rows.of(value, self.v_layout or self.layout), _queries(query)
        unit = q.scale[..., None] * k.scale[:, None, :] * scaling
        looked = self.keys(Sight(q.integers, k, unit, seen))
        read = self.values(looked)
        weights = looked.scores.softmax(dim=-1)
        kept = weights * read
        if self.rest == "shared":
            kept = kept / kept.sum(dim=-1, keepdim=True)
        depth = looked.depth.clamp(max=len(v.layout.widths)) * read
        out = _weighted(kept, depth, v)
        bytes = k.bytes(looked.depth, seen) + v.bytes(depth, seen)
        if self.rest == "mean":
            mean = seen.to(value.dtype) @ value / seen.sum(dim=-1, keepdim=True)
            out = out + (1 - kept.sum(dim=-1, keepdim=True)) * mean
            bytes += out.shape[0] * out.shape[1] * row_bytes(out.shape[2], MEAN_BITS, BEAT_BYTES)
        return out, bytes


def visible(queries: int, keys: int) -> torch.Tensor:
    """``bool [queries, keys]``: the last of ``keys`` slots are the queries' own."""
    slots = torch.arange(keys)
    return slots <= slots[keys - queries :, None]


def dense_bytes(heads: int, seen: torch.Tensor, head_dim: int, bits: int) -> int:
    """K and V bytes of the same reads, whole rows of ``bits``."""
    return 2 * heads * int(seen.sum()) * (head_dim * bits // 8)


def _queries(query: torch.Tensor) -> Rows:
    """Each query on its own scale ``[H, n]``."""
    heads, count, head_dim = query.shape
    rows = Rows.of(query.reshape(heads * count, 1, head_dim), QUERY)
    return Rows(QUERY, rows.integers.reshape(query.shape), rows.scale.reshape(heads, count))


def _weighted(weights: torch.Tensor, depth: torch.Tensor, v: Rows) -> torch.Tensor:
    """Weighted sums of values, each with the planes read of it; unread bits at their midpoint."""
    out = torch.zeros(*weights.shape[:2], v.integers.shape[-1], dtype=weights.dtype)
    scaled = weights * v.scale[:, None, :]
    for planes in range(1, len(v.layout.widths) + 1):
        part = depth == planes
        if part.any():
            out += (scaled * part) @ v.upto(planes, middle=planes < len(v.layout.widths))
    return out
