# SPDX-License-Identifier: BSD-2-Clause
"""The facts of a job of the grid, as the plan takes them."""

from __future__ import annotations

import numpy as np

from spatten.plan.facts import JobFacts
from spatten_drivers import KeyPolicy, Quantization, ValuePolicy
from tests.model.jobs import JobSpec


def facts_of(spec: JobSpec, refetched: int) -> JobFacts:
    """What the plan needs to know of a job of which so many rows refetched."""
    keys = np.array(spec.keys)
    queries = np.array(spec.queries)
    visible = np.searchsorted(keys, queries, side="right") if spec.causal else np.full(len(queries), len(keys))
    widths = spec.widths
    return JobFacts(
        head_dim=spec.head_dim,
        total_heads=spec.total_heads,
        heads=len(spec.heads),
        slots=spec.n_slots,
        keys=len(keys),
        visible=visible,
        keep_values=spec.keep_values,
        keep_tokens=spec.keep_tokens,
        keep_heads=spec.keep_heads,
        refetched=refetched,
        quantization=Quantization(
            q_bits=widths.q,
            k_msb_bits=widths.k_msb,
            k_lsb_bits=widths.k_lsb,
            v_msb_bits=widths.v_msb,
            v_lsb_bits=widths.v_lsb,
            k_policy=KeyPolicy(widths.k_policy),
            v_policy=ValuePolicy(widths.v_policy),
        ),
        causal=spec.causal,
        adds=spec.add_tokens,
    )
