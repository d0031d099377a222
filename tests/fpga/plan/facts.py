# SPDX-License-Identifier: BSD-2-Clause
"""What the plan says of a job of the grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from spatten.plan import SIMULATED, Cost, JobFacts, job_cost
from spatten.plan.memory import IN_ORDER, Memory, litedram
from spatten.plan.traffic import as_counted
from spatten_drivers import KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.config import PRESETS
from tests.model.jobs import JobSpec

from .grid import GridJob


def facts_of(job: GridJob, one: dict[str, Any]) -> JobFacts:
    """What the plan needs to know of a job, of whose numbers :func:`.measure.measured` tells."""
    return as_counted(_facts(job.spec, one["refetched_rows"]), PRESETS[job.preset], one["bytes"])


def _facts(spec: JobSpec, refetched: int) -> JobFacts:
    keys, queries, widths = np.array(spec.keys), np.array(spec.queries), spec.widths
    visible = (
        np.searchsorted(keys, queries, side="right") if spec.causal else np.full(len(queries), len(keys))
    )
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
            threshold=0.5,  # of no matter, as the rows that refetched are counted
        ),
        causal=spec.causal,
        adds=spec.add_tokens,
    )


def memory_of(job: GridJob) -> Memory:
    """What stands behind the core of a job."""
    if not job.board:
        return IN_ORDER
    return litedram(SIMULATED.dram, SIMULATED.clock, PRESETS[job.preset].beat_bytes)


def predicted(job: GridJob, one: dict[str, Any]) -> Cost:
    """The plan's cycles of a job that was measured."""
    return job_cost(facts_of(job, one), PRESETS[job.preset], memory_of(job))
