# SPDX-License-Identifier: BSD-2-Clause
"""``attach`` and ``detach``: an open device among PYNQ's devices."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ..devices.base import Device
from ..errors import DeviceError
from .environment import import_pynq
from .identity import check_identity

if TYPE_CHECKING:
    from .device import SpattenDevice

_numbers = itertools.count()


def attach(device: Device) -> SpattenDevice:
    """Make an open device one of PYNQ's, and the active one, which PYNQ takes where it is given none.

    Returns
    -------
    The ``pynq.Device``; give it as ``device`` or ``target`` where several are attached.

    Raises
    ------
    DeviceError : pynq is not there or NumPy too new for it, or the device is attached already.
    DeviceMismatchError : the identity registers differ from what the device was opened as.
    """
    pynq = import_pynq()
    from .device import SpattenDevice

    if any(other.spatten is device for other in SpattenDevice.attached):
        raise DeviceError(f"{device} is attached already; detach() it first, or attach another device")
    check_identity(device)
    view = SpattenDevice(device, f"spatten{next(_numbers)}")
    SpattenDevice.attached.append(view)
    if hasattr(pynq.Device, "_devices"):  # PYNQ looks once; later comers are added by hand
        pynq.Device._devices.append(view)
    pynq.Device.active_device = view
    return view


def detach(device: Device) -> None:
    """Take a device out of PYNQ's list again. It stays open, and so do its buffers.

    Raises
    ------
    DeviceError : it was not attached.
    """
    pynq = import_pynq()
    from .device import SpattenDevice

    view = next((view for view in SpattenDevice.attached if view.spatten is device), None)
    if view is None:
        raise DeviceError(f"{device} is not attached; attach() it first")
    SpattenDevice.attached.remove(view)
    if view in getattr(pynq.Device, "_devices", []):
        pynq.Device._devices.remove(view)
    if getattr(pynq.Device, "_active_device", None) is view:
        del pynq.Device._active_device


def attached() -> list[SpattenDevice]:
    """The attached devices in the order in which they came."""
    import_pynq()
    from .device import SpattenDevice

    return list(SpattenDevice.attached)
