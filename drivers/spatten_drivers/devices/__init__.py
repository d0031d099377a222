# SPDX-License-Identifier: BSD-2-Clause
"""Devices: one abstract transport and its implementations."""

from .base import Device
from .bus import Bus
from .csr_map import CsrMap
from .discovery import check_uri, known_devices, open_device
from .emulator import Emulator
from .soc import SocDevice
from .uri import Refusal

__all__ = [
    "Bus",
    "CsrMap",
    "Device",
    "Emulator",
    "Refusal",
    "SocDevice",
    "check_uri",
    "known_devices",
    "open_device",
]
