# SPDX-License-Identifier: BSD-2-Clause
"""What a layer job is, as far as its bytes and cycles depend on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatten_drivers import KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.job import LayerJob


@dataclass(frozen=True, eq=False)
class JobFacts:
    """A layer job without its numbers.

    Attributes
    ----------
    head_dim : elements of a row, D.
    total_heads, heads : of the layer before pruning, and the live ones.
    slots, keys : tokens of the sequence, and the live ones.
    visible : ``int [queries]``, keys that each query sees.
    keep_values, keep_tokens, keep_heads : what survives; more than there is means all.
    refetched : rows (head, query) that refetch, spread evenly over heads and queries; a plan may say 3.5.
        With refetch by key, keys.
    quantization : number formats.
    causal : queries see keys of their own or a lower slot.
    adds : running importance goes on from the job before.
    limited : share of the visible values that weigh enough to be read (``value_limit``).
    """

    head_dim: int
    total_heads: int
    heads: int
    slots: int
    keys: int
    visible: NDArray[np.int64]
    keep_values: int
    keep_tokens: int
    keep_heads: int
    refetched: float
    quantization: Quantization
    causal: bool = False
    adds: bool = True
    limited: float = 1.0

    @property
    def queries(self) -> int:
        """Queries of a head."""
        return len(self.visible)

    @property
    def rows(self) -> int:
        """Rows (head, query) of the job."""
        return self.heads * self.queries

    @property
    def kept(self) -> NDArray[np.float64]:
        """Values that each query keeps, on average; one at least."""
        return np.minimum(self.keep_values, np.maximum(1.0, self.visible * self.limited))

    @property
    def refetch_share(self) -> float:
        """Share of the rows that decide to refetch; with refetch by key, all of them do for some key."""
        return float(self.refetched > 0) if self.by_key else self.refetched / self.rows

    @property
    def second_share(self) -> float:
        """Share of the rows of K whose LSB plane is used: by decision, or always."""
        policy = self.quantization.k_policy
        if policy == KeyPolicy.ALWAYS:
            return 1.0
        if self.by_key:
            return self.refetched / (self.heads * int(self.visible.sum()))
        return self.refetch_share if policy == KeyPolicy.PROGRESSIVE else 0.0

    @property
    def by_key(self) -> bool:
        """Whether single keys of a row refetch."""
        return self.quantization.k_policy == KeyPolicy.BY_KEY

    @property
    def value_share(self) -> float:
        """Share of the rows that use the LSB plane of V."""
        policy = self.quantization.v_policy
        if policy == ValuePolicy.ALWAYS:
            return 1.0
        return self.refetch_share if policy == ValuePolicy.ON_REFETCH else 0.0

    @property
    def refetching_heads(self) -> float:
        """Heads of which at least one row refetches."""
        return min(self.heads, self.refetched)

    def reuses(self, kv_buffer_rows: int) -> bool:
        """Whether K and V stay on chip over the queries (contract, section 8)."""
        return self.queries > 1 and self.keys <= kv_buffer_rows


def facts_of(job: LayerJob, refetched: int) -> JobFacts:
    """A job as the plan sees it, of which so many rows refetched."""
    keys, queries = job.key_slots, job.queries.astype(np.int64)
    seen = np.searchsorted(keys, queries, side="right")
    return JobFacts(
        head_dim=job["head_dim"],
        total_heads=job["total_heads"],
        heads=job["n_heads"],
        slots=job["n_slots"],
        keys=len(keys),
        visible=seen if job["causal"] else np.full(len(queries), len(keys)),
        keep_values=job["keep_values"],
        keep_tokens=job["keep_tokens"],
        keep_heads=job["keep_heads"],
        refetched=refetched,
        quantization=Quantization(
            **{
                name: job[name] for name in ("q_bits", "k_msb_bits", "k_lsb_bits", "v_msb_bits", "v_lsb_bits")
            },
            k_policy=KeyPolicy(job["k_policy"]),
            v_policy=ValuePolicy(job["v_policy"]),
            threshold=0.5,  # of no matter, as the rows that refetched are counted
        ),
        causal=bool(job["causal"]),
        adds=bool(job["add_tokens"]),
    )
