# SPDX-License-Identifier: BSD-2-Clause
"""Planned cycles against simulated ones: all that were stored, and a few that are simulated anew."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from spatten.plan.traffic import traffic
from spatten_drivers.config import PRESETS

from .facts import facts_of, predicted
from .grid import GridJob, grid
from .measure import gateware_digest, key, measured, stored
from .page import PAGE, errors, is_random, page

LIMIT = 0.05  # of a job's cycles
RANDOM_LIMIT, RANDOM_MEAN = 0.10, 0.02  # of jobs drawn at random, most of them small
JOBS = {key(job): job for job in grid()}
#: Both modes and a random job, on the core that elaborates fastest.
LIVE = [
    f"ecp5-25f, in order: {name}"
    for name in ("prefill 48, D 32", "decode 480, 30 %, sure, V 30 %", "random 2")
]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What was measured last. A warning says if the gateware has changed since."""
    kept = stored()
    if kept["gateware"] != gateware_digest():
        warnings.warn("cycles of the plan were measured on other gateware: run make plan-grid", stacklevel=1)
    return kept


def test_every_job_of_the_grid_was_measured(found: dict[str, Any]) -> None:
    assert list(found["jobs"]) == list(JOBS)


def test_no_plan_is_further_off_than_five_percent(found: dict[str, Any]) -> None:
    off = {name: abs(error) for name, error in errors(found["jobs"]).items() if not is_random(name)}
    assert {name: round(error, 4) for name, error in off.items() if error > LIMIT} == {}


def test_plans_of_random_jobs_are_off_by_no_more_than_the_page_says(found: dict[str, Any]) -> None:
    off = {name: abs(error) for name, error in errors(found["jobs"]).items() if is_random(name)}
    assert {name: round(error, 4) for name, error in off.items() if error > RANDOM_LIMIT} == {}
    assert sum(off.values()) / len(off) < RANDOM_MEAN


@pytest.mark.parametrize("name", JOBS)
def test_bytes_are_the_counters_(name: str, found: dict[str, Any]) -> None:
    job, one = JOBS[name], found["jobs"][name]
    assert traffic(facts_of(job, one), PRESETS[job.preset]) == one["bytes"]


def test_the_page_is_that_of_the_stored_cycles(found: dict[str, Any]) -> None:
    assert (Path(__file__).parents[3] / PAGE).read_text("utf-8") == page(found)


@pytest.mark.parametrize("name", LIVE)
def test_a_job_simulated_now(name: str, found: dict[str, Any]) -> None:
    """The stored cycles to the cycle on the same gateware; within the limit on any."""
    job: GridJob = JOBS[name]
    one = measured(job)
    if found["gateware"] == gateware_digest():
        assert one == found["jobs"][name]
    cycles = predicted(job, one).cycles
    assert cycles == pytest.approx(one["cycles"], rel=RANDOM_LIMIT if is_random(name) else LIMIT)


@pytest.mark.deep
@pytest.mark.parametrize("name", [name for name in JOBS if name not in LIVE])
def test_every_other_job_simulated_now(name: str, found: dict[str, Any]) -> None:
    test_a_job_simulated_now(name, found)
