# SPDX-License-Identifier: BSD-2-Clause
"""A board in Python: the emulator's core and memory behind the registers of a LiteX system, and its DRAM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from spatten_drivers import Emulator
from spatten_drivers.devices.csr_map import CsrMap
from spatten_drivers.devices.litex.dram_init import ACTIVATE, PRECHARGE, READ, SOFTWARE, WRITE, Dram
from spatten_drivers.registers import REGISTERS
from tests.drivers.devices.litex.bridges import RAM, System

CORE = 0x2000
IDENTIFIER = 0x1800
DRAM = Dram(
    phy="ECP5DDRPHY",
    data_bits=16,
    phases=2,
    read_phase=1,
    write_phase=0,
    bitslips=4,
    delays=8,
    clock_hz=75e6,
    sequence=[
        {"what": "Release reset", "address": 0, "bank": 0, "control": 12, "cycles": 50000},
        {"what": "Bring CKE high", "address": 0, "bank": 0, "control": 14, "cycles": 10000},
        {"what": "Load Mode Register 2", "address": 512, "bank": 2, "command": 15, "cycles": 0},
        {"what": "Load Mode Register 3", "address": 0, "bank": 3, "command": 15, "cycles": 0},
        {"what": "Load Mode Register 1", "address": 6, "bank": 1, "command": 15, "cycles": 0},
        {"what": "Load Mode Register 0", "address": 800, "bank": 0, "command": 15, "cycles": 200},
        {"what": "ZQ Calibration", "address": 1024, "bank": 0, "command": 3, "cycles": 200},
    ],
)


class MockPhy:
    """An ECP5's DDR3 interface as its registers show it, and a DRAM that answers in some settings only.

    Parameters
    ----------
    windows : by lane, the ``(bitslip, delay)`` in which it reads right.
    blind : lanes whose bursts are never seen, though the data is right.
    """

    def __init__(self, windows: list[set[tuple[int, int]]], blind: Iterable[int] = ()) -> None:
        self.windows, self.blind = windows, set(blind)
        self.registers: Counter[str] = Counter()
        self.bitslip, self.delay = [0] * len(windows), [0] * len(windows)
        self.modes: dict[int, int] = {}
        self.row_open = self.in_step = False
        self.cell = [0, 0]
        self.burst_seen = 0

    def read(self, name: str) -> int:
        return self.burst_seen if name == "ddrphy_burstdet_seen" else self.registers[name]

    def write(self, name: str, value: int) -> None:
        self.registers[name] = value
        if name.endswith("command_issue"):
            self._command(int(name[len("sdram_dfii_pi")]))
        elif name == "ddrphy_burstdet_clr":
            self.burst_seen = 0
        elif name == "ddrphy_dly_sel":
            self.in_step = value == 0
        elif name.startswith("ddrphy_rdly"):
            self._adjust(name)

    def _adjust(self, name: str) -> None:
        self.in_step = False
        for lane in range(len(self.windows)):
            if not self.registers["ddrphy_dly_sel"] >> lane & 1:
                continue
            if name == "ddrphy_rdly_dq_rst":
                self.delay[lane] = 0
            elif name == "ddrphy_rdly_dq_inc":
                self.delay[lane] = (self.delay[lane] + 1) % 8
            elif name == "ddrphy_rdly_dq_bitslip_rst":
                self.bitslip[lane] = 0
            else:
                self.bitslip[lane] = (self.bitslip[lane] + 1) % 4

    def _command(self, phase: int) -> None:
        assert self.registers["sdram_dfii_control"] == SOFTWARE
        command = self.registers[f"sdram_dfii_pi{phase}_command"]
        if command == 15:
            bank = self.registers["sdram_dfii_pi0_baddress"]
            self.modes[bank] = self.registers["sdram_dfii_pi0_address"]
        elif command == ACTIVATE:
            assert sorted(self.modes) == [0, 1, 2, 3]
            self.row_open = True
        elif command == PRECHARGE:
            self.row_open = False
        elif command == WRITE:
            assert (self.row_open, phase) == (True, DRAM.write_phase)
            self.cell = [self.registers[f"sdram_dfii_pi{i}_wrdata"] for i in range(2)]
        elif command == READ:
            assert (self.row_open, phase, self.in_step) == (True, DRAM.read_phase, True)
            self._read_burst()

    def _read_burst(self) -> None:
        data = list(self.cell)
        for lane, window in enumerate(self.windows):
            setting = (self.bitslip[lane], self.delay[lane])
            if lane not in self.blind and any(setting[1] == delay for _, delay in window):
                self.burst_seen |= 1 << lane
            if setting not in window:
                data = [word ^ (0x5A << 8 * lane | 0x11 << 32 + 8 * lane) for word in data]
        for phase, word in enumerate(data):
            self.registers[f"sdram_dfii_pi{phase}_rddata"] = word


class Board(System):
    """The system on the bus.

    Parameters
    ----------
    emulator : its core and memory.
    phy : if memory is not initialised at first.
    """

    WIDE = ("wrdata", "rddata")
    NAME = "SpAtten, a mock board"

    def __init__(self, emulator: Emulator, phy: MockPhy | None = None) -> None:
        super().__init__()
        self.emulator, self.phy = emulator, phy
        self.stuck_bits = 0  # of every word of memory
        self.names = ["ctrl_bus_errors", "ddrctrl_init_done", "ddrctrl_init_error", "sdram_dfii_control"]
        for phase in range(2):
            kinds = ("command", "command_issue", "address", "baddress", *self.WIDE)
            self.names += [f"sdram_dfii_pi{phase}_{kind}" for kind in kinds]
        strobes = ("rdly_dq_rst", "rdly_dq_inc", "rdly_dq_bitslip_rst", "rdly_dq_bitslip")
        self.names += [f"ddrphy_{name}" for name in ("dly_sel", *strobes, "burstdet_clr", "burstdet_seen")]
        self.values: Counter[str] = Counter(ddrctrl_init_done=int(phy is None))

    @property
    def csr_map(self) -> CsrMap:
        return CsrMap.from_record(self.record, "csr.json of the mock board")

    @property
    def record(self) -> dict[str, Any]:
        """As LiteX would write it."""
        registers = {f"spatten_{w.name.lower()}": {"addr": CORE + 4 * w.index, "size": 1} for w in REGISTERS}
        for i, name in enumerate(self.names):
            registers[name] = {"addr": CORE + 0x800 + 16 * i, "size": 2 if name.endswith(self.WIDE) else 1}
        ram = {"base": RAM, "size": self.emulator.memory_bytes, "type": "cached"}
        constants: dict[str, Any] = {"config_cpu_type_none": None, "spatten_etherbone_depth": 64}
        constants["config_identifier"] = self.NAME.lower()
        return {
            "csr_bases": {"spatten": CORE, "identifier_mem": IDENTIFIER},
            "csr_registers": registers,
            "constants": constants,
            "memories": {"main_ram": ram},
        }

    def read(self, address: int) -> int:
        if RAM <= address < RAM + self.emulator.memory_bytes:
            word = int(self.emulator.read_memory(address - RAM, 4).view("<u4")[0])
            return word | self.stuck_bits
        if CORE <= address < CORE + 4 * len(REGISTERS):
            return self._read_core(address - CORE)
        if 0 <= address - IDENTIFIER < 4 * 64:
            return (self.NAME.encode() + bytes(64))[(address - IDENTIFIER) // 4]
        if (found := self._named(address)) is None:
            return super().read(address)
        name, word_of = found
        if name == "ctrl_bus_errors":
            return self.bus_errors
        value = self.phy.read(name) if self.phy and not name.startswith("ddrctrl") else self.values[name]
        return value >> 32 * word_of & 0xFFFFFFFF

    def write(self, address: int, value: int, enable: int = 0xF) -> None:
        if RAM <= address < RAM + self.emulator.memory_bytes:
            self.emulator.write_memory(address - RAM, np.array([value], "<u4").view(np.uint8))
        elif CORE <= address < CORE + 4 * len(REGISTERS):
            self.emulator.write_word(address - CORE, value)
        elif (found := self._named(address)) is None:
            super().write(address, value, enable)
        else:
            name, word_of = found
            old = self.values[name] & ~(0xFFFFFFFF << 32 * word_of)
            self.values[name] = old | value << 32 * word_of
            if self.phy and not name.startswith("ddrctrl") and word_of == 0:
                self.phy.write(name, self.values[name])

    def _read_core(self, offset: int) -> int:
        value = self.emulator.read_word(offset)
        ready = self.values["ddrctrl_init_done"] and not self.values["ddrctrl_init_error"]
        is_status = offset == self.emulator.register_addresses["STATUS"]
        return value & ~8 if is_status and not ready else value

    def _named(self, address: int) -> tuple[str, int] | None:
        """Name of a register and which word of it from the right: the most significant one comes first."""
        index, offset = divmod(address - CORE - 0x800, 16)
        if not 0 <= index < len(self.names):
            return None
        name = self.names[index]
        return name, (1 if name.endswith(self.WIDE) else 0) - offset // 4


class BoardWithSoftware(Board):
    """One with a processor, whose software makes memory ready a second after it is let go, as LiteX's BIOS.

    A third of a second after its start the software takes back what the last start said of memory, as the
    BIOS does once it has greeted and checked its ROM.

    Parameters
    ----------
    emulator : as of a board.
    verdicts : whether memory is good, of one start after the other; the first is at power-on.

    Attributes
    ----------
    now : seconds since power-on; whoever waits calls ``sleep``.
    """

    CONSOLE, CONSOLE_BYTES = 0x6000_0000, 32
    BEGINS, ENDS = 0.3, 1.0

    def __init__(self, emulator: Emulator, *verdicts: bool) -> None:
        super().__init__(emulator)
        self.names += ["ctrl_reset", "console_count"]
        self.values["ddrctrl_init_done"] = 0
        self.now, self.started, self.verdicts, self.printed = 0.0, 0.0, list(verdicts), b""

    @property
    def record(self) -> dict[str, Any]:
        record = super().record
        del record["constants"]["config_cpu_type_none"]
        record["constants"]["config_cpu_type_serv"] = None
        record["memories"]["console"] = {"base": self.CONSOLE, "size": self.CONSOLE_BYTES, "type": "io"}
        return record

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        runs = self.now - self.started
        if self.values["ctrl_reset"] or not self.verdicts or runs < self.BEGINS:
            return
        self.values |= {"ddrctrl_init_done": 0, "ddrctrl_init_error": 0}
        if runs >= self.ENDS:
            good = self.verdicts.pop(0)
            self.printed += b"Memtest OK\n" if good else b"Memtest KO\n"
            self.values |= {"ddrctrl_init_done": 1, "ddrctrl_init_error": int(not good)}

    def read(self, address: int) -> int:
        if 0 <= address - self.CONSOLE < self.CONSOLE_BYTES:
            return int.from_bytes(self.printed[address - self.CONSOLE :][:4].ljust(4, b"\0"), "little")
        self.values["console_count"] = len(self.printed)
        return super().read(address)

    def write(self, address: int, value: int, enable: int = 0xF) -> None:
        super().write(address, value, enable)
        found = self._named(address)
        if found is not None and found[0] == "ctrl_reset":
            self.started = self.now
