# SPDX-License-Identifier: BSD-2-Clause
"""A system on chip without gateware: an emulator behind a bus of words, for tests of what talks to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spatten_drivers import Emulator
from spatten_drivers.devices import Bus, CsrMap
from spatten_drivers.registers import REGISTERS

MAIN_RAM, CORE = 0x4000_0000, 0x1800
SYSTEM = {"ctrl_bus_errors": 0x8, "ddrctrl_init_done": 0x800}


def csr_record(memory_bytes: int) -> dict:
    """What LiteX would write as csr.json."""
    core = {f"spatten_{w.name.lower()}": CORE + 4 * w.index for w in REGISTERS}
    return {
        "csr_registers": {
            name: {"addr": address, "size": 1, "type": "rw"} for name, address in (SYSTEM | core).items()
        },
        "csr_bases": {"ctrl": 0, "spatten": CORE},
        "constants": {"config_clock_frequency": 75000000},
        "memories": {"main_ram": {"base": MAIN_RAM, "size": memory_bytes, "type": "cached"}},
    }


class EmulatedSoc(Bus):
    """Registers and memory of an emulator at the addresses of :func:`csr_record`.

    Attributes
    ----------
    accesses : ``("read" or "write", address, words)`` so far.
    errors : what ``ctrl_bus_errors`` reads.
    ready : whether memory is initialised.
    """

    name = "emulated bus"

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.csr_map = CsrMap.from_record(csr_record(emulator.memory_bytes), "csr.json")
        self.accesses: list[tuple[str, int, int]] = []
        self.errors, self.ready, self.closed = 0, True, False

    def read(self, address: int, count: int) -> NDArray[np.uint32]:
        self.accesses.append(("read", address, count))
        if address >= MAIN_RAM:
            return self.emulator.read_memory(address - MAIN_RAM, 4 * count).view("<u4").astype(np.uint32)
        assert count == 1
        return np.array([self._register(address)], np.uint32)

    def write(self, address: int, words: NDArray[np.uint32]) -> None:
        self.accesses.append(("write", address, words.size))
        if address >= MAIN_RAM:
            self.emulator.write_memory(address - MAIN_RAM, words.astype("<u4").view(np.uint8))
        elif address >= CORE:
            self.emulator.write_word(address - CORE, int(words[0]))

    def _register(self, address: int) -> int:
        if address < CORE:
            return self.errors
        value = self.emulator.read_word(address - CORE)
        if address == self.csr_map.address("spatten_status") and not self.ready:
            return value & ~8
        return value

    def close(self) -> None:
        self.closed = True
