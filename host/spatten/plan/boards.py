# SPDX-License-Identifier: BSD-2-Clause
"""Boards, their memory, and the machine that a plan is made for.

Core, clock, width and size of the memory are those of the targets in ``fpga/spatten_fpga/targets``, which
build the bitstreams; a test compares the two. Times of the chips are those of their data sheets. **No figure
here was measured on a board.** Cycles of :data:`SIMULATED` are checked against simulation with LiteDRAM's own
controller; for the boards the same rules are used with their clocks and their chips' numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from spatten_drivers import AcceleratorConfig
from spatten_drivers.config import PRESETS
from spatten_drivers.errors import ConfigError

from .memory import Dram, Memory, litedram

T = TypeVar("T")
MIB = 1 << 20

#: LiteDRAM's port of the ECP5's DDR3 PHY: a burst of eight from 16 wires in two cycles.
DRAMS: dict[str, Dram] = {
    "ddr3-x16-512": Dram("DDR3 x16, 512 MiB", 512 * MIB, 16, 2, 2048, 260),
    "ddr3-x16-256": Dram("DDR3 x16, two ranks, 256 MiB", 256 * MIB, 16, 2, 2048, 110),
    "ddr3-x16-128": Dram("DDR3 x16, 128 MiB", 128 * MIB, 16, 2, 2048, 110),
    # Its PHY clocks the chip twice in a cycle of the system.
    "sdr-x16-32": Dram("SDR x16 at 1:2, 32 MiB", 32 * MIB, 4, 1, 2048, 60),
    "sdr-x32-8": Dram("SDR x32, 8 MiB", 8 * MIB, 4, 1, 1024, 60, 15625.0),
}


@dataclass(frozen=True)
class Board:
    """A board with the preset that suits its chip.

    Parameters
    ----------
    title : board and chip.
    preset : configuration of the core.
    clock : of the system, Hz.
    dram : of :data:`DRAMS`.
    """

    title: str
    preset: str
    clock: float
    dram: str


#: By the name of their target.
BOARDS: dict[str, Board] = {
    "ecpix5": Board("ECPIX-5, LFE5UM5G-85F", "ecp5-85f-slim", 75e6, "ddr3-x16-512"),
    "butterstick": Board("ButterStick, LFE5UM5G-85F", "ecp5-85f-slim", 60e6, "ddr3-x16-256"),
    "orangecrab": Board("OrangeCrab, LFE5U-85F", "ecp5-85f-slim", 48e6, "ddr3-x16-128"),
    "ulx3s": Board("ULX3S, LFE5U-85F", "ecp5-85f-slim", 50e6, "sdr-x16-32"),
    "colorlight_i5": Board("Colorlight i5, LFE5U-25F", "ecp5-25f-slim", 60e6, "sdr-x32-8"),
    "colorlight_i9": Board("Colorlight i9, LFE5U-45F", "ecp5-25f", 60e6, "sdr-x32-8"),
}


@dataclass(frozen=True)
class Machine:
    """What a plan is made for.

    Parameters
    ----------
    title : for people.
    config : of the core.
    clock : Hz.
    dram : the chips.
    """

    title: str
    config: AcceleratorConfig
    clock: float
    dram: Dram

    @property
    def checked(self) -> bool:
        """Core, clock and chips are those that were simulated."""
        parts = (self.config, self.clock, self.dram)
        return parts == (SIMULATED.config, SIMULATED.clock, SIMULATED.dram)

    @property
    def memory(self) -> Memory:
        """The chips behind LiteDRAM's controller at this clock."""
        return litedram(self.dram, self.clock, self.config.beat_bytes)

    @property
    def peak_bytes(self) -> float:
        """Bytes a second that the data lines move at most."""
        return self.dram.word_bytes / self.dram.word_cycles * self.clock

    @property
    def peak_operations(self) -> float:
        """Multiplications and additions a second of both arrays at most."""
        return 2 * 2 * self.config.lanes * self.clock


#: What docs/plan.md compares with simulation: the core that was made for the ECPIX-5, behind its memory.
SIMULATED = Machine("simulated ECPIX-5", PRESETS["ecp5-85f"], 75e6, DRAMS["ddr3-x16-512"])


def machine(
    board: str | None = None, preset: str | None = None, clock: float | None = None, dram: str | None = None
) -> Machine:
    """A board, or a board with something changed, or a machine from a preset, a clock in Hz and chips.

    Raises
    ------
    ConfigError : a name is not known, or a machine without a board lacks one of the three.
    """
    found = _named("board", board.replace("-", "_"), BOARDS) if board else None
    parts = {"preset": preset, "clock": clock, "dram": dram}
    lacking = [name for name, given in parts.items() if given is None]
    if found is None and lacking:
        raise ConfigError(
            f"the machine has no board and no {' and no '.join(lacking)}; expected a board "
            f"({', '.join(BOARDS)}), or all of preset, clock and dram"
        )
    clock = found.clock if clock is None and found else clock
    if clock is None or not 1e6 <= clock <= 1e9:
        raise ConfigError(f"the clock is {clock} Hz; expected 1 to 1000 MHz")
    chosen, chips = preset or (found.preset if found else ""), dram or (found.dram if found else "")
    return Machine(
        title=found.title if found else chosen,
        config=_named("preset", chosen, PRESETS),
        clock=clock,
        dram=_named("dram", chips, DRAMS),
    )


def _named(what: str, name: str, table: Mapping[str, T]) -> T:
    if name not in table:
        raise ConfigError(f"{what} is {name!r}; expected one of {', '.join(table)}")
    return table[name]
