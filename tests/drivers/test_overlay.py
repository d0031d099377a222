# SPDX-License-Identifier: BSD-2-Clause
"""A device as PYNQ users see a bitstream."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spatten_drivers import DefaultIP, Device, Overlay
from spatten_drivers.errors import DeviceError
from spatten_drivers.overlay import CORE_TYPE
from spatten_drivers.registers import IDENTITY_MAGIC, REGISTERS


@pytest.fixture
def no_new_drivers() -> Iterator[None]:
    """Forgets drivers that a test has bound."""
    before = dict(DefaultIP._drivers)
    yield
    DefaultIP._drivers.clear()
    DefaultIP._drivers.update(before)


def test_ip_dict(device: Device) -> None:
    block = Overlay(device=device).ip_dict["spatten"]
    assert block["type"] == CORE_TYPE == "spatten:core:1.0"
    assert block["driver"] is DefaultIP
    assert list(block["registers"]) == [word.name for word in REGISTERS]
    control = block["registers"]["CONTROL"]
    assert control["access"] == "rw"
    assert control["fields"]["CLEAR_ERROR"] == {
        "bit_offset": 1,
        "bit_width": 1,
        "description": "Write 1: clear JOB_ERROR and STATUS.ERROR. Clears itself.",
    }
    for name, register in block["registers"].items():
        assert block["phys_addr"] + register["address_offset"] == device.register_addresses[name]
        assert register["address_offset"] < block["addr_range"]


def test_the_core_by_its_name(device: Device) -> None:
    overlay = Overlay(device=device)
    assert overlay.is_loaded()
    assert overlay.spatten is overlay.spatten
    assert int(overlay.spatten.register_map.IDENTITY) == IDENTITY_MAGIC
    registers = overlay.ip_dict["spatten"]["registers"]
    assert overlay.spatten.read(registers["IDENTITY"]["address_offset"]) == IDENTITY_MAGIC
    watchdog = registers["WATCHDOG"]["address_offset"]
    before = overlay.spatten.read(watchdog)
    overlay.spatten.write(watchdog, 77)
    assert overlay.spatten.register_map.WATCHDOG.WATCHDOG == 77
    overlay.spatten.write(watchdog, before)


@pytest.mark.usefixtures("no_new_drivers")
def test_a_driver_bound_to_the_core_is_used(device: Device) -> None:
    class Core(DefaultIP):
        bindto = (CORE_TYPE,)

        def jobs_done(self) -> int:
            return int(self.register_map.JOBS_DONE)

    class Other(DefaultIP):
        bindto = ("vendor:other:1.0",)

    core = Overlay(device=device).spatten
    assert type(core) is Core
    assert core.jobs_done() == device.read_register("JOBS_DONE")


def test_no_such_block(device: Device) -> None:
    with pytest.raises(AttributeError, match=r"^overlay has no IP 'dma'; it has \['spatten'\]$"):
        _ = Overlay(device=device).dma


def test_a_bitstream_that_is_not_there(device: Device, tmp_path: Path) -> None:
    missing = tmp_path / "missing.bit"
    with pytest.raises(DeviceError) as error:
        Overlay(missing, device=device)
    assert str(error.value) == f"bitstream {str(missing)!r} does not exist; expected the path of a .bit file"
    missing.write_bytes(b"")
    assert Overlay(missing, device=device).bitfile_name == missing


def test_a_device_must_be_given() -> None:
    with pytest.raises(DeviceError) as error:
        Overlay("spatten.bit")
    assert str(error.value) == "Overlay() was given no device; pass device=open_device(...)"
