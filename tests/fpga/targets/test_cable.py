# SPDX-License-Identifier: BSD-2-Clause
"""Clients at a cable to a board that is silent: each gives up with an error that a build can tell."""

from __future__ import annotations

import pytest

from spatten_drivers.errors import SpattenError
from spatten_fpga.targets.cable import DEADLINE, WAIT, EtherboneLine, SplLine


class Silence:
    """A cable to nobody, on which time passes."""

    def __init__(self) -> None:
        self.cycles, self.sent, self.closed = 0, 0, False

    def send(self, payload: bytes) -> None:
        self.sent += 1

    def receive(self, cycles: int) -> None:
        self.cycles += cycles

    def close(self) -> None:
        self.closed = True


def test_spl_to_a_silent_board() -> None:
    cable = Silence()
    line = SplLine(cable)
    with pytest.raises(SpattenError, match="simulated board: no answer to IDENTIFY"):
        line.read(0x1000)
    assert DEADLINE <= cable.cycles < DEADLINE + WAIT
    line.close()
    assert cable.closed


def test_etherbone_to_a_silent_board() -> None:
    cable = Silence()
    line = EtherboneLine(cable, 1234)
    line.write(0x1000, 1)
    with pytest.raises(SpattenError, match="the simulated board did not answer a read at 0x00001000"):
        line.read(0x1000)
    assert cable.cycles == 10 * WAIT
    line.close()
    assert cable.closed
