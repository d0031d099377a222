# SPDX-License-Identifier: BSD-2-Clause
"""Writes what a device is asked and what it answers into a file, while it works."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..config import AcceleratorConfig
from ..devices.base import Device
from ..registers import REGISTER_BY_NAME
from .case import Case
from .footprint import Region, Runs
from .mirror import Pieces
from .outcome import Outcome
from .store import FORMAT, RecordWriter
from .watch import SeenJob, Watch

_ABORT = 1


class Recorder(Watch):
    """``device`` with a recording of every job in the file ``path``, which is written anew.

    It is a device like the one inside, for :func:`spatten.attach`, :class:`~spatten_drivers.Accelerator` or
    bare registers. Jobs run one at a time, and each answer is read once more than the host asks for it.
    Closing it ends the recording and closes the device.

    Attributes
    ----------
    path : the file.
    jobs : that have ended so far.

    Raises
    ------
    RecordingError : the file cannot be written, at once or later.
    """

    def __init__(self, device: Device, path: str | Path) -> None:
        super().__init__(device)
        self._writer = RecordWriter(path)
        self._news: list[Runs] = []
        self._registers: list[tuple[str, int]] = []
        self.path, self.jobs = Path(path), 0
        write_head(self._writer, device.name, self.config, self.memory_bytes)

    def close(self) -> None:
        try:
            if self._writer.is_open:
                self._look(None)
                self._writer.write("end", {"jobs": self._count, "answers": self.jobs})
        finally:
            self._writer.close()
            super().close()

    def memory_changed(self, runs: Runs) -> None:
        self._news.append(runs)

    def register_written(self, name: str, value: int) -> None:
        if REGISTER_BY_NAME[name].access == "rw":
            self._registers.append((name, value & ~_ABORT if name == "CONTROL" else value))

    def job_starts(self, seen: SeenJob) -> None:
        pieces = self.mirror.pieces(np.concatenate([np.empty((0, 2), np.int64), *self._news]))
        write_job(self._writer, seen, pieces, self._registers)
        self._news, self._registers = [], []

    def job_ended(self, seen: SeenJob, outcome: Outcome) -> None:
        self.jobs += 1
        write_answer(self._writer, seen.number, seen.regions, outcome)


def write_head(
    writer: RecordWriter, device: str, config: AcceleratorConfig, memory_bytes: int, about: str = ""
) -> None:
    """The first record: who was recorded, when and with what."""
    head = {
        "format": FORMAT,
        "device": device,
        "config": config.to_dict(),
        "config_digest": f"{config.digest:016x}",
        "abi": config.abi,
        "memory_bytes": memory_bytes,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    writer.write("recording", head | ({"about": about} if about else {}))


def write_job(
    writer: RecordWriter, seen: SeenJob, memory: Pieces, registers: list[tuple[str, int]] | None = None
) -> None:
    """A job as it was pushed, and what was written to memory and registers since the job before."""
    head: dict[str, Any] = {"number": seen.number, "job_id": seen.job_id, "address": seen.address}
    if seen.layer is not None:
        head["layer"] = seen.layer
    data = [piece for _, piece in memory]
    writer.write(
        "job",
        {**head, "registers": registers or []},
        descriptor=seen.descriptor,
        starts=np.array([start for start, _ in memory], "<u4"),
        sizes=np.array([piece.size for piece in data], "<u4"),
        memory=np.concatenate([np.empty(0, np.uint8), *data]),
    )


def write_answer(writer: RecordWriter, number: int, regions: Mapping[str, Region], outcome: Outcome) -> None:
    """What job ``number`` left in its regions."""
    head = {
        "number": number,
        "status": outcome.status.name,
        "error": outcome.error,
        "seconds": round(outcome.seconds, 6),
        "cycles": outcome.cycles,
        "digest": outcome.digest,
        "regions": {name: region.address for name, region in regions.items()},
    }
    writer.write("answer", head, **outcome.parts)


def write_case(
    path: Path, case: Case, expected: Outcome, config: AcceleratorConfig, memory_bytes: int, about: str
) -> None:
    """A recording of one job by itself, with the answer of the software model."""
    writer = RecordWriter(path)
    try:
        write_head(writer, "software model", config, memory_bytes, about)
        write_job(writer, replace(case.seen, number=1), case.memory)
        write_answer(writer, 1, case.seen.regions, expected)
        writer.write("end", {"jobs": 1, "answers": 1})
    finally:
        writer.close()


def versions() -> dict[str, str]:
    """Of what wrote the recording."""
    found = {"python": platform.python_version(), "numpy": np.__version__}
    try:
        return {"spatten": metadata.version("spatten"), **found}
    except metadata.PackageNotFoundError:
        return found
