# SPDX-License-Identifier: BSD-2-Clause
"""Whole jobs that refetch by key: how many keys are picked, how long rows are, what comes after."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import cycle

import pytest

from spatten_drivers.answer import Status
from tests.model.corners import CORNERS
from tests.model.jobs import HeadSpec, JobImage, JobSpec, Widths, build
from tests.model.oracle_config import OracleConfig
from tests.model.oracle_format import ANSWER_COUNTERS, ANSWER_FIELDS
from tests.model.oracle_memory import row_bytes
from tests.model.test_against_model import run_model

from .test_core import CONFIGS, assert_same, core_of

HEADS = 4
FLAT = {"score_mult": 0}  # all weights are equal
STEEP = {"score_shift": 1, "score_mult": 65535}  # one key has all the weight
SPREAD = {"score_shift": 16}
LONG = {"n_slots": 64, "keys": tuple(range(64)), "queries": (63,)}
#: (heads, refetch_shift, keys of a row and how many of them are picked)
PICKS = {
    "none": (FLAT, 1, LONG, 0),
    "none, the smallest share that all keys reach": (FLAT, 6, LONG, 0),
    "all, a share just below": (FLAT, 7, LONG, 64),
    "all, the smallest share": (FLAT, 16, LONG, 64),
    "one that has all the weight": (STEEP, 1, LONG, 1),
    "the only key": (SPREAD, 1, {"keys": (2,), "n_slots": 5, "queries": (4,)}, 1),
    "some": (SPREAD, 5, LONG, None),
}


def step(
    config: OracleConfig, head_dim: int, shift: int, scores: dict[str, int], **changes: object
) -> JobSpec:
    """A query of four heads, with K of 4 + 4 bits."""
    plain = JobSpec(
        config=config,
        head_dim=head_dim,
        total_heads=HEADS,
        heads=tuple(HeadSpec(head, **scores) for head in range(HEADS)),
        keep_tokens=1,
        keep_heads=2,
        keep_values=9,
        widths=Widths(q=8, k_msb=4, k_lsb=4, v_msb=4, v_lsb=4, k_policy=3, v_policy=1),
        refetch_shift=shift,
        add_tokens=True,
        add_heads=True,
    )
    return replace(plain, **changes)


def refetched(image: JobImage) -> tuple[int, int]:
    """Rows that refetched, and bytes of their LSBs, in the model's answer."""
    status, memory = run_model(image, "numpy")
    assert status == Status.DONE
    answer = memory[image.regions["answer"][0] :]
    rows, lsbs = ANSWER_FIELDS["refetched_rows"][0], ANSWER_COUNTERS["read_k_lsb"]
    return struct.unpack_from("<I", answer, 4 * rows)[0], struct.unpack_from("<Q", answer, 4 * lsbs)[0]


@pytest.mark.parametrize("head_dim", [32, 64])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("picks", PICKS)
def test_keys_picked(name: str, picks: str, head_dim: int) -> None:
    """On memory of every pace, then a job that refetches by row."""
    config, (scores, shift, keys, count) = CONFIGS[name], PICKS[picks]
    core, image = core_of(config), build(step(config, head_dim, shift, scores, **keys))
    rows, lsbs = refetched(image)
    if count is None:
        assert rows == HEADS
        count = lsbs / (HEADS * row_bytes(head_dim, 4, config.beat_bytes))
        assert 0 < count < len(keys["keys"])
    assert (rows, lsbs) == (HEADS * (count > 0), HEADS * count * row_bytes(head_dim, 4, config.beat_bytes))
    for pace, latency in ((1.0, 1), (1.0, 60), (0.3, 20)):
        assert_same(core, image, pace=pace, latency=latency, seed=latency)
    assert_same(core, build(replace(CORNERS["refetch_some_rows"][1], config=config)))


def test_values_of_one_plane_and_pruned_keys() -> None:
    config = CONFIGS["corners"]
    keys = {"n_slots": 60, "keys": tuple(range(1, 60, 3)), "queries": (50,), "causal": True}
    widths = Widths(q=12, k_msb=6, k_lsb=4, v_msb=6, v_lsb=4, k_policy=3, v_policy=0)
    for shift in (2, 4, 6):
        assert_same(
            core_of(config), build(step(config, 64, shift, {"score_shift": 23}, widths=widths, **keys))
        )


def test_a_job_that_is_stopped_leaves_the_next_one_clean() -> None:
    """Picks, their places and passes that were ordered are forgotten."""
    config = CONFIGS["corners"]
    core, image = core_of(config), build(step(config, 32, 16, FLAT, **LONG))
    causes = cycle((Status.ABORTED, Status.WATCHDOG))
    for moment in range(500, 2600, 60):
        cause = next(causes)
        assert core.run(image, stop_after=moment, cause=cause, pace=0.8, seed=moment)[0] in (
            cause,
            Status.DONE,
        )
        assert_same(core, image)
