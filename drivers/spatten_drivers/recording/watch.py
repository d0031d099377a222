# SPDX-License-Identifier: BSD-2-Clause
"""A device that somebody watches: it behaves as the one inside, and every job is seen before and after."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..buffer import Buffer
from ..config import AcceleratorConfig
from ..devices.base import Device
from ..job import HEADER_BYTES, LayerJob, decode_header, decode_tables, descriptor_bytes
from ..model.checks import JobRejected, checked_job
from .footprint import Region, Runs, reads, writes
from .mirror import Mirror
from .outcome import Outcome, read_outcome

#: Seconds to wait for a job that was pushed by a bare write of ``JOB_PUSH``.
BARE_TIMEOUT = 60.0
_COUNT = 1 << 32  # JOBS_DONE counts modulo this


@dataclass(frozen=True)
class SeenJob:
    """One job as it was pushed.

    Attributes
    ----------
    number : 1 for the first job since the watch began.
    address : of its descriptor.
    job : the decoded job; ``None`` if the contract's checks refuse it.
    layer : index of the layer, if its planes lie in a buffer ``[layers, heads, slots, row]``.
    reads : what decides its answer; empty for a refused job, which reads its descriptor alone.
    regions : what it is to write, by name.
    """

    number: int
    address: int
    descriptor: NDArray[np.uint8]
    job: LayerJob | None
    layer: int | None
    reads: Runs
    regions: dict[str, Region]

    @property
    def job_id(self) -> int:
        return decode_header(self.descriptor)["job_id"] if self.descriptor.size else 0


class Watch(Device):
    """Passes everything on to ``device``. Subclasses override the hooks at the end.

    Jobs run one at a time: a push waits for the job before, so that what each of them left can be read back
    before the next one changes it. Memory that a job reads and the host never wrote is fetched before.
    """

    def __init__(self, device: Device) -> None:
        self.inner = device
        self._take_identity()
        self.mirror = Mirror(self.memory_bytes)
        self._names = {address: name for name, address in self.register_addresses.items()}
        self._layers: dict[int, tuple[int, int]] = {}
        self._running: SeenJob | None = None
        self._count, self._waiting_for, self._since = 0, 0, 0.0

    def _take_identity(self) -> None:
        inner = self.inner
        self.name, self.is_board, self.kernel = inner.name, inner.is_board, inner.kernel
        self.register_addresses = inner.register_addresses
        self.config, self.memory_bytes, self.allocator = inner.config, inner.memory_bytes, inner.allocator

    def identify(self) -> None:
        self.inner.identify()
        self._take_identity()

    def expected_config(self) -> AcceleratorConfig | None:
        return self.inner.expected_config()

    def close(self) -> None:
        self.inner.close()

    def adopt(self, buffer: Buffer) -> None:
        self.inner.adopt(buffer)
        home = buffer._home
        assert home is not None
        end = home.start + home.size
        others = {s: e for s, e in self._layers.items() if s + e[0] <= home.start or s >= end}
        mine = {home.start: (home.size, buffer.strides[0])} if buffer.ndim == 4 else {}
        self._layers = others | mine

    # ------------------------------------------------------------------------------------ memory

    def read_memory(self, address: int, size: int) -> NDArray[np.uint8]:
        return self.inner.read_memory(address, size)

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        self._spare_running_job(address, data.size)
        self.inner.write_memory(address, data)
        self._learn(address, data)

    def write_rows(self, address: int, distance: int, rows: NDArray[np.uint8]) -> None:
        for i in range(len(rows)):
            self._spare_running_job(address + i * distance, rows.shape[1])
        self.inner.write_rows(address, distance, rows)
        for i, row in enumerate(rows):
            self._learn(address + i * distance, row)

    def _spare_running_job(self, address: int, size: int) -> None:
        """A host that saw the end of a job in memory may use its regions again: read them back first."""
        regions = self._running.regions.values() if self._running else ()
        if any(address < start + length and start < address + size for start, length in regions):
            self._finish(BARE_TIMEOUT)

    def _learn(self, address: int, data: NDArray[np.uint8]) -> None:
        news = self.mirror.learn(address, data)
        if len(news):
            self.memory_changed(news)

    def _fetch(self, runs: Runs) -> None:
        """Learn from the device what is not known yet."""
        for start, end in self.mirror.unknown(runs).tolist():
            self._learn(start, self.inner.read_memory(start, end - start))

    # ------------------------------------------------------------------------------------ registers and jobs

    def read_word(self, address: int) -> int:
        value = self.inner.read_word(address)
        if self._running and self._names.get(address) in ("JOBS_DONE", "STATUS", "JOB_LAST_ID", "JOB_ERROR"):
            self._look(value if self._names[address] == "JOBS_DONE" else None)
        return value

    def write_word(self, address: int, value: int) -> None:
        name = self._names.get(address, "")
        if name == "JOB_PUSH":
            self._finish(BARE_TIMEOUT)
            seen, number = self._begin(value), self.inner.read_register("JOBS_DONE") + 1
            self.inner.write_word(address, value)
            self._running, self._waiting_for = seen, number
            return
        if name:
            self.register_written(name, value)
        self.inner.write_word(address, value)

    def push_job(self, address: int, timeout: float) -> int:
        self._finish(timeout)
        seen = self._begin(address)
        self._waiting_for = self.inner.push_job(address, timeout)
        self._running = seen
        return self._waiting_for

    def has_ended(self, count: int) -> bool:
        return self.inner.has_ended(count)

    def wait_for_jobs(self, count: int, timeout: float) -> None:
        self.inner.wait_for_jobs(count, timeout)
        self._look(None)

    def _begin(self, address: int) -> SeenJob:
        self._count += 1
        seen = self._seen(address)
        self.job_starts(seen)
        self._since = time.perf_counter()
        return seen

    def _seen(self, address: int) -> SeenJob:
        """The job at ``address``; all that decides its answer is known afterwards."""
        memory, beat, end = self.mirror.memory, self.config.beat_bytes, address
        nothing = np.empty((0, 2), np.int64)
        if address + HEADER_BYTES <= self.memory_bytes:
            self._fetch(np.array([[address, address + HEADER_BYTES]]))
            fields = decode_header(memory[address : address + HEADER_BYTES])
            end = min(address + descriptor_bytes(fields, beat), self.memory_bytes)
            self._fetch(np.array([[address, end]]))
        descriptor = memory[address:end].copy()
        try:
            fields = checked_job(memory, address, self.config).fields
        except JobRejected as refusal:
            told = refusal.fields
            regions = {"answer": Region(told["answer_address"], HEADER_BYTES)} if told else {}
            return SeenJob(self._count, address, descriptor, None, None, nothing, regions)
        job = decode_tables(fields, descriptor, beat)  # from the copy: memory goes on changing
        runs = reads(job, address, beat)
        self._fetch(runs)
        layer = self._layer_of(job["k_msb_address"])
        return SeenJob(self._count, address, descriptor, job, layer, runs, writes(job, beat))

    def _layer_of(self, address: int) -> int | None:
        for start, (size, layer_bytes) in self._layers.items():
            if start <= address < start + size:
                return (address - start) // layer_bytes
        return None

    def _finish(self, timeout: float) -> None:
        if self._running:
            self.inner.wait_for_jobs(self._waiting_for, timeout)
            self._look(None)

    def _look(self, done: int | None) -> None:
        """Read back the running job if it has ended; ``done`` is what ``JOBS_DONE`` read, if it was read."""
        seen = self._running
        if seen is None:
            return
        done = self.inner.read_register("JOBS_DONE") if done is None else done
        if (done - self._waiting_for) % _COUNT < _COUNT // 2:
            self._running = None
            seconds = time.perf_counter() - self._since
            outcome = read_outcome(self.inner, seen.regions, seconds)
            self._take_over(seen, outcome)
            self.job_ended(seen, outcome)

    def _take_over(self, seen: SeenJob, outcome: Outcome) -> None:
        """The mirror follows the job; what no other run has to repeat is news, as if written by the host."""
        for name, (address, _) in seen.regions.items():
            if outcome.repeatable:
                self.mirror.take(address, outcome.parts[name])
            else:
                self._learn(address, outcome.parts[name])
        if "answer" in seen.regions:  # its cycles are another number on another device
            self.mirror.forget(seen.regions["answer"].address, HEADER_BYTES)

    def __getattr__(self, name: str) -> Any:
        """What only the device inside has."""
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    # ------------------------------------------------------------------------------------ hooks

    def memory_changed(self, runs: Runs) -> None:
        """The host wrote these bytes, and they were other ones before."""

    def register_written(self, name: str, value: int) -> None:
        """The host writes a register other than ``JOB_PUSH``."""

    def job_starts(self, seen: SeenJob) -> None:
        """A job is about to be pushed; memory is as it will find it."""

    def job_ended(self, seen: SeenJob, outcome: Outcome) -> None:
        """A job has ended and was read back."""
