# SPDX-License-Identifier: BSD-2-Clause
"""What the plan says of a job of the grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from spatten import plan
from spatten.plan import SIMULATED, Cost, JobFacts, job_cost
from spatten.plan.memory import IN_ORDER, Memory, litedram
from spatten.plan.traffic import as_counted
from spatten_drivers.config import PRESETS
from spatten_drivers.job import HEAD_ENTRY, LayerJob
from tests.model.jobs import JobSpec, header_fields

from .grid import GridJob


def facts_of(job: GridJob, one: dict[str, Any]) -> JobFacts:
    """What the plan needs to know of a job, of whose numbers :func:`.measure.measured` tells."""
    facts = plan.facts_of(_layer_job(job.spec), one["refetched_rows"])
    return as_counted(facts, PRESETS[job.preset], one["bytes"])


def _layer_job(spec: JobSpec) -> LayerJob:
    """Without heads: the plan takes their number from the header."""
    keys, queries = (np.array(slots, np.uint16) for slots in (spec.keys, spec.queries))
    return LayerJob(header_fields(spec), np.empty(0, HEAD_ENTRY), keys, queries)


def memory_of(job: GridJob) -> Memory:
    """What stands behind the core of a job."""
    if not job.board:
        return IN_ORDER
    return litedram(SIMULATED.dram, SIMULATED.clock, PRESETS[job.preset].beat_bytes)


def predicted(job: GridJob, one: dict[str, Any]) -> Cost:
    """The plan's cycles of a job that was measured."""
    return job_cost(facts_of(job, one), PRESETS[job.preset], memory_of(job))
