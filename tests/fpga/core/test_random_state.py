# SPDX-License-Identifier: BSD-2-Clause
"""X: what registers and memories hold when the power comes must not show in any answer.

Every register and every memory starts with bits drawn from a seed, and the reset sets those registers that
have one. A job that used any of the other bits would leave other bytes, or take another number of cycles, at
another seed. The first job after the reset is the one that counts: so each begins anew, and what it left
behind meets one more job.
"""

from __future__ import annotations

import random
from functools import cache

import pytest

from tests.model.corners import CORNERS
from tests.model.jobs import JobImage, JobSpec, build

from .core_bench import CoreBench, TimedCore, config_of
from .test_core import CONFIGS, explain, fitting_spec, run_model

SEEDS = (1, 2, 3, 4)
NAMED = ("refetch_some_rows", "always_both", "keep_all")  # both planes, and all that can be pruned, and none
RANDOM = 3


@cache
def images() -> dict[str, JobImage]:
    """Jobs by name."""
    config = CONFIGS["corners"]
    drawn = {f"random {n}": fitting_spec(random.Random(f"state {n}"), config) for n in range(RANDOM)}
    return {name: build(spec) for name, spec in {**{n: CORNERS[n][1] for n in NAMED}, **drawn}.items()}


@cache
def blank_core() -> CoreBench:
    """A core whose registers start with anything."""
    return CoreBench(TimedCore(config_of(build(JobSpec(config=CONFIGS["corners"])))), initial=False)


@cache
def answers(name: str, seed: int) -> list[tuple[int, bytes, dict[str, int]]]:
    """Status, memory and clocked counters of a job on a core fresh from the reset, and of the next job."""
    image = images()[name]
    core = blank_core()
    core.bench.restart(seed)
    return [core.run(image) for _ in range(2)]


@pytest.mark.parametrize("name", [*NAMED, *(f"random {n}" for n in range(RANDOM))])
def test_answers_do_not_depend_on_what_the_state_was(name: str) -> None:
    first = answers(name, SEEDS[0])
    for seed in SEEDS[1:]:
        assert answers(name, seed) == first
    status, memory = run_model(images()[name], "numpy")
    for ended, left, _ in first:
        assert ended == status
        assert explain(images()[name], left, memory) == ""
