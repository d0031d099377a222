# SPDX-License-Identifier: BSD-2-Clause
"""`Overlay`, `MMIO` and `register_map` of PYNQ on a device of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatten_drivers import Accelerator, AcceleratorConfig, Device, Emulator, Quantization
from spatten_drivers.errors import DeviceError, DeviceMismatchError, DeviceTimeoutError, OperandError
from spatten_drivers.overlay import CORE_TYPE
from spatten_drivers.pynq_bridge import attach
from spatten_drivers.registers import IDENTITY_MAGIC, REGISTERS
from tests.drivers.floats import layer

pynq = pytest.importorskip("pynq")


@pytest.fixture
def overlay(view: Any, bitstream: str) -> Any:
    """A PYNQ overlay on the attached device."""
    return pynq.Overlay(bitstream)


def test_numpy_is_the_one_that_pynq_needs() -> None:
    """This run is the proof that the driver works below NumPy 2."""
    assert np.__version__.startswith("1.26.")


def test_overlay(overlay: Any, device: Device) -> None:
    assert overlay.is_loaded()
    assert list(overlay.ip_dict) == ["spatten"]
    block = overlay.ip_dict["spatten"]
    assert block["type"] == CORE_TYPE
    assert block["parameters"] == device.config.to_dict()
    assert list(block["registers"]) == [word.name for word in REGISTERS]
    assert block["registers"]["JOB_PUSH"]["access"] == "write-only"
    assert overlay.mem_dict["memory"]["size"] == device.memory_bytes
    assert "spatten              : pynq.overlay.DefaultIP" in overlay.__doc__
    assert "spatten" in dir(overlay)


def test_a_hwh_file_is_not_read(view: Any, bitstream: str) -> None:
    """The device says all that one would: registers are those that it has, not those of some build."""
    Path(bitstream).with_suffix(".hwh").write_text("no XML")
    assert list(pynq.Overlay(bitstream).ip_dict["spatten"]["registers"]) == [word.name for word in REGISTERS]


def test_register_map(overlay: Any, device: Device) -> None:
    registers = overlay.spatten.register_map
    assert int(registers.IDENTITY) == IDENTITY_MAGIC
    assert registers.STATUS.IDLE == registers.STATUS.DRAM_READY == 1
    assert device.config.beat_bytes == registers.CAPABILITY_2.BEAT_BYTES
    registers.WATCHDOG = 1234
    assert device.read_register("WATCHDOG") == 1234
    registers.CONTROL.IRQ_ENABLE = 1
    assert device.read_fields("CONTROL") == {"ABORT": 0, "CLEAR_ERROR": 0, "IRQ_ENABLE": 1}
    with pytest.raises(AttributeError, match="STATUS"):
        registers.STATUS = 0
    with pytest.raises(AttributeError, match="IDLE"):
        registers.STATUS.IDLE = 0
    for word in REGISTERS:
        assert f"  {word.name} = Register(" in repr(registers)


def test_every_register_reads_what_the_device_says(overlay: Any, device: Device) -> None:
    for word in REGISTERS:
        if word.access != "wo":
            register = getattr(overlay.spatten.register_map, word.name)
            assert {f.name: getattr(register, f.name) for f in word.fields} == device.read_fields(word.name)


def test_mmio(view: Any, device: Device) -> None:
    mmio = pynq.MMIO(0, 4 * len(REGISTERS))
    watchdog = device.register_addresses["WATCHDOG"]
    mmio.write(watchdog, 5)
    assert mmio.read(watchdog) == 5
    mmio.write(watchdog, (77).to_bytes(4, "little"))
    assert mmio.array[watchdog // 4] == 77
    assert list(mmio.array[:2]) == [IDENTITY_MAGIC, device.read_register("ABI_VERSION")]
    assert mmio.read(0, 8) == IDENTITY_MAGIC | device.read_register("ABI_VERSION") << 32


def test_mmio_where_no_register_is(view: Any) -> None:
    with pytest.raises(OperandError, match=r"^no register at address 0x43c00000; expected 0 to 0x3c by 4$"):
        pynq.MMIO(0x43C00000, 4).read(0)
    with pytest.raises(OperandError) as error:
        view.read_registers(0, 2)
    assert str(error.value) == (
        "register access of 2 bytes at 0x0; expected whole 32-bit words at a multiple of 4"
    )
    with pytest.raises(IndexError):
        pynq.MMIO(0, 64).read(64)


def test_a_driver_bound_by_type(view: Any, bitstream: str) -> None:
    class Core(pynq.DefaultIP):
        bindto = (CORE_TYPE,)

        def lanes(self) -> int:
            return int(self.register_map.CAPABILITY_0.LANES)

    try:
        core = pynq.Overlay(bitstream).spatten
        assert type(core) is Core
        assert core.lanes() == view.spatten.config.lanes
    finally:
        Core.unregister()


def test_a_bitstream_that_is_not_there(view: Any) -> None:
    with pytest.raises(OSError, match=r"^Bitstream file missing.bit does not exist\.$"):
        pynq.Overlay("missing.bit")


def test_a_bitstream_of_another_configuration(view: Any, bitstream: str, device: Device) -> None:
    """The manifest beside it says what it was built for."""
    other = AcceleratorConfig(lanes=32, max_heads=8)
    manifest = Path(bitstream).with_name("manifest.json")
    manifest.write_text(json.dumps({"config": other.to_dict()}))
    with pytest.raises(DeviceMismatchError) as error:
        pynq.Overlay(bitstream)
    assert str(error.value) == (
        f"spatten.bit (config {other.digest:016x}) is not for {device}: lanes is 32 in the bitstream and 64 "
        "on the device; max_heads is 8 in the bitstream and 16 on the device. Attach a device of the "
        "bitstream's configuration"
    )
    manifest.write_text(json.dumps({"config": device.config.to_dict()}))
    assert pynq.Overlay(bitstream).is_loaded()


def test_a_device_that_changed_behind_us(view: Any, bitstream: str, device: Emulator) -> None:
    device._set("CONFIG_DIGEST_LO", 5)
    with pytest.raises(DeviceMismatchError, match="CONFIG_DIGEST_LO reads 0x5, was opened as 0x"):
        pynq.Overlay(bitstream)


def test_partial_bitstreams(view: Any, bitstream: str) -> None:
    with pytest.raises(DeviceError, match=r"spatten.bit: partial bitstreams are not supported; load a whole"):
        view.get_bitfile_metadata(bitstream, partial=True)


def test_jobs_pushed_through_pynq_and_by_our_driver_are_counted_together(
    overlay: Any, device: Device
) -> None:
    driver, data = Accelerator(device), layer(device, Quantization.static(8), tokens=4)
    first = driver.attend(data.sequence, data.request())
    ticket = driver.submit(data.sequence, data.request())
    overlay.spatten.register_map.JOB_PUSH = 0xFFFFFFF0  # ends with an error, and counts
    last = driver.submit(data.sequence, data.request())
    for result in (driver.wait(ticket), driver.wait(last)):
        assert result.output.tobytes() == first.output.tobytes()
    assert int(overlay.spatten.register_map.JOBS_DONE) == 4
    assert overlay.spatten.register_map.JOB_ERROR.CODE == 2


def test_a_full_queue_of_a_hanging_device(bitstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spatten_drivers.pynq_bridge.device.PUSH_SECONDS", 0.05)
    device = Emulator(memory_bytes=1 << 16, hang=True)
    attach(device)
    registers = pynq.Overlay(bitstream).spatten.register_map
    for _ in range(device.config.job_queue_depth):
        registers.JOB_PUSH = 0
    with pytest.raises(DeviceTimeoutError, match=r"^emulator: job 1 not done within 0.05 s"):
        registers.JOB_PUSH = 0
    registers.CONTROL.ABORT = 1
    assert registers.STATUS.IDLE == 1
