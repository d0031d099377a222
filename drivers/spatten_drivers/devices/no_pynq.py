# SPDX-License-Identifier: BSD-2-Clause
"""Zynq boards: not in this release."""

from __future__ import annotations

import importlib.util
from urllib.parse import SplitResult

from ..errors import DeviceError
from .base import Device
from .uri import Refusal


def probe() -> Refusal | str:
    """Why no Zynq board can be opened."""
    if importlib.util.find_spec("pynq") is None:
        return Refusal("pynq", "package pynq is not installed")
    return Refusal("pynq", "no Zynq bitstream ships with this release")


def open_uri(parts: SplitResult, kernel: str) -> Device:
    """Refuses."""
    raise DeviceError("no Zynq bitstream ships with this release; use verilator or emulator")
