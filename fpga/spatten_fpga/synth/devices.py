# SPDX-License-Identifier: BSD-2-Clause
"""The FPGAs that presets are made for: what they have, and how much of it the core may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """A chip, and the limits of the core on it.

    Attributes
    ----------
    name : of the chip, without package and speed grade.
    options : of nextpnr-ecp5: chip, package, speed grade.
    luts, ebrs, mults : 4-input look-up tables, block RAMs of 18 kbit, 18 x 18 multipliers it has.
    lut_limit, ebr_limit, mult_limit : most that the core may take.
    freq : MHz that the core must reach, 0 if nothing is asked.
    """

    name: str
    options: tuple[str, ...]
    luts: int
    ebrs: int
    mults: int
    lut_limit: int
    ebr_limit: int
    mult_limit: int
    freq: float


#: The ECPIX-5's chip, with room left for DDR3, CPU and Ethernet.
_ECPIX5 = Device(
    name="LFE5UM5G-85F",
    options=("--um5g-85k", "--package", "CABGA554", "--speed", "8"),
    luts=83_640,
    ebrs=208,
    mults=156,
    lut_limit=50_184,
    ebr_limit=150,
    mult_limit=156,
    freq=90,
)
_SMALLEST = Device(
    name="LFE5U-25F",
    options=("--25k", "--package", "CABGA381", "--speed", "6"),
    luts=24_288,
    ebrs=56,
    mults=28,
    lut_limit=24_288,
    ebr_limit=56,
    mult_limit=28,
    freq=0,
)

#: By preset.
DEVICES = {
    "ecp5-85f": _ECPIX5,
    "ecp5-85f-slim": _ECPIX5,
    "ecp5-25f": _SMALLEST,
    "ecp5-25f-slim": _SMALLEST,
}
