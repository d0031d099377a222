# SPDX-License-Identifier: BSD-2-Clause
"""Word access by PYNQ's names."""

import pytest

from spatten_drivers import MMIO, Device
from spatten_drivers.errors import OperandError
from spatten_drivers.registers import IDENTITY_MAGIC


@pytest.fixture
def mmio(device: Device) -> MMIO:
    """All registers of the core."""
    addresses = device.register_addresses.values()
    return MMIO(min(addresses), max(addresses) - min(addresses) + 4, device)


def offset(mmio: MMIO, name: str) -> int:
    return mmio.device.register_addresses[name] - mmio.base_addr


def test_read(mmio: MMIO) -> None:
    assert mmio.read(offset(mmio, "IDENTITY")) == IDENTITY_MAGIC


def test_write(mmio: MMIO) -> None:
    at = offset(mmio, "WATCHDOG")
    before = mmio.read(at)
    mmio.write(at, 0xFFFFFFFF)
    assert mmio.read(at) == 0xFFFFFFFF
    mmio.write(at, before)


@pytest.mark.parametrize(("at", "length"), [(2, 4), (-4, 4), (0, 8), (1 << 20, 4)])
def test_access_outside(mmio: MMIO, at: int, length: int) -> None:
    with pytest.raises(OperandError) as error:
        mmio.read(at, length)
    assert str(error.value) == (
        f"MMIO access of {length} bytes at offset {at:#x}; expected 4 bytes at a multiple of 4 below "
        f"{mmio.length:#x}"
    )


@pytest.mark.parametrize("data", [-1, 1 << 32])
def test_write_of_no_word(mmio: MMIO, data: int) -> None:
    with pytest.raises(OperandError) as error:
        mmio.write(0, data)
    assert str(error.value) == f"MMIO write of {data:#x}; expected an unsigned 32-bit word"


@pytest.mark.parametrize(("base", "length"), [(2, 4), (-4, 4), (0, 0)])
def test_a_range_that_is_none(device: Device, base: int, length: int) -> None:
    with pytest.raises(OperandError) as error:
        MMIO(base, length, device)
    assert str(error.value) == (
        f"MMIO range {base:#x} + {length}; expected a word-aligned base and a length > 0"
    )


def test_a_device_must_be_given() -> None:
    with pytest.raises(OperandError) as error:
        MMIO(0)
    assert str(error.value) == "MMIO() was given no device; pass device=open_device(...)"
