# SPDX-License-Identifier: BSD-2-Clause
"""A system with an Ethernet link is one that the driver's uris open."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from liteeth.common import eth_phy_description
from litex.gen import LiteXModule
from litex.soc.integration.export import get_csr_json
from litex.soc.interconnect import stream
from migen import ClockDomain, ClockSignal, ResetSignal

from spatten_drivers.devices.litex.opening import DEPTH_CONSTANT, _place
from spatten_fpga.soc.etherbone import DEPTH, add_etherbone, udp_core
from spatten_fpga.soc.simulation import BOARDS, SimulatedSoc


class Phy(LiteXModule):
    """Bytes of frames, in the system's clock."""

    dw, tx_clk_freq, rx_clk_freq = 8, 125e6, 125e6

    def __init__(self) -> None:
        self.sink = stream.Endpoint(eth_phy_description(8))
        self.source = stream.Endpoint(eth_phy_description(8))
        self.cd_eth_tx, self.cd_eth_rx = ClockDomain("eth_tx"), ClockDomain("eth_rx")
        for domain in (self.cd_eth_tx, self.cd_eth_rx):
            self.comb += [domain.clk.eq(ClockSignal("sys")), domain.rst.eq(ResetSignal("sys"))]


def test_the_map_says_how_long_a_record_may_be(tmp_path: Path) -> None:
    soc = SimulatedSoc(BOARDS["small"])
    phy = Phy()
    soc.add_module("ethphy", phy)
    add_etherbone(soc, udp_core(soc, phy))
    soc.finalize()
    text = get_csr_json(soc.csr_regions, soc.constants, soc.mem_regions)
    (tmp_path / "csr.json").write_text(text, "utf-8")
    place = _place(urlsplit(f"litex:udp://127.0.0.2?csr={tmp_path / 'csr.json'}"))
    assert place.csr_map.constants[DEPTH_CONSTANT] == DEPTH
    assert "spatten_identity" in place.csr_map.addresses
    assert place.csr_map.memory("main_ram").size > 0
    assert [name for name in json.loads(text)["constants"] if name.startswith("config_cpu_type")] == [
        "config_cpu_type_none"
    ]
