# SPDX-License-Identifier: BSD-2-Clause
"""The driver's software model against the oracle: whole memory images, byte for byte."""

from __future__ import annotations

import random
import struct
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatten_drivers.config import AcceleratorConfig
from spatten_drivers.model import execute_job

from .corners import CORNERS
from .generator import random_spec
from .jobs import JobImage, JobSpec, build
from .oracle import run_job
from .oracle_format import HEADER_BYTES, Status
from .violations import BREAKABLE, OLDER, STEP, VIOLATIONS, Violation

KERNELS = ("numpy", "numba")
A_STEP = replace(BREAKABLE, queries=BREAKABLE.queries[-1:])
specs = st.randoms(use_true_random=False).map(random_spec)


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> str:
    """Each kernel of the model."""
    return str(request.param)


def run_model(image: JobImage, kernel: str) -> tuple[int, bytes]:
    """Status and memory after the model ran a copy of the image."""
    memory = np.frombuffer(bytes(image.memory), dtype=np.uint8).copy()
    config = AcceleratorConfig(**asdict(image.config))
    return int(execute_job(memory, image.descriptor_address, config, kernel=kernel)), memory.tobytes()


def run_oracle(image: JobImage) -> tuple[int, bytes]:
    """Status and memory after the oracle ran a copy of the image."""
    memory = bytearray(image.memory)
    return int(run_job(memory, image.descriptor_address, image.config)), bytes(memory)


def explain(image: JobImage, actual: bytes, expected: bytes) -> str:
    """Where two memories differ, by region; empty if they are equal."""
    wrong = [place for place, (a, b) in enumerate(zip(actual, expected, strict=True)) if a != b]
    regions = [
        f"{name} + {place - start}: {actual[place]}, expected {expected[place]}"
        for place in wrong[:16]
        for name, (start, size) in image.regions.items()
        if start <= place < start + size
    ]
    return f"{len(wrong)} bytes differ; {'; '.join(regions)}" if wrong else ""


def assert_same(image: JobImage, kernel: str) -> None:
    """Model and oracle must leave the same status and the same memory, guard bytes included."""
    status, memory = run_model(image, kernel)
    expected_status, expected = run_oracle(image)
    assert Status(status) == expected_status
    assert explain(image, memory, expected) == ""


def assert_same_verdict(image: JobImage, kernel: str) -> None:
    """As :func:`assert_same`, but memory is compared only if the job is refused.

    A job that is still legal may have overlapping regions, whose bytes no contract fixes.
    """
    status, memory = run_model(image, kernel)
    expected_status, expected = run_oracle(image)
    assert Status(status) == expected_status
    assert status == Status.DONE or explain(image, memory, expected) == ""


@given(spec=specs)
def test_any_job_on_numpy(spec: JobSpec) -> None:
    """Random legal jobs on the NumPy kernel."""
    assert_same(build(spec), "numpy")


@given(spec=specs)
def test_any_job_on_numba(spec: JobSpec) -> None:
    """Random legal jobs on the compiled kernel."""
    assert_same(build(spec), "numba")


@pytest.mark.parametrize("name", CORNERS)
def test_corner(name: str, kernel: str) -> None:
    """Every named corner, on every kernel."""
    assert_same(build(CORNERS[name][1]), kernel)


@given(spec=specs)
def test_any_step(spec: JobSpec) -> None:
    """Random legal jobs of one query, which the compiled kernel runs on a way of their own."""
    assert_same(build(replace(spec, queries=spec.queries[-1:])), "numba")


@pytest.mark.parametrize("spec", [BREAKABLE, A_STEP], ids=["prompt", "step"])
@pytest.mark.parametrize("old", [1 << 48, 1 << 63, (1 << 64) - 1])
def test_head_importance_beyond_its_width(spec: JobSpec, old: int, kernel: str) -> None:
    """Memory may hold anything where running importance is expected: it saturates."""
    image = build(replace(spec, add_heads=True, keep_heads=1))
    place, _ = image.regions["head_importance"]
    struct.pack_into(f"<{spec.total_heads}Q", image.memory, place, *[old] * spec.total_heads)
    assert_same(image, kernel)


@pytest.mark.parametrize("violation", VIOLATIONS + OLDER, ids=lambda violation: violation.name)
def test_violation(violation: Violation, kernel: str) -> None:
    """A broken job ends with the same status and writes the same answer header, or nothing."""
    assert_same(violation.build(), kernel)


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.name)
def test_violation_by_a_step(violation: Violation, kernel: str) -> None:
    """The same of a job of one query; what only several queries can break leaves it legal."""
    image = build(A_STEP)
    violation.break_it(image)
    assert_same_verdict(image, kernel)


def test_job_of_an_older_minor() -> None:
    """A device of 1.1 takes a job of 1.0 that was made for it."""
    image = build(BREAKABLE)
    image.poke("abi_minor", 0)
    assert_same(image, "numpy")
    assert run_model(image, "numpy")[0] == Status.DONE


@pytest.mark.parametrize("name", KERNELS)
@given(seed=st.integers(0, 2**32 - 1), spec=st.sampled_from((BREAKABLE, STEP)))
def test_flipped_descriptor_bits(name: str, seed: int, spec: JobSpec) -> None:
    """Up to three flipped bits anywhere in a descriptor: the same verdict, and if refused the same memory."""
    rng, image = random.Random(seed), build(spec)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(HEADER_BYTES // 2 if rng.randrange(4) else image.regions["descriptor"][1])
        image.memory[image.descriptor_address + place] ^= 1 << rng.randrange(8)
    assert_same_verdict(image, name)


@pytest.mark.parametrize("first", range(0, len(VIOLATIONS), 7))
def test_two_violations(first: int, kernel: str) -> None:
    """Of two broken rules the earlier check decides, on model and oracle alike."""
    for second in VIOLATIONS:
        for image in (VIOLATIONS[first].build(), build(A_STEP)):
            VIOLATIONS[first].break_it(image)
            second.break_it(image)
            assert_same_verdict(image, kernel)
