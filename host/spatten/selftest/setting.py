# SPDX-License-Identifier: BSD-2-Clause
"""What `spatten plan` must know of a device."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatten_drivers import Device
from spatten_drivers.devices import SocDevice

from ..plan import BOARDS


@dataclass(frozen=True)
class Setting:
    """What stands around the core: a board's memory, and the clock of the system in Hz."""

    board: str
    clock: float

    def __str__(self) -> str:
        return f"{self.board} at {self.clock / 1e6:g} MHz"


def setting_of(device: Device) -> Setting | None:
    """By the manifest beside the register map, a bitstream's or a simulator's; ``None`` if none tells."""
    if not isinstance(device, SocDevice):
        return None
    record = _manifest(Path(device.csr_map.source).with_name("manifest.json"))
    board = str(record.get("board", ""))
    clock = record.get("clock_hz", device.csr_map.constants.get("config_clock_frequency"))
    return Setting(board, float(clock)) if board in BOARDS and clock else None


def _manifest(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
