# SPDX-License-Identifier: BSD-2-Clause
"""A SpAtten system on chip behind any bus: registers are CSRs, device memory is ``main_ram``."""

from __future__ import annotations

import re
import time

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, DeviceMemoryError, DeviceMismatchError, DeviceTimeoutError
from ..registers import REGISTERS
from .base import Device
from .bus import Bus
from .csr_map import CsrMap

PREFIX = "spatten_"  # of the core's registers among those of the system
WORD = 4
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # as a terminal is told it
SETTLE_SECONDS = 10.0  # for the jobs of an earlier program to end once they are aborted


class SocDevice(Device):
    """The device of every board with LiteX, and of its simulation.

    Opening it reads the core's identity, makes memory ready, and ends what an earlier program left running.

    Parameters
    ----------
    bus : to the system; the device closes it.
    csr_map : of the system.
    name : of the device in messages.
    is_board : whether it is hardware.

    Raises
    ------
    DeviceMismatchError : no SpAtten core answers, it is one this driver does not know, or the map is another
        system's.
    DeviceError : memory is not initialised, or the bus fails.
    """

    def __init__(self, bus: Bus, csr_map: CsrMap, *, name: str, is_board: bool) -> None:
        self.bus, self.csr_map, self.name, self.is_board = bus, csr_map, name, is_board
        try:
            self.register_addresses = {w.name: csr_map.address(PREFIX + w.name.lower()) for w in REGISTERS}
            self._memory = csr_map.memory("main_ram")
            self._errors_before = self.read_csr("ctrl_bus_errors")
            self.identify()
            self._check_memory()
            self._end_old_jobs()
        except BaseException:
            self.close()
            raise

    # Registers ------------------------------------------------------------------------------------

    def read_word(self, address: int) -> int:
        return int(self.bus.read(address, 1)[0])

    def write_word(self, address: int, value: int) -> None:
        self.bus.write(address, np.array([value], np.uint32))

    def read_csr(self, name: str) -> int:
        """A register of the system, of any number of words."""
        words = self.bus.read(self.csr_map.address(name), self.csr_map.sizes[name])
        return int.from_bytes(words.astype(">u4").tobytes(), "big")

    def write_csr(self, name: str, value: int) -> None:
        """Write a register of the system, of any number of words."""
        address, count = self.csr_map.address(name), self.csr_map.sizes[name]
        self.bus.write(address, np.frombuffer(value.to_bytes(WORD * count, "big"), ">u4").astype(np.uint32))

    @property
    def bus_errors(self) -> int:
        """Accesses since opening that nobody on the system's bus answered."""
        return (self.read_csr("ctrl_bus_errors") - self._errors_before) % (1 << 32)

    # Processor ------------------------------------------------------------------------------------

    @property
    def has_processor(self) -> bool:
        """Whether the system has a processor, whose software makes device memory ready."""
        kinds = [name for name in self.csr_map.constants if name.startswith("config_cpu_type_")]
        return bool(kinds) and "config_cpu_type_none" not in kinds

    def console(self) -> str:
        """The last that the processor's software printed, without colours; empty if nothing is kept."""
        if "console" not in self.csr_map.memories:
            return ""
        region, count = self.csr_map.memory("console"), self.read_csr("console_count")
        kept = self.bus.read(region.base, region.size // WORD).astype("<u4").tobytes()
        end = count % region.size
        ordered = kept[end:] + kept[:end] if count > region.size else kept[:count]
        return COLOUR.sub("", ordered.decode("latin-1")).replace("\r", "")

    # Memory ---------------------------------------------------------------------------------------

    def read_memory(self, address: int, size: int) -> NDArray[np.uint8]:
        self._check_range(address, size)
        first, last = address // WORD, -(-(address + size) // WORD)
        words = self._read_words(first, last - first)
        return words.astype("<u4").view(np.uint8)[address - WORD * first :][:size]

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        self._check_range(address, data.size)
        before, behind = address % WORD, -(address + data.size) % WORD
        if not data.size:
            return
        if before or behind:
            data = np.concatenate(
                [
                    self.read_memory(address - before, before),
                    data,
                    self.read_memory(address + data.size, behind),
                ]
            )
        words = np.ascontiguousarray(data).view("<u4").astype(np.uint32)
        self.bus.write(self._memory.base + address - before, words)

    def write_rows(self, address: int, distance: int, rows: NDArray[np.uint8]) -> None:
        if distance == rows.shape[1]:
            self.write_memory(address, rows.reshape(-1))
        else:
            super().write_rows(address, distance, rows)

    def _read_words(self, first: int, count: int) -> NDArray[np.uint32]:
        if not count:
            return np.zeros(0, np.uint32)
        return self.bus.read(self._memory.base + WORD * first, count)

    def _check_range(self, address: int, size: int) -> None:
        if address < 0 or address + size > self.memory_bytes:
            raise DeviceMemoryError(
                f"{self.name}: access of {size} bytes at {address:#x}; device memory ends at "
                f"{self.memory_bytes:#x}"
            )

    # Opening, waiting, closing --------------------------------------------------------------------

    def initialise_memory(self) -> None:
        """Make device memory ready, as ``STATUS.DRAM_READY`` reads 0; a device that can overrides this."""

    def _check_memory(self) -> None:
        if self.memory_bytes > self._memory.size:
            raise DeviceMismatchError(
                f"{self.name}: MEMORY_BYTES is {self.memory_bytes:#x}, but main_ram of {self.csr_map.source} "
                f"has {self._memory.size:#x} bytes. Give the csr.json that was written with this bitstream"
            )
        if not self.read_fields("STATUS")["DRAM_READY"]:
            self.initialise_memory()
        if not self.read_fields("STATUS")["DRAM_READY"]:
            raise DeviceError(
                f"{self.name}: device memory is not initialised (STATUS.DRAM_READY is 0, "
                f"{self._bus_report()}). Initialise and test it first, or reset the board"
            )

    def _end_old_jobs(self) -> None:
        """A program that was killed may have left jobs: they write to memory that is now ours."""
        self.clear_error()
        if self.read_fields("STATUS")["IDLE"]:
            return
        self.abort()
        deadline = time.monotonic() + SETTLE_SECONDS
        while not self.read_fields("STATUS")["IDLE"]:
            if time.monotonic() >= deadline:
                raise DeviceTimeoutError(
                    f"{self.name}: a job of an earlier program does not end {SETTLE_SECONDS:g} s after "
                    f"it was aborted: STATUS {self.read_fields('STATUS')}, {self._bus_report()}. "
                    "Reset the board"
                )
        self.clear_error()
        self._pushed = self._ended = self.read_register("JOBS_DONE")

    def wait_for_jobs(self, count: int, timeout: float) -> None:
        try:
            super().wait_for_jobs(count, timeout)
        except DeviceTimeoutError as error:
            raise DeviceTimeoutError(f"{error}. {self._bus_report().capitalize()}") from error

    def _bus_report(self) -> str:
        return f"bus errors since opening: {self.bus_errors}"

    def close(self) -> None:
        self.bus.close()
