# SPDX-License-Identifier: BSD-2-Clause
"""The link through LiteEth: real frames in, real frames out."""

from __future__ import annotations

import numpy as np
import pytest

from spatten_drivers.link import FaultRates, FaultyTransport, LinkClient
from tests.drivers.link.exercise import MEMORY_BYTES, Exercise

from .ethernet import EthernetTransport


@pytest.mark.deep  # LiteEth takes half a minute to compile
def test_transfers_on_ethernet() -> None:
    """Requests and answers of all lengths, with faults, and no gap in a frame: the MAC could not bear one."""
    cable = EthernetTransport()
    client = LinkClient(FaultyTransport(cable, FaultRates.all(0.02), 3))
    exercise = Exercise(client, 3, 16, largest=(40, 4))
    client.write(0, exercise.ram)
    client.write_block(0, exercise.memory)
    identity = client.identity
    assert (identity.holder_ip, identity.holder_port) == (0xC0A80105, 40123)
    exercise.run(60)
    assert cable.journal == exercise.journal
    clean = LinkClient(cable, take_over=True)
    np.testing.assert_array_equal(clean.read_block(0, MEMORY_BYTES), exercise.memory)
    assert cable.frames > 50
    assert cable.gaps == 0
