# SPDX-License-Identifier: BSD-2-Clause
"""A system on chip behind a bus, as the driver sees it; an emulator answers."""

from __future__ import annotations

import numpy as np
import pytest

from spatten_drivers import Accelerator, Emulator, Quantization
from spatten_drivers.devices import SocDevice
from spatten_drivers.errors import DeviceError, DeviceMemoryError, DeviceMismatchError, DeviceTimeoutError
from tests.drivers.devices.soc_bus import MAIN_RAM, EmulatedSoc
from tests.drivers.floats import layer

BYTES = 8 << 20
RULES = Quantization.progressive(6, 4, 0.3)


def opened(bus: EmulatedSoc) -> SocDevice:
    return SocDevice(bus, bus.csr_map, name="board", is_board=True)


@pytest.fixture
def bus() -> EmulatedSoc:
    return EmulatedSoc(Emulator(memory_bytes=BYTES))


def test_a_job_gives_what_the_emulator_gives(bus: EmulatedSoc) -> None:
    device, emulator = opened(bus), Emulator(memory_bytes=BYTES)
    results = []
    for each in (device, emulator):
        data = layer(each, RULES)
        results.append(Accelerator(each).attend(data.sequence, data.request(keep_tokens=5)).answer)
    assert results[0].differences(results[1]) == []
    assert device.is_board
    assert str(device) == f"board (config {emulator.config.digest:016x})"


@pytest.mark.parametrize("address", range(8))
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 13])
def test_any_range_of_bytes(bus: EmulatedSoc, address: int, size: int) -> None:
    """Its neighbours stay as they are."""
    device = opened(bus)
    expected = np.random.default_rng(1).integers(0, 256, 32, np.uint8)
    device.write_memory(0, expected)
    expected = expected.copy()
    expected[address : address + size] = np.arange(100, 100 + size)
    device.write_memory(address, expected[address : address + size])
    assert device.read_memory(0, 32).tolist() == expected.tolist()
    assert device.read_memory(address, size).tolist() == expected[address : address + size].tolist()


def test_whole_words_are_written_without_reading(bus: EmulatedSoc) -> None:
    device = opened(bus)
    bus.accesses.clear()
    device.write_memory(64, np.zeros(16, np.uint8))
    assert bus.accesses == [("write", MAIN_RAM + 64, 4)]


def test_rows(bus: EmulatedSoc) -> None:
    """Those without gaps in one go, others one by one."""
    device, rows = opened(bus), np.arange(48, dtype=np.uint8).reshape(3, 16)
    bus.accesses.clear()
    device.write_rows(0, 16, rows)
    device.write_rows(64, 32, rows)
    assert [count for _, _, count in bus.accesses] == [12, 4, 4, 4]
    assert device.read_memory(0, 48).tolist() == rows.reshape(-1).tolist()
    assert device.read_memory(96, 16).tolist() == rows[1].tolist()


@pytest.mark.parametrize(("address", "size"), [(-4, 4), (BYTES - 2, 4), (BYTES, 1)])
def test_memory_ends(bus: EmulatedSoc, address: int, size: int) -> None:
    device = opened(bus)
    for access in (
        lambda: device.read_memory(address, size),
        lambda: device.write_memory(address, np.zeros(size, np.uint8)),
    ):
        with pytest.raises(DeviceMemoryError, match=f"access of {size} bytes at .*; device memory ends at"):
            access()


def test_memory_that_is_not_ready(bus: EmulatedSoc) -> None:
    bus.ready = False
    with pytest.raises(DeviceError) as error:
        opened(bus)
    assert str(error.value) == (
        "board: device memory is not initialised (STATUS.DRAM_READY is 0, bus errors since opening: 0). "
        "Initialise and test it first, or reset the board"
    )
    assert bus.closed


def test_memory_that_can_be_made_ready(bus: EmulatedSoc) -> None:
    class Initialising(SocDevice):
        def initialise_memory(self) -> None:
            bus.ready = True

    bus.ready = False
    Initialising(bus, bus.csr_map, name="board", is_board=True)
    assert bus.ready


def test_a_map_of_a_smaller_memory(bus: EmulatedSoc) -> None:
    bus.csr_map = EmulatedSoc(Emulator(memory_bytes=BYTES // 2)).csr_map
    with pytest.raises(DeviceMismatchError, match=r"MEMORY_BYTES is 0x800000, but main_ram of csr\.json has"):
        opened(bus)


def test_jobs_that_an_earlier_program_left(bus: EmulatedSoc) -> None:
    """They are dropped, counted and forgotten."""
    bus.emulator._hang = True
    bus.emulator.write_register("JOB_PUSH", 0)
    device = opened(bus)
    assert not bus.emulator._queue
    assert device.read_register("JOBS_DONE") == 1
    assert device.read_register("JOB_ERROR") == 0
    bus.emulator._hang = False
    data = layer(device, RULES)
    Accelerator(device).attend(data.sequence, data.request())


def test_a_wait_that_fails_tells_of_the_bus(bus: EmulatedSoc) -> None:
    bus.errors = 7
    device = opened(bus)
    bus.emulator._hang = True
    number = device.push_job(0, 1.0)
    bus.errors = 9
    with pytest.raises(DeviceTimeoutError, match=r"not done within 0.01 s: .*\. Bus errors since opening: 2"):
        device.wait_for_jobs(number, 0.01)
