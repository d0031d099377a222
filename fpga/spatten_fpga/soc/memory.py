# SPDX-License-Identifier: BSD-2-Clause
"""DRAM chips of the boards, with the time of a refresh as their data sheets have it: in nanoseconds.

LiteDRAM has that time of DDR3 in clocks of the fastest grade. A board that runs at a fifth of that clock
would spend five times as long in each refresh as the chip needs: 18 % of all cycles of the ECPIX-5, not 3 %.
"""

from __future__ import annotations

from litedram import modules
from litedram.modules import AS4C32M16, IS42S16160, M12L64322A, MT48LC16M16

__all__ = ["AS4C32M16", "IS42S16160", "M12L64322A", "MT41K64M16", "MT41K256M16", "MT48LC16M16"]


class MT41K256M16(modules.MT41K256M16):
    """4 Gbit of DDR3: ECPIX-5."""

    def get_timing(self, name: str):
        """LiteDRAM's, but for ``tRFC``."""
        return (None, 260) if name == "tRFC" else super().get_timing(name)


class MT41K64M16(modules.MT41K64M16):
    """1 Gbit of DDR3: ButterStick, Versa, OrangeCrab."""

    def get_timing(self, name: str):
        """LiteDRAM's, but for ``tRFC``."""
        return (None, 110) if name == "tRFC" else super().get_timing(name)


# SDRAM of the ULX3S (by revision of the board AS4C32M16, IS42S16160 or MT48LC16M16) and of the Colorlight i5
# (M12L64322A): LiteDRAM has its times in nanoseconds already.
