# SPDX-License-Identifier: BSD-2-Clause
"""Devices of ours in PYNQ's list."""

from __future__ import annotations

from typing import Any

import pytest

from spatten_drivers import Emulator
from spatten_drivers.errors import DeviceError, DeviceMismatchError
from spatten_drivers.pynq_bridge import attach, attached, detach

pynq = pytest.importorskip("pynq")


def test_attached_devices_are_pynqs(device: Emulator) -> None:
    view = attach(device)
    assert isinstance(view, pynq.Device)
    assert pynq.Device.devices == attached() == [view]
    assert pynq.Device.active_device is view
    other = Emulator(memory_bytes=1 << 16)
    second = attach(other)
    assert pynq.Device.devices == [view, second]
    assert pynq.Device.active_device is second
    assert view.tag != second.tag
    assert view.name == "emulator"
    assert repr(second) == f"<pynq.Device {second.tag}: {other}>"


def test_detach(device: Emulator) -> None:
    view = attach(device)
    other = Emulator(memory_bytes=1 << 16)
    attach(other)
    detach(other)
    assert pynq.Device.devices == [view]
    assert pynq.Device.active_device is view
    detach(device)
    assert pynq.Device.devices == []
    with pytest.raises(RuntimeError, match="No Devices Found"):
        _ = pynq.Device.active_device
    assert attach(device).spatten is device


def test_a_device_that_is_attached_already(device: Emulator) -> None:
    attach(device)
    with pytest.raises(DeviceError) as error:
        attach(device)
    assert str(error.value) == (f"{device} is attached already; detach() it first, or attach another device")
    assert len(attached()) == 1


def test_a_device_that_is_not_attached(device: Emulator) -> None:
    with pytest.raises(DeviceError) as error:
        detach(device)
    assert str(error.value) == f"{device} is not attached; attach() it first"


def test_a_device_that_is_not_what_it_was(device: Emulator) -> None:
    """Somebody loaded another bitstream since it was opened."""
    device._set("CONFIG_DIGEST_HI", 1)
    device._set("MEMORY_BYTES", 64)
    with pytest.raises(DeviceMismatchError) as error:
        attach(device)
    assert str(error.value) == (
        "emulator is not the device that was opened: CONFIG_DIGEST_HI reads 0x1, was opened as "
        f"{device.config.digest >> 32:#x}; MEMORY_BYTES reads 0x40, was opened as 0x100000. Open it again "
        "after another bitstream was loaded"
    )
    assert attached() == []


def test_the_list_that_pynq_makes_itself(device: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYNQ looks for devices when it is first asked; what was attached before is found."""
    monkeypatch.delattr(pynq.Device, "_devices", raising=False)
    view: Any = attach(device)
    assert pynq.Device.devices == [view]


def test_numpy_too_new(device: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numpy.__version__", "2.4.6")
    with pytest.raises(
        DeviceError, match=r"^package pynq needs NumPy below 2, and this environment has 2.4.6;"
    ):
        attach(device)
