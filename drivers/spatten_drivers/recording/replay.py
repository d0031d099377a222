# SPDX-License-Identifier: BSD-2-Clause
"""Plays a recording on a device and compares every job bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..devices.base import Device
from ..errors import RecordingError
from ..job import LayerJob
from ..model.checks import JobRejected, checked_job
from .case import played
from .footprint import writes
from .outcome import Difference, first_difference
from .reader import RecordedJob, Recording

#: Told after every job; advances a progress bar.
Step = Callable[[], None]


@dataclass(frozen=True)
class JobDifference:
    """A job of which the device made something else than the recording holds."""

    job: int
    job_id: int
    layer: int | None
    difference: Difference

    def __str__(self) -> str:
        layer = "" if self.layer is None else f", layer {self.layer}"
        return f"job {self.job} (id {self.job_id}{layer}): {self.difference}"


@dataclass
class Side:
    """Time of the compared jobs on one device; ``cycles`` are 0 where there is no clock."""

    device: str
    seconds: float = 0.0
    cycles: int = 0


@dataclass
class ReplayReport:
    """What a replay found.

    Attributes
    ----------
    jobs : in the recording; ``equal + len(differences) + skipped`` of them were looked at.
    equal : jobs whose every compared bit is equal.
    skipped : jobs that ended by abort, watchdog or a memory fault, or have no answer in the file.
    differences : the first difference of each other job, in order.
    recorded, replayed : the two sides.
    cut : why the recording lacks its end, or nothing.
    """

    path: str
    jobs: int
    recorded: Side
    replayed: Side
    equal: int = 0
    skipped: int = 0
    differences: list[JobDifference] = field(default_factory=list)
    cut: str = ""

    @property
    def same_bits(self) -> bool:
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "same_bits": self.same_bits}


def replay(
    path: str | Path,
    device: Device,
    *,
    timeout: float | None = None,
    step: Step = lambda: None,
    begin: Callable[[int], None] = lambda jobs: None,
) -> ReplayReport:
    """Play the recording in the file ``path`` on ``device``, whose memory must be free.

    The file is read to its end before the first job is played. A job that differs spoils none behind it: what
    the recording says it left is written to memory. A job may take ``timeout`` seconds, the device's own
    unless given. ``begin`` is told the number of jobs.

    Raises
    ------
    RecordingError : the file cannot be read or is damaged, or it does not fit the device.
    DeviceTimeoutError : a job did not end in time.
    """
    recording = Recording(path)
    _check_fits(recording, device)
    jobs = recording.checked_jobs()
    begin(jobs)
    report = ReplayReport(str(path), jobs, Side(recording.device), Side(device.name), cut=recording.cut)
    device.clear_error()
    for job in recording:
        _play(job, device, device.timeout if timeout is None else timeout, report)
        step()
    return report


def _check_fits(recording: Recording, device: Device) -> None:
    if differing := recording.config.differences(device.config).items():
        what = ", ".join(f"{name} is {mine} there and {theirs} here" for name, (mine, theirs) in differing)
        raise RecordingError(
            f"recording {recording.path!r} was made on {recording.device} of another configuration than "
            f"{device}: {what}. Play it on a device of digest {recording.config.digest:016x}"
        )
    if taken := device.allocator.bytes_taken:
        raise RecordingError(
            f"{device} has {taken:,} bytes of memory in use, which a replay would overwrite; free them, or "
            "open the device anew"
        )


def _play(job: RecordedJob, device: Device, timeout: float, report: ReplayReport) -> None:
    _check_memory(job, device, report)
    for name, value in job.registers:
        device.write_register(name, value)
    expected = job.outcome
    if expected is None or not expected.repeatable:
        for start, data in job.memory:
            device.write_memory(start, data)
        report.skipped += 1
        return
    got = played(device, job.memory, job.address, job.regions, timeout)
    for side, outcome in ((report.recorded, expected), (report.replayed, got)):
        side.seconds += outcome.seconds
        side.cycles += outcome.cycles
    found = first_difference(expected, got, _decoded(job, device), device.config.beat_bytes)
    if found is None:
        report.equal += 1
        return
    report.differences.append(JobDifference(job.number, job.job_id, job.layer, found))
    for name, (start, _) in job.regions.items():
        device.write_memory(start, expected.parts[name])


def _check_memory(job: RecordedJob, device: Device, report: ReplayReport) -> None:
    ends = [start + data.size for start, data in job.memory]
    ends += [job.address + job.descriptor.size] if job.descriptor.size else []
    ends += [start + size for start, size in job.regions.values()]
    if ends and max(ends) > device.memory_bytes:
        raise RecordingError(
            f"recording {report.path!r}: job {job.number} uses memory up to {max(ends):#x}; {device} has "
            f"{device.memory_bytes:#x} bytes. Play it on a device with more memory"
        )


def _decoded(job: RecordedJob, device: Device) -> LayerJob | None:
    """The job, if the contract's checks let it run and its regions are those of the recording."""
    memory = np.zeros(device.memory_bytes, np.uint8)  # only the pages of the descriptor are touched
    memory[job.address : job.address + job.descriptor.size] = job.descriptor
    try:
        found = checked_job(memory, job.address, device.config)
    except JobRejected:
        return None
    return found if writes(found, device.config.beat_bytes) == job.regions else None
