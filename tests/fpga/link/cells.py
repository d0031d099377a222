# SPDX-License-Identifier: BSD-2-Clause
"""What the link takes of an ECP5, by unit, as yosys maps it: ``python -m tests.fpga.link.cells [beat]``.

The link with its UDP adapter, without LiteEth and without a back end for memory. Nothing is placed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from litex.gen import LiteXModule
from litex.gen.fhdl.verilog import convert
from migen import ClockDomain, Memory, Signal

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.link import LinkEndpoint, LinkSettings
from spatten_fpga.link.udp import UdpAdapter
from spatten_fpga.sim.units import drivers
from spatten_fpga.synth.netlist import by_unit, owners_of, totals

FOLDER = Path("build/link")
TOP = "top"


class Top(LiteXModule):
    """The link between LiteEth, a bus and a memory port."""

    def __init__(self, beat: int) -> None:
        self.cd_sys = ClockDomain("sys")
        self.link = link = LinkEndpoint(Geometry(AcceleratorConfig(beat_bytes=beat)), LinkSettings(1 << 29))
        self.udp = udp = UdpAdapter()
        self.comb += [udp.source.connect(link.sink), link.source.connect(udp.sink)]

    @property
    def pins(self) -> set[Signal]:
        """All that leaves it."""
        port = self.link.port
        records = [self.udp.received, self.udp.sent, port.command, port.data, port.write, self.link.bus]
        found = {signal for record in records for signal in record.flatten()}
        return found | {self.cd_sys.clk, self.cd_sys.rst, port.writes_pending, port.fault}


def mapped(beat: int) -> dict[str, dict[str, int]]:
    """LUTs, flip-flops and block RAMs of each unit, and of all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    verilog, netlist = FOLDER / "link.v", FOLDER / "link.json"
    top = Top(beat)
    top.finalize()
    units = drivers(top, "spatten_fpga")
    output = convert(top, top.pins, name=TOP)
    verilog.write_text(str(output))
    # Not verified: that two trees of XOR are equal is what a SAT solver cannot find out in reasonable time.
    commands = (
        "scratchpad -set abc9.verify 0",
        f"read_verilog {verilog}",
        f"synth_ecp5 -top {TOP} -json {netlist}",
    )
    call = [sys.executable, "-m", "spatten_fpga.formal.yosys", "-q", "-l", str(FOLDER / "yosys.log")]
    subprocess.run([*call, *(part for text in commands for part in ("-p", text))], check=True)
    module = json.loads(netlist.read_text())["modules"][TOP]
    named = {
        output.ns.get_name(thing): unit for thing, unit in units.items() if isinstance(thing, Signal | Memory)
    }
    cells = module["cells"]
    return {"all": totals(cells), **by_unit(cells, owners_of(module, named))}


if __name__ == "__main__":
    for unit, cost in mapped(int(sys.argv[1]) if len(sys.argv) > 1 else 16).items():
        sys.stdout.write(f"{unit:40} {cost}\n")
