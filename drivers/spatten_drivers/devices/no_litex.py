# SPDX-License-Identifier: BSD-2-Clause
"""Boards behind a LiteX link: not in this release."""

from __future__ import annotations

import os
from urllib.parse import SplitResult

from ..errors import DeviceError
from .base import Device
from .uri import Refusal


def probe() -> Refusal | str:
    """Why no LiteX board can be opened."""
    if "SPATTEN_BOARD" in os.environ:
        return Refusal(
            "litex", f"SPATTEN_BOARD={os.environ['SPATTEN_BOARD']}: this release has no LiteX link yet"
        )
    return Refusal("litex", "no LiteX link in this release")


def open_uri(parts: SplitResult, kernel: str) -> Device:
    """Refuses."""
    raise DeviceError("this release has no LiteX link yet; use verilator or emulator")
