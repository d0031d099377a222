# SPDX-License-Identifier: BSD-2-Clause
"""The whole core against the software model: the same bytes in all of memory, whatever memory's pace.

Counters that need a clock are not compared; every other byte is, also those that must not be touched.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from spatten_drivers.answer import Status
from spatten_fpga.sim import SimulationError
from tests.model.corners import CORNERS
from tests.model.generator import random_spec
from tests.model.jobs import HeadSpec, JobImage, JobSpec, build
from tests.model.oracle_config import OracleConfig
from tests.model.test_against_model import explain, run_model, run_oracle
from tests.model.violations import BREAKABLE, VIOLATIONS, Violation

from .core_bench import CLOCKED, CoreBench, config_of, core_bench

#: Small cores of every kind: the one of the corner jobs; a key in several words and beats of 4 bytes; several
#: keys a word and wide beats; rows longer than the buffers.
CONFIGS = {
    "corners": OracleConfig(),
    "narrow": OracleConfig(
        head_dims=(32, 64), operand_bits=12, lanes=8, beat_bytes=4, topk_parallelism=4, kv_buffer_rows=8
    ),
    "wide": OracleConfig(
        head_dims=(32, 64, 96, 128), lanes=128, beat_bytes=64, topk_parallelism=16, query_buffer_rows=8
    ),
}
#: Random jobs a configuration; `make core-fuzz` asks for thousands.
JOBS = int(os.environ.get("SPATTEN_CORE_JOBS", "200"))
BATCH = 50


def assert_same(core: CoreBench, image: JobImage, **pace: float) -> dict[str, int]:
    """The core and the model leave the same memory; answers the clocked counters."""
    status, memory, clocked = core.run(image, **pace)
    expected_status, expected = run_model(image, "numpy")
    assert Status(status) == Status(expected_status)
    assert explain(image, memory, expected) == ""
    if clocked:
        stalled = sum(cycles for name, cycles in clocked.items() if name.startswith("stall_"))
        assert stalled + max(clocked["busy_qk"], clocked["busy_pv"]) <= clocked["cycles"]
    return clocked


def fitting_spec(rng: random.Random, config: OracleConfig) -> JobSpec:
    """A random job that a device of this configuration accepts."""
    while True:
        spec = random_spec(rng)
        if spec.head_dim in config.head_dims and spec.config.operand_bits <= config.operand_bits:
            return replace(spec, config=config)


def random_pace(rng: random.Random) -> dict[str, float]:
    """How willing memory is, and how far away."""
    return {"pace": rng.choice((1.0, 1.0, 0.7, 0.3)), "latency": rng.choice((1, 5, 20, 60))}


def core_of(config: OracleConfig) -> CoreBench:
    return core_bench(config_of(build(JobSpec(config=config))))


@pytest.mark.parametrize(
    "name", [name for name, (_, spec) in CORNERS.items() if spec.config == CONFIGS["corners"]]
)
def test_corner_jobs(name: str) -> None:
    assert_same(core_of(CONFIGS["corners"]), build(CORNERS[name][1]))


@pytest.mark.parametrize("keep", [51, 50, 7])
def test_as_many_keys_as_an_odd_sequence_has(keep: int) -> None:
    """The key list is kept in pairs; the last of them is a single key."""
    config = replace(CONFIGS["corners"], max_sequence=51, kv_buffer_rows=32)
    spec = JobSpec(
        config, n_slots=51, keys=tuple(range(51)), queries=(50,), keep_tokens=keep, add_tokens=True
    )
    assert_same(core_of(config), build(spec))


@pytest.mark.parametrize("start", range(0, JOBS, BATCH))
@pytest.mark.parametrize("name", CONFIGS)
def test_random_jobs_back_to_back(name: str, start: int) -> None:
    """Jobs follow one another without a reset, so what one leaves behind would show in the next."""
    core = core_of(CONFIGS[name])
    for seed in range(start, min(start + BATCH, JOBS)):
        rng = random.Random(f"{name} {seed}")
        image = build(fitting_spec(rng, CONFIGS[name]))
        assert_same(core, image, **random_pace(rng), seed=seed)


@pytest.mark.parametrize("dim", [32, 64])
def test_heads_that_fill_the_buffers(dim: int) -> None:
    """One head at a time: the next one may load only when all rows of this one are done."""
    everyone = tuple(range(64))
    heads = tuple(HeadSpec(head) for head in range(3))
    spec = JobSpec(
        head_dim=dim,
        total_heads=3,
        heads=heads,
        n_slots=64,
        keys=everyone,
        queries=everyone[:9],
        keep_tokens=7,
    )
    assert_same(core_of(CONFIGS["corners"]), build(spec))


def test_the_same_job_twice() -> None:
    core, image = core_of(CONFIGS["corners"]), build(CORNERS["refetch_some_rows"][1])
    assert core.run(image) == core.run(image)


def test_the_oracle_agrees() -> None:
    """Model and oracle are compared elsewhere; here the core stands against the oracle directly."""
    image = build(CORNERS["always_both"][1])
    status, memory, _ = core_of(CONFIGS["corners"]).run(image)
    expected_status, expected = run_oracle(image)
    assert status == expected_status
    assert explain(image, memory, expected) == ""


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.name)
def test_refused_jobs_touch_nothing_but_the_answer_header(violation: Violation) -> None:
    core = core_of(BREAKABLE.config)
    assert_same(core, violation.build())
    assert_same(core, build(BREAKABLE))  # the next job is clean


STOPPED = build(CORNERS["refetch_some_rows"][1])
STOPPED_CYCLES = 1278  # of that job, undisturbed


def allowed(image: JobImage, memory: bytes) -> list[str]:
    """Regions that a stopped job may have written to, and did."""
    changed = {p for p, (a, b) in enumerate(zip(image.memory, memory, strict=True)) if a != b}
    outside = changed - {
        place
        for name in ("output", "token_importance", "head_importance", "answer")
        for place in range(image.regions[name][0], sum(image.regions[name]))
    }
    assert not outside
    return [
        name for name, (start, size) in image.regions.items() if changed & set(range(start, start + size))
    ]


@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("pace", [1.0, 0.4])
def test_an_abort_at_any_cycle_leaves_the_next_job_clean(part: int, pace: float) -> None:
    core = core_of(CONFIGS["corners"])
    for cycle in range(part, STOPPED_CYCLES, 8):
        status, memory, _ = core.run(STOPPED, stop_after=cycle, pace=pace, seed=cycle)
        if Status(status) == Status.ABORTED:
            touched = allowed(STOPPED, memory)
            if "answer" in touched:
                start = STOPPED.regions["answer"][0]
                assert memory[start + 12 : start + 16] == bytes([Status.ABORTED, 0, 0, 0])
        else:
            assert (pace, Status(status)) == (1.0, Status.DONE)
            assert cycle > STOPPED_CYCLES - 40
        assert_same(core, STOPPED)


def test_a_reset_at_any_moment_leaves_the_next_job_as_it_was() -> None:
    """To the cycle: mutants are told from the core by their times after such a reset."""
    core = core_of(CONFIGS["corners"])
    undisturbed = core.run(STOPPED), core.cycles
    for moment in range(10, STOPPED_CYCLES - 40, 50):
        with pytest.raises(SimulationError):
            core.run(STOPPED, limit=moment)
        core.reset()
        assert (core.run(STOPPED), core.cycles) == undisturbed


def test_a_job_that_ends_before_its_header_was_read_has_no_id() -> None:
    core = core_of(CONFIGS["corners"])
    for cycle in range(40):
        assert_same(core, STOPPED)
        assert core.job_id == CORNERS["refetch_some_rows"][1].job_id
        assert Status(core.run(STOPPED, stop_after=cycle)[0]) == Status.ABORTED
        assert core.job_id == 0


def test_the_watchdog_ends_a_job_whose_memory_never_answers() -> None:
    core = core_of(CONFIGS["corners"])
    status, memory, _ = core.run(STOPPED, answers=False, stop_after=300, cause=Status.WATCHDOG)
    assert Status(status) == Status.WATCHDOG
    assert allowed(STOPPED, memory) == []  # nobody knows where the answer goes
    assert_same(core, STOPPED)  # what memory owed the first job comes now, and is dropped


def test_the_watchdog_ends_a_job_that_runs_too_long() -> None:
    core = core_of(CONFIGS["corners"])
    status, memory, _ = core.run(STOPPED, stop_after=700, cause=Status.WATCHDOG)
    assert Status(status) == Status.WATCHDOG
    assert "answer" in allowed(STOPPED, memory)
    assert_same(core, STOPPED)


def test_counters_of_the_clock_make_sense() -> None:
    core, image = core_of(CONFIGS["corners"]), build(CORNERS["keep_all"][1])
    clocked = assert_same(core, image)
    assert set(clocked) == set(CLOCKED)
    assert 0 < clocked["busy_qk"] < clocked["cycles"]
    assert 0 < clocked["busy_pv"] < clocked["cycles"]


def test_a_stalled_cycle_counts_for_what_held_the_job() -> None:
    core, image = core_of(CONFIGS["corners"]), build(CORNERS["keep_all"][1])
    quick, slow = assert_same(core, image, latency=1), assert_same(core, image, pace=0.1, latency=60)
    assert slow["stall_read"] > 4 * quick["stall_read"]
    assert slow["busy_qk"] == quick["busy_qk"]
    longer = slow["cycles"] - quick["cycles"]
    stalled = sum(slow[name] - quick[name] for name in slow if name.startswith("stall_"))
    assert stalled > longer / 2
