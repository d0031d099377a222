# SPDX-License-Identifier: BSD-2-Clause
"""Cycles of a layer job: which unit is the slowest, and what is added before, between and behind.

Start, rows and end follow one another. Over the rows every unit works all the time or waits for the slowest
one; what no overlap hides has a name of its own in :class:`.job_model.Cost`.
"""

from __future__ import annotations

from spatten_drivers import AcceleratorConfig

from .facts import JobFacts
from .job_model import Cost
from .memory import Memory
from .reuse import ReuseModel
from .stream import StreamModel

__all__ = ["Cost", "job_cost"]


def job_cost(job: JobFacts, config: AcceleratorConfig, memory: Memory) -> Cost:
    """Cycles of a job on a core of that configuration behind that memory."""
    made = ReuseModel if job.reuses(config.kv_buffer_rows) else StreamModel
    return made(job, config, memory).cost()
