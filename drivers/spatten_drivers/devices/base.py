# SPDX-License-Identifier: BSD-2-Clause
"""The transport that every device implements: registers, memory, and nothing else."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..allocator import Allocator
from ..buffer import Buffer
from ..config import ABI_MAJOR, ABI_MINOR, ABI_VERSIONS, PRESETS, AcceleratorConfig, config_from_digest
from ..errors import ConfigError, DeviceMismatchError, DeviceTimeoutError
from ..fields import unpack
from ..model import kernel_name
from ..registers import IDENTITY_MAGIC, REGISTER_BY_NAME, REGISTERS, config_from_capabilities

#: ``JOBS_DONE`` counts modulo this.
_COUNT = 1 << 32


class Device(ABC):
    """Registers and memory of one SpAtten core.

    Attributes
    ----------
    name : what messages and results call the device, for example ``emulator``.
    is_board : whether this is hardware; simulators and the emulator are not.
    register_addresses : byte address of every register by name, from the map generated beside the bitstream.
    timeout : seconds that a job is waited for unless the caller says otherwise.
    kernel : loops of the host's side of the work, ``numpy`` or ``numba``; both give the same bits.
    config, memory_bytes, allocator : known once :meth:`identify` has run.

    One process drives a device; jobs of several users of the same object are told apart by their number.
    """

    name: str
    is_board: bool
    timeout: float = 60.0
    register_addresses: dict[str, int]
    config: AcceleratorConfig
    memory_bytes: int
    allocator: Allocator
    _pushed: int
    _ended: int

    @cached_property
    def kernel(self) -> str:
        return kernel_name("auto")

    @abstractmethod
    def read_word(self, address: int) -> int:
        """One 32-bit register."""

    @abstractmethod
    def write_word(self, address: int, value: int) -> None:
        """Write one 32-bit register."""

    @abstractmethod
    def read_memory(self, address: int, size: int) -> NDArray[np.uint8]:
        """``size`` bytes of device memory."""

    @abstractmethod
    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        """Write contiguous bytes to device memory."""

    def write_rows(self, address: int, distance: int, rows: NDArray[np.uint8]) -> None:
        """Write ``rows [n, bytes]``, each ``distance`` bytes behind the one before."""
        for i, row in enumerate(rows):
            self.write_memory(address + i * distance, row)

    def adopt(self, buffer: Buffer) -> None:
        """Told of every new buffer; a device that watches buffers overrides this."""

    def report(self) -> str:
        """Lines for whoever examines the device: what it has seen since it was opened. None here."""
        return ""

    def close(self) -> None:
        """Release what the device holds; closing twice is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __str__(self) -> str:
        return f"{self.name} (config {self.config.digest:016x})"

    def read_register(self, name: str) -> int:
        """A register by name."""
        return self.read_word(self.register_addresses[name])

    def write_register(self, name: str, value: int) -> None:
        """Write a register by name."""
        self.write_word(self.register_addresses[name], value)

    def read_fields(self, name: str) -> dict[str, int]:
        """Fields of a register by name."""
        value = self.read_register(name)
        return {f.name: value >> f.lsb & f.mask for f in REGISTER_BY_NAME[name].fields}

    def identify(self) -> None:
        """Read the identity registers and refuse a device that this driver does not know.

        Raises
        ------
        DeviceMismatchError : not a SpAtten core, another ABI, or an unknown configuration; says what differs.
        """
        words = np.zeros(max(w.index for w in REGISTERS) + 1, "<u4")
        for word in REGISTERS:
            if word.access == "ro":
                words[word.index] = self.read_register(word.name)
        values = unpack(REGISTERS, words)
        if values["IDENTITY"] != IDENTITY_MAGIC:
            raise DeviceMismatchError(
                f"{self.name}: register IDENTITY reads {values['IDENTITY']:#010x}, expected "
                f"{IDENTITY_MAGIC:#010x}: no SpAtten core answers there. Load a SpAtten bitstream, or check "
                "the register map"
            )
        if values["ABI_MAJOR"] != ABI_MAJOR or values["ABI_MINOR"] > ABI_MINOR:
            raise DeviceMismatchError(
                f"{self.name}: ABI {values['ABI_MAJOR']}.{values['ABI_MINOR']}, this driver speaks "
                f"{' and '.join(ABI_VERSIONS)}. Load a bitstream of this release, or the driver of that one"
            )
        self.config = self._known_config(values)
        self.memory_bytes = values["MEMORY_BYTES"]
        self.allocator = Allocator(self.memory_bytes, alignment=max(64, self.config.beat_bytes))
        self._pushed = self._ended = values["JOBS_DONE"]

    def _let_pass(self, pause: float, count: int) -> None:
        """Between two looks at ``JOBS_DONE``; a device whose time only passes when told overrides this.

        Parameters
        ----------
        pause : seconds to leave the device alone.
        count : what ``JOBS_DONE`` is waited for to reach.
        """
        time.sleep(pause)

    def _known_config(self, values: dict[str, int]) -> AcceleratorConfig:
        digest = values["CONFIG_DIGEST_HI"] << 32 | values["CONFIG_DIGEST_LO"]
        known = config_from_digest(digest) or self.expected_config()
        if known is not None and known.digest == digest:
            return known
        try:
            described = config_from_capabilities(values)
        except ConfigError as error:
            raise DeviceMismatchError(f"{self.name}: capability registers make no sense: {error}") from error
        if described.digest == digest:
            return described
        presets = {name: replace(c, abi_minor=described.abi_minor) for name, c in PRESETS.items()}
        name, known = min(presets.items(), key=lambda item: len(described.differences(item[1])))
        raise DeviceMismatchError(
            f"{self.name}: configuration digest {digest:016x} does not belong to the capabilities it reports "
            f"({described.to_dict()}, digest {described.digest:016x}). Nearest to it this driver knows "
            f"{name}, digest {known.digest:016x}; they differ in {_pairs(described, known)}. Bitstream and "
            "driver are of different releases"
        )

    def expected_config(self) -> AcceleratorConfig | None:
        """The configuration that came with the device's manifest, if it is no preset."""
        return None

    def abort(self) -> None:
        """End the running job and drop queued ones."""
        self.write_register("CONTROL", 1)

    def clear_error(self) -> None:
        """Forget the error of the first job that failed, so that the next one shows."""
        self.write_register("CONTROL", 2)

    def push_job(self, address: int, timeout: float) -> int:
        """Queue the job whose descriptor lies at ``address``; its number is ``JOBS_DONE`` once it has ended.

        All users of a device push through here, so that their jobs are counted together.

        Raises
        ------
        DeviceTimeoutError : the queue stayed full for ``timeout`` seconds.
        """
        if (self._pushed - self._ended) % _COUNT >= self.config.job_queue_depth:
            self.wait_for_jobs((self._pushed - self.config.job_queue_depth + 1) % _COUNT, timeout)
        self.write_register("JOB_PUSH", address)
        self._pushed = (self._pushed + 1) % _COUNT
        return self._pushed

    def has_ended(self, count: int) -> bool:
        """Whether ``JOBS_DONE`` had reached ``count`` when it was last read; asks nothing of the device."""
        return (self._ended - count) % _COUNT < _COUNT // 2

    def wait_for_jobs(self, count: int, timeout: float) -> None:
        """Wait until ``JOBS_DONE`` reads ``count`` (modulo 2^32) or more.

        Raises
        ------
        DeviceTimeoutError : ``timeout`` seconds passed; the message carries the sequencer's registers.
        """
        deadline = time.monotonic() + timeout
        for pause in _growing_pauses():
            self._ended = self.read_register("JOBS_DONE")
            if self.has_ended(count):
                return
            if time.monotonic() >= deadline:
                break
            self._let_pass(pause, count)
        raise DeviceTimeoutError(
            f"{self.name}: job {count} not done within {timeout:g} s: JOBS_DONE {self._ended}, "
            f"STATUS {self.read_fields('STATUS')}, JOB_ERROR {self.read_register('JOB_ERROR')}. "
            "Give a longer timeout, or abort() and check the device"
        )


def _pairs(device: AcceleratorConfig, driver: AcceleratorConfig) -> str:
    """Fields in which both sides differ, for a message."""
    pairs = device.differences(driver).items()
    return ", ".join(f"{name} (device {ours}, driver {its})" for name, (ours, its) in pairs) or "no field"


def _growing_pauses() -> Iterator[float]:
    """Poll at once, then ever less often: short jobs are not slowed, long ones cost nothing."""
    pause = 0.0
    while True:
        yield pause
        pause = min(0.01, pause * 1.5 + 1e-5)
