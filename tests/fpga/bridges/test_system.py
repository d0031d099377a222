# SPDX-License-Identifier: BSD-2-Clause
"""The litex device over a faulty network, with the simulated system on chip behind the bridge's model.

Registers, the queue of jobs and LiteDRAM's controller are the gateware's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spatten_drivers import Emulator
from spatten_drivers.devices.csr_map import CsrMap
from spatten_drivers.devices.litex import LitexDevice
from spatten_drivers.devices.litex.checked_bus import CheckedBus
from spatten_drivers.devices.litex.dram_init import Dram
from spatten_drivers.devices.litex.udp_link import UdpLink
from spatten_drivers.devices.verilator import SimulatedBus, Verilator, built_folder
from spatten_fpga.soc.dram_json import dram_record
from spatten_fpga.soc.simulation import BOARDS
from tests.drivers.devices.litex.bridges import EtherboneSlave, System
from tests.drivers.devices.litex.faults import Faults, FaultyNetwork
from tests.drivers.devices.litex.test_device import jobs, same

pytestmark = pytest.mark.deep


class Simulated(System):
    """The bus of the simulated system, a word at a time."""

    def __init__(self, bus: SimulatedBus) -> None:
        super().__init__()
        self.bus = bus

    def read(self, address: int) -> int:
        return int(self.bus.read(address, 1)[0])

    def write(self, address: int, value: int, enable: int = 0xF) -> None:
        self.bus.write(address, np.array([value], np.uint32))


@pytest.fixture(scope="module")
def folder() -> Path:
    return built_folder("small")


@pytest.fixture
def bus(folder: Path) -> Iterator[SimulatedBus]:
    """Of a system that has just been reset."""
    simulator = Verilator(folder)
    simulator.write_csr("ddrctrl_init_done", 0)
    yield simulator.bus
    simulator.close()


def opened(folder: Path, bus: SimulatedBus, faults: Faults, dram: Dram | None = None) -> LitexDevice:
    csr_map = CsrMap.load(folder / "csr.json")
    ram = csr_map.memory("main_ram")
    network = FaultyNetwork(EtherboneSlave(Simulated(bus), 256), faults, seed=5)
    checked = CheckedBus(UdpLink(network, 256), range(ram.base, ram.base + ram.size))
    return LitexDevice(checked, csr_map, name="simulated system", is_board=False, dram=dram, window=512)


def test_memory_made_ready_and_jobs_under_faults(folder: Path, bus: SimulatedBus) -> None:
    """LiteDRAM's sequence over the true registers, without levelling, which only a PHY of an ECP5 has."""
    board = BOARDS["small"]
    record = dram_record(board.settings, board.module.timing_settings, board.clock)
    dram = replace(Dram(**record), bitslips=0, delays=0)
    device = opened(folder, bus, Faults(loss=0.03, delay=0.03, damage=0.02, checked=True), dram)
    assert device.read_fields("STATUS")["DRAM_READY"] == 1
    assert same(jobs(device), jobs(Emulator(board.config, memory_bytes=1 << 16, kernel="numpy")))
    assert device.bus_errors == 0
    assert device.link_counts["lost"] > 50


def test_pushes_are_counted_as_the_queue_does(folder: Path, bus: SimulatedBus) -> None:
    """Jobs at an address that is refused, pushed as fast as they go, with packets lost."""
    bus.write(CsrMap.load(folder / "csr.json").address("ddrctrl_init_done"), np.array([1], np.uint32))
    device = opened(folder, bus, Faults(loss=0.1))
    for number in range(1, 41):
        assert device.push_job(1, timeout=10.0) == number
    device.wait_for_jobs(40, timeout=10.0)
    assert device.read_register("JOBS_DONE") == 40
