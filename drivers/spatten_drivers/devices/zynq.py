# SPDX-License-Identifier: BSD-2-Clause
"""A Zynq board through the package pynq: registers by ``pynq.MMIO``, memory in a region of ``pynq.allocate``.

Device memory of a Zynq is the processor's own, and a byte offset in it is a physical address. All of it but
one contiguous region belongs to Linux, so buffers are taken from that region alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote

import numpy as np
from numpy.typing import NDArray

from ..allocator import Allocator
from ..errors import DeviceError, DeviceMemoryError, DeviceMismatchError, UriError
from ..overlay import CORE_TYPE
from ..pynq_bridge.environment import import_pynq, refusal
from ..registers import REGISTERS
from .base import Device
from .uri import Refusal, memory_option, options_of

DEFAULT_MEMORY = "64MiB"  # half of what PYNQ's images set aside for contiguous regions
NO_BITSTREAM = "no Zynq bitstream ships with this release"


class ZynqDevice(Device):
    """The SpAtten core in a PYNQ overlay.

    Parameters
    ----------
    bitstream : path of a ``.bit`` file with its ``.hwh`` beside it.
    memory_bytes : size of the region that buffers are taken from.
    pynq_device : the ``pynq.Device`` to load it on; PYNQ's active one if ``None``.

    Raises
    ------
    DeviceError : pynq cannot be used here, there is no such bitstream, or PYNQ does not load it.
    DeviceMismatchError : the overlay holds no SpAtten core, or one that this driver does not know.
    DeviceMemoryError : there is no room for the region, or it lies where the core does not reach.
    """

    def __init__(self, bitstream: str | Path, memory_bytes: int, pynq_device: Any = None) -> None:
        pynq = import_pynq()
        if not Path(bitstream).is_file():
            raise DeviceError(
                f"bitstream {str(bitstream)!r} does not exist; expected the path of a .bit file with its "
                f".hwh beside it. Build your own: {NO_BITSTREAM}"
            )
        self.overlay = _load(pynq, Path(bitstream), pynq_device)
        self.pynq_device = self.overlay.device
        self.name = f"pynq {getattr(self.pynq_device, 'name', self.pynq_device.tag)}"
        self.is_board = getattr(self.pynq_device, "is_board", True)
        core = _core_of(self.overlay.ip_dict, str(bitstream))
        self._base = core["phys_addr"]
        self._registers = pynq.MMIO(self._base, core["addr_range"], device=self.pynq_device)
        self.register_addresses = _addresses(core, str(bitstream))
        self.identify()
        self._region = self._take_region(pynq, memory_bytes)
        self._start: int = self._region.device_address
        alignment = self.allocator.alignment
        lead = -self._start % alignment
        self.allocator = Allocator(memory_bytes - lead, alignment, self._start + lead)

    def read_word(self, address: int) -> int:
        return int(self._registers.read(address - self._base))

    def write_word(self, address: int, value: int) -> None:
        self._registers.write(address - self._base, int(value))

    def read_memory(self, address: int, size: int) -> NDArray[np.uint8]:
        part = self._part(address, size)
        if size:
            part.invalidate()
        return np.array(part)

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        part = self._part(address, data.size)
        np.asarray(part)[...] = data
        if data.size:
            part.flush()

    def _let_pass(self, pause: float, count: int) -> None:
        simulated: Device | None = getattr(self.pynq_device, "spatten", None)
        if simulated is None:
            super()._let_pass(pause, count)
        else:  # an attached device, whose time may pass only when it is told
            simulated._let_pass(pause, count)

    def close(self) -> None:
        self._region.freebuffer()

    def _part(self, address: int, size: int) -> Any:
        first = address - self._start
        if first < 0 or first + size > self._region.nbytes:
            raise DeviceMemoryError(
                f"{self.name}: access of {size} bytes at {address:#x}; this program's region is "
                f"{self._start:#x} to {self._start + self._region.nbytes:#x}"
            )
        return self._region[first : first + size]

    def _take_region(self, pynq: Any, size: int) -> Any:
        try:
            region = pynq.allocate((size,), "u1", target=self.pynq_device)
        except (MemoryError, RuntimeError) as error:
            raise DeviceMemoryError(
                f"{self.name}: no contiguous region of {size:,} bytes: {error}. Give a smaller one, "
                "pynq:path.bit?memory=16MiB, or free what other programs hold"
            ) from error
        if region.device_address + size > self.memory_bytes:
            region.freebuffer()
            raise DeviceMemoryError(
                f"{self.name}: the region from {region.device_address:#x} ends behind the core's memory of "
                f"{self.memory_bytes:#x} bytes. Give a smaller one, pynq:path.bit?memory=16MiB"
            )
        return region


def probe() -> Refusal | str:
    """Why ``auto`` cannot open a Zynq board: nobody has named its bitstream."""
    return Refusal("pynq", refusal() or NO_BITSTREAM)


def open_uri(parts: SplitResult, kernel: str) -> ZynqDevice:
    """The board that ``pynq:path.bit?memory=64MiB`` names; ``kernel`` is the emulator's."""
    return ZynqDevice(*check_uri(parts))


def check_uri(parts: SplitResult) -> tuple[str, int]:
    """Path and bytes of memory; raises :class:`UriError` if one is wrong."""
    path = unquote(parts.path) if parts.scheme else ""
    if not path:
        raise UriError(f"pynq needs the path of a bitstream, pynq:path.bit: {NO_BITSTREAM}")
    options = options_of("pynq device", parts, {"memory": DEFAULT_MEMORY})
    return path, memory_option(options["memory"])


def _load(pynq: Any, bitstream: Path, pynq_device: Any) -> Any:
    """The overlay, downloaded."""
    try:
        return pynq.Overlay(str(bitstream), device=pynq_device)
    except (RuntimeError, OSError, ValueError) as error:
        if isinstance(error, DeviceError):
            raise
        raise DeviceError(
            f"PYNQ does not load {str(bitstream)!r}: {error}. Run this on a PYNQ board as root with XRT "
            "sourced, name one with PYNQ_REMOTE_DEVICES, or attach() a device first"
        ) from error


def _core_of(ip_dict: dict[str, Any], source: str) -> dict[str, Any]:
    cores = [block for block in ip_dict.values() if block["type"] == CORE_TYPE]
    if len(cores) != 1:
        found = {name: block["type"] for name, block in ip_dict.items()}
        raise DeviceMismatchError(
            f"{source}: holds {len(cores)} IP blocks of type {CORE_TYPE}, expected one; its blocks are "
            f"{found}. Load a SpAtten bitstream, and see that the .hwh is the one written with it"
        )
    core: dict[str, Any] = cores[0]
    return core


def _addresses(core: dict[str, Any], source: str) -> dict[str, int]:
    """Byte address of every register. LiteX writes names in lower case."""
    offsets = {name.upper(): entry["address_offset"] for name, entry in core["registers"].items()}
    if missing := [word.name for word in REGISTERS if word.name not in offsets]:
        raise DeviceMismatchError(
            f"{source}: its core has no registers {missing}; it has {list(core['registers'])}. The .hwh is "
            "of another release"
        )
    return {word.name: core["phys_addr"] + offsets[word.name] for word in REGISTERS}
