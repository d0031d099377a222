# SPDX-License-Identifier: BSD-2-Clause
"""What read levelling found: errors by lane, bitslip and delay, and the window that was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...errors import DramError

#: Neighbouring delays without an error that make a window; a single one may be chance.
MIN_WINDOW = 2


class Window(NamedTuple):
    """Delays ``first`` to ``last`` at ``bitslip`` without an error."""

    bitslip: int
    first: int
    last: int

    @property
    def delay(self) -> int:
        """In the middle."""
        return (self.first + self.last) // 2

    @property
    def width(self) -> int:
        return self.last - self.first + 1


class LaneScan:
    """Wrong bits of a byte lane at every setting, ``errors[bitslip][delay]``."""

    def __init__(self, lane: int, bitslips: int, delays: int) -> None:
        self.lane = lane
        self.errors = [[0] * delays for _ in range(bitslips)]

    @property
    def windows(self) -> list[Window]:
        """All of them. The last delay and the first are no neighbours: the counter wraps, not the delay."""
        found = []
        for bitslip, row in enumerate(self.errors):
            good = [delay for delay, errors in enumerate(row) if errors == 0]
            starts = [delay for delay in good if delay - 1 not in good]
            ends = [delay for delay in good if delay + 1 not in good]
            found += [Window(bitslip, first, last) for first, last in zip(starts, ends, strict=True)]
        return [window for window in found if window.width >= MIN_WINDOW]

    @property
    def best(self) -> Window | None:
        """The widest window, the first of several."""
        return max(self.windows, key=lambda window: window.width, default=None)

    def text(self) -> str:
        """A line for each bitslip: ``.`` no error, ``x`` errors, ``O`` the setting that was chosen."""
        lines = []
        for bitslip, row in enumerate(self.errors):
            marks = ["x" if errors else "." for errors in row]
            if self.best and self.best.bitslip == bitslip:
                marks[self.best.delay] = "O"
            lines.append(f"  lane {self.lane}, bitslip {bitslip}: |{''.join(marks)}|")
        chosen = self.best
        lines[-1] += (
            f"  bitslip {chosen.bitslip}, delays {chosen.first} to {chosen.last}, set to {chosen.delay}"
            if chosen
            else "  no window"
        )
        return "\n".join(lines)


class Leveling:
    """The lanes of a DRAM, levelled."""

    def __init__(self, lanes: Sequence[LaneScan]) -> None:
        self.lanes = lanes

    def text(self) -> str:
        """A picture of delays from left to right."""
        return "\n".join(
            ["read levelling, delays from left to right:", *(lane.text() for lane in self.lanes)]
        )

    def require_windows(self) -> None:
        """Raise :class:`DramError` with the picture if a lane has none."""
        if missing := [lane.lane for lane in self.lanes if lane.best is None]:
            raise DramError(
                "read levelling found no window on byte lane "
                f"{', '.join(map(str, missing))}:\n{self.text()}\nReset the board and try again; if a lane "
                "never has a window, the board or the clock is bad"
            )

    def require_errors_gone(self, errors: Sequence[int]) -> None:
        """Raise :class:`DramError` if lanes err at the settings chosen for them."""
        if any(errors):
            raise DramError(
                f"after read levelling lanes still read wrong bits (by lane {list(errors)}):\n{self.text()}\n"
                "The windows are too narrow to be used: reset the board, or lower its clock"
            )
