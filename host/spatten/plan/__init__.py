# SPDX-License-Identifier: BSD-2-Clause
"""What a text will take on a board before there is one: fit, time, bytes and what holds it up.

An analytic model of the core in cycles, checked against simulation (``docs/plan.md``). It is of attention on
the device alone: projections, feed-forward layers and the way of rows to the device are the host's.
"""

from .boards import BOARDS, DRAMS, SIMULATED, Board, Machine, machine
from .comparison import Comparison, plan_text, plan_trace
from .cost import Cost, job_cost
from .facts import JobFacts, facts_of
from .plan import Job, Phase
from .shapes import SHAPES, ModelShape, model_shape

__all__ = [
    "BOARDS",
    "DRAMS",
    "SHAPES",
    "SIMULATED",
    "Board",
    "Comparison",
    "Cost",
    "Job",
    "JobFacts",
    "Machine",
    "ModelShape",
    "Phase",
    "facts_of",
    "job_cost",
    "machine",
    "model_shape",
    "plan_text",
    "plan_trace",
]
