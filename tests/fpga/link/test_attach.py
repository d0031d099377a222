# SPDX-License-Identifier: BSD-2-Clause
"""The link becomes a host of the system on chip; what it does there is what the other tests show."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spatten_fpga.link.attach import AttachedLink
from spatten_fpga.link.endpoint import LinkSettings
from spatten_fpga.link.udp import UdpAdapter
from spatten_fpga.soc.simulation import BOARDS, SimulatedSoc, system_verilog


@pytest.mark.deep  # half a minute
def test_a_system_with_a_link_is_elaborated() -> None:
    board = BOARDS["small"]
    soc = SimulatedSoc(board)
    soc.link = link = AttachedLink(soc, board.config)
    soc.link_udp = udp = UdpAdapter()
    soc.comb += [udp.source.connect(link.endpoint.sink), link.endpoint.source.connect(udp.sink)]
    text = system_verilog(soc)
    assert "link" in soc.bus.masters
    assert "packetchecker" in text


def test_a_link_that_waits_longer_than_the_bus_is_refused() -> None:
    """LiteX would hand it ones for data; the system's own time is that of ``SpattenSoc``."""
    soc = SimpleNamespace(bus=SimpleNamespace(timeout=4096), memory_bytes=1 << 20)
    with pytest.raises(ValueError, match="expected less than the bus's own 4096, after"):
        AttachedLink(soc, BOARDS["small"].config, LinkSettings(1 << 20, bus_timeout=4096))
