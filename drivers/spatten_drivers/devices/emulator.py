# SPDX-License-Identifier: BSD-2-Clause
"""The emulator: registers, a job queue and device memory in NumPy, run by the bit-exact software model."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from urllib.parse import SplitResult

import numpy as np
from numpy.typing import NDArray

from ..answer import Status
from ..buffer import Buffer
from ..config import ABI_VERSIONS, DEFAULT_PRESET, PRESETS, AcceleratorConfig
from ..errors import DeviceError, DeviceMemoryError, OperandError
from ..fields import pack
from ..job import HEADER_BYTES, JOB_WORDS
from ..model import Model, kernel_name
from ..model.checks import lies_inside
from ..registers import REGISTER_BY_NAME, REGISTERS, identity_values
from .base import Device
from .poison import PoisonGuard
from .uri import Refusal, memory_option, options_of, require_choice

DEFAULT_MEMORY_BYTES = 1 << 30
_IRQ_ENABLE = 4
_JOB_ID = next(word.index for word in JOB_WORDS if word.name == "job_id")


class Emulator(Device):
    """A SpAtten core that exists in software only.

    A pushed job waits in the queue and runs when the host next looks at the sequencer, as a job on a board
    runs while the host does something else: a host that never waits never sees an answer.

    Parameters
    ----------
    config : the configuration to emulate.
    memory_bytes : size of device memory; the host's memory is taken only as it is written.
    kernel : ``auto``, ``numpy`` or ``numba``; all give the same bits.
    debug : poison what was not synchronised, on both sides (see :class:`PoisonGuard`).
    hang : never finish a job, to try deadlines and aborts.

    Raises
    ------
    ConfigError : the kernel is unknown or not installed.
    OperandError : device memory is 4 GiB or more, which 32-bit addresses do not reach.
    """

    is_board = False

    def __init__(
        self,
        config: AcceleratorConfig | None = None,
        *,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        kernel: str = "auto",
        debug: bool = False,
        hang: bool = False,
    ) -> None:
        self.name = "emulator"
        self._emulated = config or PRESETS[DEFAULT_PRESET]
        self.kernel, self._hang = kernel_name(kernel), hang
        self._model = Model(self._emulated, self.kernel)
        self._memory = np.zeros(memory_bytes, np.uint8)
        self._words = pack(REGISTERS, identity_values(self._emulated, memory_bytes), len(REGISTERS))
        self._queue: deque[int] = deque()
        self._guard = PoisonGuard(self._memory) if debug else None
        self.register_addresses = {word.name: 4 * word.index for word in REGISTERS}
        self.identify()

    def expected_config(self) -> AcceleratorConfig:
        return self._emulated

    def adopt(self, buffer: Buffer) -> None:
        if self._guard:
            self._guard.adopt(buffer)

    def read_word(self, address: int) -> int:
        name = self._register_at(address)
        if name in ("STATUS", "JOBS_DONE", "JOB_LAST_ID", "JOB_ERROR"):
            self._run_next_job()
        if name == "STATUS":
            return self._status()
        return int(self._words[REGISTER_BY_NAME[name].index])

    def write_word(self, address: int, value: int) -> None:
        name = self._register_at(address)
        if name == "JOB_PUSH":
            self._push(value)
        elif name == "CONTROL":
            self._control(value)
        elif REGISTER_BY_NAME[name].access == "rw":
            self._words[REGISTER_BY_NAME[name].index] = value

    def read_memory(self, address: int, size: int) -> NDArray[np.uint8]:
        self._check_range(address, size)
        return self._memory[address : address + size].copy()

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        self._check_range(address, data.size)
        self._memory[address : address + data.size] = data

    def write_rows(self, address: int, distance: int, rows: NDArray[np.uint8]) -> None:
        last = address + (len(rows) - 1) * distance
        self._check_range(min(address, last), abs(last - address) + rows.shape[1])
        np.ndarray(rows.shape, np.uint8, self._memory, address, (distance, 1))[...] = rows

    def _check_range(self, address: int, size: int) -> None:
        if address < 0 or address + size > self._memory.size:
            raise DeviceMemoryError(
                f"access of {size} bytes at {address:#x}; device memory ends at {self._memory.size:#x}"
            )

    def _register_at(self, address: int) -> str:
        index, odd = divmod(address, 4)
        if odd or not 0 <= index < len(REGISTERS):
            raise OperandError(
                f"no register at address {address:#x}; expected 0 to {4 * len(REGISTERS) - 4:#x} by 4"
            )
        return REGISTERS[index].name

    def _status(self) -> int:
        full = len(self._queue) >= self._emulated.job_queue_depth
        values = {
            "IDLE": not self._queue,
            "QUEUE_FULL": full,
            "ERROR": self._get("JOB_ERROR") != 0,
            "DRAM_READY": 1,
            "QUEUE_LEVEL": len(self._queue),
        }
        word = REGISTER_BY_NAME["STATUS"]
        return int(pack([word], values, len(REGISTERS))[word.index])

    def _push(self, address: int) -> None:
        if len(self._queue) >= self._emulated.job_queue_depth:
            raise DeviceError(
                f"{self.name}: job queue is full ({len(self._queue)} jobs); wait for one to end first"
            )
        self._queue.append(address)

    def _control(self, value: int) -> None:
        if value & 1:
            self._drop_queue()
        if value & 2:
            self._set("JOB_ERROR", 0)
        self._set("CONTROL", value & _IRQ_ENABLE)

    def _run_next_job(self) -> None:
        if not self._queue or self._hang:
            return
        address = self._queue.popleft()
        if self._guard:
            self._guard.before_job()
        job_id = self._job_id(address)
        status = self._model.execute(self._memory, address)
        if self._guard:
            self._guard.after_job()
        self._set("JOB_LAST_ID", job_id)
        self._count(1, status)

    def _job_id(self, address: int) -> int:
        """Of the header, 0 if check 1 keeps it from being read."""
        if not lies_inside(address, HEADER_BYTES, self._emulated.beat_bytes, self._memory.size):
            return 0
        return int(self._memory[address : address + HEADER_BYTES].view("<u4")[_JOB_ID])

    def _drop_queue(self) -> None:
        """No job runs between two looks of the host, so all that have not ended are dropped unread."""
        if self._queue:
            self._count(len(self._queue), Status.ABORTED)
        self._queue.clear()

    def _count(self, ended: int, status: Status) -> None:
        self._set("JOBS_DONE", self._get("JOBS_DONE") + ended & 0xFFFFFFFF)
        if status is not Status.DONE and self._get("JOB_ERROR") == 0:
            self._set("JOB_ERROR", status)

    def _get(self, name: str) -> int:
        return int(self._words[REGISTER_BY_NAME[name].index])

    def _set(self, name: str, value: int) -> None:
        self._words[REGISTER_BY_NAME[name].index] = value


def probe() -> Refusal | str:
    """The emulator is always there."""
    return "emulator"


def open_uri(parts: SplitResult, kernel: str) -> Emulator:
    """The emulator that a uri such as ``emulator?preset=ecp5-25f&memory=64MiB&debug=1`` names."""
    options = check_uri(parts, kernel)
    return Emulator(
        replace(PRESETS[options["preset"]], abi_minor=ABI_VERSIONS[options["abi"]]),
        memory_bytes=memory_option(options["memory"]),
        kernel=options["kernel"],
        debug=options["debug"] == "1",
    )


def check_uri(parts: SplitResult, kernel: str = "auto") -> dict[str, str]:
    """Its options; raises :class:`UriError` if one is wrong."""
    newest = PRESETS[DEFAULT_PRESET].abi
    defaults = {"preset": DEFAULT_PRESET, "abi": newest, "memory": "1GiB", "kernel": kernel, "debug": "0"}
    options = options_of("emulator", parts, defaults)
    require_choice("preset", options["preset"], PRESETS)
    require_choice("abi", options["abi"], ABI_VERSIONS)
    require_choice("debug", options["debug"], ("0", "1"))
    memory_option(options["memory"])
    return options
