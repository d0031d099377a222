# SPDX-License-Identifier: BSD-2-Clause
"""One job by itself, with just the memory it reads, run on the software model or on a device."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..answer import Status
from ..config import AcceleratorConfig
from ..devices.base import Device
from ..job import HEADER_BYTES
from ..model import execute_job
from .footprint import Region, Runs
from .mirror import Mirror, Pieces
from .outcome import Outcome, read_outcome
from .watch import SeenJob


@dataclass(frozen=True, eq=False)
class Case:
    """A job and the bytes that decide its answer; its answer header is zero, as a driver leaves it."""

    seen: SeenJob
    memory: Pieces

    @classmethod
    def taken(cls, seen: SeenJob, mirror: Mirror) -> Case:
        """The job as it is about to be pushed."""
        descriptor = np.array([[seen.address, seen.address + seen.descriptor.size]])
        runs: Runs = seen.reads if seen.job else descriptor
        return cls(seen, zero_header(seen) + mirror.pieces(runs))


def zero_header(seen: SeenJob) -> Pieces:
    """The place of the answer header, so that an old answer is not taken for a new one."""
    at = seen.regions.get("answer")
    return [(at.address, np.zeros(HEADER_BYTES, np.uint8))] if at else []


def on_model(case: Case, config: AcceleratorConfig, memory_bytes: int, kernel: str = "auto") -> Outcome:
    """What the contract wants."""
    memory = np.zeros(memory_bytes, np.uint8)  # the host's memory is taken only as it is touched
    for address, data in case.memory:
        memory[address : address + data.size] = data
    status = execute_job(memory, case.seen.address, config, kernel)
    return Outcome(_parts(memory, case.seen.regions), 0 if case.seen.regions else int(status))


def _parts(memory: NDArray[np.uint8], regions: dict[str, Region]) -> dict[str, NDArray[np.uint8]]:
    return {name: memory[at : at + size].copy() for name, (at, size) in regions.items()}


def on_device(case: Case, device: Device, timeout: float) -> Outcome:
    """What ``device`` does; its memory and its error register change."""
    outcome = played(device, case.memory, case.seen.address, case.seen.regions, timeout)
    if outcome.status is not Status.DONE:
        device.clear_error()
    return outcome


def played(
    device: Device, memory: Pieces, address: int, regions: dict[str, Region], timeout: float
) -> Outcome:
    """Write memory, push the job and read back what it left.

    Raises
    ------
    DeviceTimeoutError : it did not end in ``timeout`` seconds.
    """
    for start, data in memory:
        device.write_memory(start, data)
    since = time.perf_counter()
    device.wait_for_jobs(device.push_job(address, timeout), timeout)
    return read_outcome(device, regions, time.perf_counter() - since)
