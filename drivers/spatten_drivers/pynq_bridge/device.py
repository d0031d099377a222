# SPDX-License-Identifier: BSD-2-Clause
"""The ``pynq.Device`` behind which any SpAtten device stands. Importing this tells PYNQ of the class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike
from pynq.pl_server.device import Device as PynqDevice

from ..buffer import Buffer
from ..devices.base import Device
from ..errors import DeviceError, OperandError
from .buffer import COPY, MirrorBuffer, mirror
from .identity import check_bitstream, check_identity
from .metadata import Metadata, describe

#: Behind PYNQ's own 50, 100 and 200, of which no two classes may have the same.
PRIORITY = 1066
#: A JOB_PUSH onto a full queue waits this long for a place.
PUSH_SECONDS = 60.0


class DeviceMemory:
    """Device memory as PYNQ sees a bank: ``overlay.memory.allocate(shape, dtype)``."""

    base_address = 0

    def __init__(self, pynq_device: SpattenDevice) -> None:
        self.device, self.size = pynq_device, pynq_device.spatten.memory_bytes

    @property
    def mem_used(self) -> int:
        """Bytes that are taken."""
        return self.device.spatten.allocator.bytes_taken

    def allocate(
        self, shape: int | tuple[int, ...], dtype: DTypeLike = "u4", cacheable: int = 1
    ) -> MirrorBuffer:
        """A buffer here; ``cacheable`` makes no difference, as every buffer is a mirror that wants a sync."""
        return mirror(self.device, shape, dtype)


class SpattenDevice(PynqDevice):  # type: ignore[misc]  # pynq has no types
    """PYNQ's view of an open device.

    Attributes
    ----------
    spatten : the device; whoever opened it closes it, after :func:`detach`.
    name, tag : of the device, and unique among attached ones.
    """

    _probe_priority_ = PRIORITY
    attached: ClassVar[list[SpattenDevice]] = []

    @classmethod
    def _probe_(cls) -> list[SpattenDevice]:
        return list(cls.attached)

    def __init__(self, spatten: Device, tag: str) -> None:
        super().__init__(tag)
        self.spatten, self.name, self.is_board = spatten, spatten.name, spatten.is_board
        self.capabilities = {"REGISTER_RW": True}
        self.default_memory = DeviceMemory(self)
        self.bitfile_name, self.timestamp = None, None

    def __repr__(self) -> str:
        return f"<pynq.Device {self.tag}: {self.spatten}>"

    # Registers ------------------------------------------------------------------------------------

    def read_registers(self, address: int, length: int) -> bytes:
        """``length`` bytes, whole words, from byte ``address`` on."""
        _check_words(address, length)
        words = (self.spatten.read_word(address + i) for i in range(0, length, 4))
        return b"".join(word.to_bytes(4, "little") for word in words)

    def write_registers(self, address: int, data: bytes) -> None:
        """Write whole words from byte ``address`` on."""
        _check_words(address, len(data))
        for i in range(0, len(data), 4):
            self._write_word(address + i, int.from_bytes(data[i : i + 4], "little"))

    def _write_word(self, address: int, value: int) -> None:
        if address == self.spatten.register_addresses["JOB_PUSH"]:
            self.spatten.push_job(value, PUSH_SECONDS)  # counted together with jobs that our driver pushes
        else:
            self.spatten.write_word(address, value)

    # Memory ---------------------------------------------------------------------------------------

    def get_memory(self, description: dict[str, Any]) -> DeviceMemory:
        """The one bank there is."""
        return self.default_memory

    def flush(self, bo: Buffer, offset: int, pointer: int, size: int) -> None:
        """Copy ``size`` bytes at ``offset`` of a buffer from host to device memory."""
        _span(bo, offset, pointer, size).sync_to_device()

    def invalidate(self, bo: Buffer, offset: int, pointer: int, size: int) -> None:
        """Copy ``size`` bytes at ``offset`` of a buffer from device memory to the host."""
        _span(bo, offset, pointer, size).sync_from_device()

    # Overlay --------------------------------------------------------------------------------------

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Metadata:
        """IP, registers, fields and memory of the core; the manifest beside the file must be the device's.

        Raises
        ------
        DeviceMismatchError : the bitstream is of another configuration.
        DeviceError : a partial bitstream.
        """
        if partial:
            raise DeviceError(f"{bitfile_name}: partial bitstreams are not supported; load a whole one")
        check_bitstream(Path(bitfile_name), self.spatten)
        return describe(self.spatten)

    def download(self, bitstream: Any, parser: Metadata | None = None) -> None:
        """The core is there already, so nothing is sent; its identity is read again and must be the same."""
        check_identity(self.spatten)
        self.post_download(bitstream, parser or describe(self.spatten), self.name)


def _check_words(address: int, length: int) -> None:
    if address % 4 or length % 4:
        raise OperandError(
            f"register access of {length} bytes at {address:#x}; expected whole 32-bit words at a multiple "
            "of 4"
        )


def _span(bo: Buffer, offset: int, pointer: int, size: int) -> Buffer:
    """The bytes of a buffer that PYNQ names, which must be where PYNQ says."""
    start: int = bo.__array_interface__["data"][0] if isinstance(bo, np.ndarray) else -1
    if pointer != start + offset or not 0 <= offset <= offset + size <= bo.nbytes:
        raise DeviceError(COPY)
    return bo[offset : offset + size]
