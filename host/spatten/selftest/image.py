# SPDX-License-Identifier: BSD-2-Clause
"""A binary job with all the memory around it, run on the device and on the software model."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatten_drivers.answer import CYCLE_COUNTERS, Status, decode_header
from spatten_drivers.job import HEADER_BYTES, LayerJob, decode_tables
from spatten_drivers.job import decode_header as decode_job
from spatten_drivers.model import execute_job
from spatten_drivers.recording.footprint import Region, writes
from spatten_drivers.recording.outcome import Outcome, first_difference

from ..errors import SelftestFault
from .bench import Bench


@dataclass(frozen=True, eq=False)
class Image:
    """A job as it lies at the start of device memory.

    Attributes
    ----------
    name : for messages.
    memory : everything from address 0 on: the job, what it reads, and what it must leave alone.
    descriptor : address of the job in it.
    """

    name: str
    memory: NDArray[np.uint8]
    descriptor: int


@dataclass(frozen=True, eq=False)
class Ran:
    """A job that ended as the model ends it.

    Attributes
    ----------
    status : how.
    job : decoded; ``None`` if it was to be refused.
    counters, refetched : of its answer.
    seconds : from the push to its end, as the host saw them.
    clock : cycles of the simulator's clock meanwhile; ``None`` on other devices.
    """

    status: Status
    job: LayerJob | None
    counters: dict[str, int]
    refetched: int
    seconds: float
    clock: int | None = None


def run_image(bench: Bench, image: Image) -> Ran:
    """Run a job on the device; every byte of the image must become what the model makes of it.

    Raises
    ------
    SelftestFault : it does not; the message names job, field, index and both values.
    """
    device, size = bench.device, image.memory.size
    device.write_memory(0, image.memory)
    since, clock = time.perf_counter(), getattr(device, "cycles", None)
    device.wait_for_jobs(device.push_job(image.descriptor, device.timeout), device.timeout)
    seconds = time.perf_counter() - since
    passed = None if clock is None else getattr(device, "cycles", 0) - clock
    error = Status(device.read_register("JOB_ERROR") & 0xFF)
    device.clear_error()
    found = device.read_memory(0, size)
    right, expected = _on_model(bench, image)
    job = _decoded(image, device.config.beat_bytes) if right is Status.DONE else None
    if error is not (Status.PENDING if right is Status.DONE else right):
        raise SelftestFault(
            f"{image.name}: ended with {error.name}; the software model ends with {right.name}"
        )
    _require_same(image, job, expected, found, device.config.beat_bytes)
    if job is None:
        return Ran(right, None, {}, 0, seconds, passed)
    fields, counters = decode_header(found[job["answer_address"] :][:HEADER_BYTES].copy())
    return Ran(right, job, counters, fields["refetched_rows"], seconds, passed)


def _on_model(bench: Bench, image: Image) -> tuple[Status, NDArray[np.uint8]]:
    """How the model ends the job, and what it leaves of the image."""
    bench.scratch[: image.memory.size] = image.memory
    status = execute_job(bench.scratch, image.descriptor, bench.device.config, bench.kernel)
    return status, bench.scratch[: image.memory.size].copy()


def _decoded(image: Image, beat: int) -> LayerJob:
    descriptor = image.memory[image.descriptor :].copy()
    return decode_tables(decode_job(descriptor), descriptor, beat)


def _require_same(
    image: Image, job: LayerJob | None, expected: NDArray[np.uint8], found: NDArray[np.uint8], beat: int
) -> None:
    if job is not None:
        outcomes = [_outcome(memory, writes(job, beat)) for memory in (expected, found)]
        if difference := first_difference(*outcomes, job, beat):
            raise SelftestFault(f"{image.name}: {difference}")
        expected, found = (_without_clock(memory, job["answer_address"]) for memory in (expected, found))
    if len(wrong := np.flatnonzero(expected != found)):
        at = int(wrong[0])
        raise SelftestFault(
            f"{image.name}: {len(wrong)} bytes that the job must not touch are not as they were, the first "
            f"at {at:#x}: expected {expected[at]}, got {found[at]}"
        )


def _outcome(memory: NDArray[np.uint8], regions: dict[str, Region]) -> Outcome:
    return Outcome({name: memory[at : at + size].copy() for name, (at, size) in regions.items()})


def _without_clock(memory: NDArray[np.uint8], answer: int) -> NDArray[np.uint8]:
    memory = memory.copy()
    for counter in CYCLE_COUNTERS:
        memory[answer + 4 * counter.index :][:8] = 0
    return memory
