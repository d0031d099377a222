# SPDX-License-Identifier: BSD-2-Clause
"""Devices: one abstract transport and its implementations."""

from .base import Device
from .discovery import Refusal, known_devices, open_device
from .emulator import Emulator

__all__ = ["Device", "Emulator", "Refusal", "known_devices", "open_device"]
