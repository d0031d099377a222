# SPDX-License-Identifier: BSD-2-Clause
"""``MMIO``: word access to a range of registers, with the names and behaviour of PYNQ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import OperandError

if TYPE_CHECKING:
    from .devices.base import Device


class MMIO:
    """Registers from ``base_addr`` on, ``length`` bytes long, of a device."""

    def __init__(self, base_addr: int, length: int = 4, device: Device | None = None) -> None:
        if device is None:
            raise OperandError("MMIO() was given no device; pass device=open_device(...)")
        if base_addr < 0 or base_addr % 4 or length <= 0:
            raise OperandError(
                f"MMIO range {base_addr:#x} + {length}; expected a word-aligned base and a length > 0"
            )
        self.base_addr, self.length, self.device = base_addr, length, device

    def read(self, offset: int = 0, length: int = 4) -> int:
        """The 32-bit word at byte ``offset``."""
        return self.device.read_word(self._address(offset, length))

    def write(self, offset: int, data: int) -> None:
        """Write a 32-bit word at byte ``offset``."""
        if not 0 <= data < 1 << 32:
            raise OperandError(f"MMIO write of {data:#x}; expected an unsigned 32-bit word")
        self.device.write_word(self._address(offset, 4), data)

    def _address(self, offset: int, length: int) -> int:
        if length != 4 or offset % 4 or not 0 <= offset <= self.length - 4:
            raise OperandError(
                f"MMIO access of {length} bytes at offset {offset:#x}; expected 4 bytes at a multiple of 4 "
                f"below {self.length:#x}"
            )
        return self.base_addr + offset
