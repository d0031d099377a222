# SPDX-License-Identifier: BSD-2-Clause
"""``dram.json``: how a host makes a system's DRAM ready, as data that its driver reads without LiteDRAM."""

from __future__ import annotations

from typing import Any

from litedram.common import PhySettings
from litedram.init import get_sdram_phy_init_sequence

from spatten_drivers.errors import ConfigError

_CONTROL = {"SEL": 1, "CKE": 2, "ODT": 4, "RESET_N": 8}
_COMMAND = {"CS": 1, "WE": 2, "CAS": 4, "RAS": 8, "WRDATA": 16, "RDDATA": 32}
_NAMES = {f"DFII_CONTROL_{name}": bit for name, bit in _CONTROL.items()}
_NAMES |= {f"DFII_COMMAND_{name}": bit for name, bit in _COMMAND.items()}
#: Training that a PHY may need and the driver does not do.
_TRAINING = ("write_leveling", "write_dq_dqs_training", "write_latency_calibration", "is_clam_shell")


def dram_record(settings: PhySettings, timing: Any, clock: float) -> dict[str, Any]:
    """The content of ``dram.json``, see :class:`spatten_drivers.devices.litex.dram_init.Dram`.

    Parameters
    ----------
    settings : of the PHY.
    timing : of the controller, ``soc.sdram.controller.settings.timing``.
    clock : of the system, Hz.

    Raises
    ------
    ConfigError : the PHY needs a training that only LiteX's software does.
    """
    if needed := [name for name in _TRAINING if getattr(settings, name, False)]:
        raise ConfigError(
            f"{settings.phytype} needs {', '.join(needed)}, which a host does not do. Build the system with "
            "a processor, whose software does"
        )
    sequence, _ = get_sdram_phy_init_sequence(settings, timing)
    levelled = settings.read_leveling
    return {
        "phy": settings.phytype,
        "data_bits": settings.databits,
        "phases": settings.nphases,
        "read_phase": int(settings.rdphase),
        "write_phase": int(settings.wrphase),
        "bitslips": settings.bitslips if levelled else 0,
        "delays": settings.delays if levelled else 0,
        "clock_hz": clock,
        "sequence": [_step(*step) for step in sequence],
    }


def _step(what: str, address: int, bank: int, command: str, cycles: int) -> dict[str, Any]:
    kind = "control" if command.startswith("DFII_CONTROL") else "command"
    value = sum(_NAMES[name] for name in command.split("|"))
    return {"what": what, "address": address, "bank": bank, kind: value, "cycles": cycles}
