# SPDX-License-Identifier: BSD-2-Clause
"""Reads a recording back, job by job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import AcceleratorConfig
from ..errors import ConfigError, RecordingError
from ..job import HEADER_BYTES
from ..registers import REGISTER_BY_NAME
from .footprint import REGIONS, Region
from .mirror import Pieces
from .outcome import Outcome
from .store import Cut, Record, read_records


@dataclass(frozen=True, eq=False)
class RecordedJob:
    """One job of a recording.

    Attributes
    ----------
    number, job_id, layer : its place in the run, its id, and its layer if that was known.
    address, descriptor : where the descriptor lies, and its bytes.
    registers : names and values written since the job before.
    memory : bytes written since the job before, the descriptor among them.
    regions : what the job was to write, by name.
    outcome : what it left there; ``None`` if the recording ends before.
    """

    number: int
    job_id: int
    layer: int | None
    address: int
    descriptor: NDArray[np.uint8]
    registers: tuple[tuple[str, int], ...]
    memory: Pieces
    regions: dict[str, Region]
    outcome: Outcome | None


class Recording:
    """The recording in the file ``path``; iterating it reads the jobs from the file, in order.

    Attributes
    ----------
    device, date, about, versions : as they stand in the file.
    config, memory_bytes : of the recorded device.
    cut : why the end is missing; empty if the recording was closed, or was not read to its end yet.

    Raises
    ------
    RecordingError : the file cannot be read, is no recording or is damaged; at once or while iterating.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.cut = str(path), ""
        first = next(read_records(path))
        if isinstance(first, Cut):
            raise RecordingError(f"recording {self.path!r} ends in its first record; it holds no job")
        head = first.head
        try:
            self.config = AcceleratorConfig.from_dict(head["config"], head["abi"])
            self.memory_bytes = int(head["memory_bytes"])
            self.device, self.date = str(head["device"]), str(head["date"])
            self.about, self.versions = str(head.get("about", "")), dict(head["versions"])
            digest = head["config_digest"]
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise self._senseless(first, repr(error)) from error
        if digest != f"{self.config.digest:016x}":
            raise RecordingError(
                f"recording {self.path!r} names the digest {digest} for a configuration whose digest is "
                f"{self.config.digest:016x} in contract {self.config.abi}. Record again with this release"
            )

    def __iter__(self) -> Iterator[RecordedJob]:
        self.cut = "the recording was never closed"
        waiting: Record | None = None
        for record in read_records(self.path):
            if isinstance(record, Cut):
                self.cut = f"the file ends in the middle of the record at byte {record.offset}"
            elif record.kind == "job":
                if waiting:
                    yield self._job(waiting, None)
                waiting = record
            elif record.kind == "answer":
                if not waiting or waiting.head.get("number") != record.head.get("number"):
                    raise self._senseless(record, "an answer to no job")
                yield self._job(waiting, record)
                waiting = None
            elif record.kind == "end":
                self.cut = ""
        if waiting:
            yield self._job(waiting, None)

    def checked_jobs(self) -> int:
        """Read the whole file once; how many jobs it holds."""
        return sum(1 for _ in self)

    def _job(self, job: Record, answer: Record | None) -> RecordedJob:
        try:
            outcome, regions = _outcome(answer) if answer else (None, {})
            if answer and outcome and outcome.digest != answer.head["digest"]:
                raise ValueError("the digest of the answer is another one")
            layer = job.head.get("layer")
            return RecordedJob(
                number=int(job.head["number"]),
                job_id=int(job.head["job_id"]),
                layer=None if layer is None else int(layer),
                address=int(job.head["address"]),
                descriptor=job.arrays["descriptor"],
                registers=tuple(_register(*pair) for pair in job.head["registers"]),
                memory=_pieces(job.arrays),
                regions=regions,
                outcome=outcome,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._senseless(answer or job, repr(error)) from error

    def _senseless(self, record: Record, what: str) -> RecordingError:
        return RecordingError(
            f"recording {self.path!r}: the record at byte {record.offset} makes no sense: {what}. It was "
            "written by another program, or damaged; record again"
        )


def _register(name: str, value: int) -> tuple[str, int]:
    if REGISTER_BY_NAME[name].access != "rw" or not 0 <= value < 1 << 32:
        raise ValueError(f"{value} written to {name}")
    return name, value


def _pieces(arrays: dict[str, NDArray[Any]]) -> Pieces:
    starts, sizes, memory = arrays["starts"], arrays["sizes"].astype(np.int64), arrays["memory"]
    ends = np.cumsum(sizes)
    if memory.dtype != np.uint8 or len(starts) != len(sizes) or sizes.sum() != memory.size:
        raise ValueError(f"{sizes.sum()} bytes of memory in {len(sizes)} pieces, {memory.size} are there")
    return [
        (int(start), memory[end - size : end]) for start, end, size in zip(starts, ends, sizes, strict=True)
    ]


def _outcome(record: Record) -> tuple[Outcome, dict[str, Region]]:
    regions = {
        name: Region(int(address), record.arrays[name].size)
        for name, address in record.head["regions"].items()
    }
    parts = {name: record.arrays[name] for name in regions}
    for name, part in parts.items():
        if name not in REGIONS or part.dtype != np.uint8 or part.ndim != 1:
            raise ValueError(f"region {name!r} is {part.dtype} {part.shape}")
        if name == "answer" and part.size < HEADER_BYTES:
            raise ValueError(f"an answer header of {part.size} bytes")
    return Outcome(parts, int(record.head["error"]), float(record.head["seconds"])), regions
