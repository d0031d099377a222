# SPDX-License-Identifier: BSD-2-Clause
"""The Verilog that a bitstream is made of as a library, with C++ at the pins of one of its links.

Clocks come straight from the pin: its PLLs are wires, and what waits for memory's lanes waits in vain. So no
memory is there.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from importlib import resources

from spatten_drivers.errors import SpattenError
from spatten_fpga.sim.verilator import Progress, library
from spatten_fpga.synth.cells import tool_library

from .gateware import NAME, Gateware

POWER_UP = 1 << 17  # cycles, more than any board's reset takes
CELLS = """
module EHXPLLL(input CLKI, output CLKOP, CLKOS, CLKOS2, CLKOS3, LOCK, CLKINTFB,
    input CLKFB, RST, STDBY, PLLWAKESYNC, ENCLKOP, ENCLKOS, ENCLKOS2, ENCLKOS3,
    PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, output INTLOCK, REFCLK);
@EHXPLLL@
    assign {CLKOP, CLKOS, CLKOS2, CLKOS3} = {4{CLKI}};
    assign LOCK = 1;
endmodule
module CLKDIVF(input CLKI, RST, ALIGNWD, output CDIVX);
@CLKDIVF@
    assign CDIVX = CLKI;
endmodule
module ECLKSYNCB(input ECLKI, STOP, output ECLKO); assign ECLKO = ECLKI; endmodule
module ECLKBRIDGECS(input CLK0, CLK1, SEL, output ECSOUT);
@ECLKBRIDGECS@
    assign ECSOUT = CLK0;
endmodule
module DCCA(input CLKI, CE, output CLKO); assign CLKO = CLKI; endmodule
module TRELLIS_IO(input B, I, T, output O);
    parameter DIR = "INPUT";
    assign O = B;
endmodule
module DELAYG(input A, output Z);
@DELAYG@
    assign Z = A;
endmodule
module IDDRX1F(input D, SCLK, RST, output reg Q0, Q1);
@IDDRX1F@
    reg rise, fall;
    always @(negedge SCLK) fall <= D;
    always @(posedge SCLK) {rise, Q0, Q1} <= {D, rise, fall};
endmodule
module ODDRX1F(input SCLK, RST, D0, D1, output Q);
@ODDRX1F@
    reg rise, fall;
    always @(posedge SCLK) {rise, fall} <= {D0, D1};
    assign Q = SCLK ? rise : fall;
endmodule
"""


def compiled(
    gateware: Gateware, harness: str, clock: str, idle_high: Sequence[str], progress: Progress
) -> ctypes.CDLL:
    """The library.

    Parameters
    ----------
    gateware : the system's Verilog.
    harness : file of the C++ around it.
    clock : name of the pin that its clock comes from.
    idle_high : pins that are high while nobody presses a button, beside those whose names end in ``_n``.
    progress : told while it is built.

    Raises
    ------
    ToolError : Verilator or the compiler refused it.
    """
    verilog = "\n".join((gateware.folder / name).read_text("utf-8") for name in gateware.sources)
    around = _harness(verilog, harness, clock, idle_high)
    built = ctypes.CDLL(str(library(verilog + _cells(), around, NAME, (), progress)))
    built.board_new.restype = ctypes.c_void_p
    return built


def _cells() -> str:
    text = tool_library()
    defined = re.findall(r"^module (\w+)", CELLS, re.MULTILINE)
    ours = CELLS
    for name in defined:
        body = _module(text, name)
        text = text.replace(body, "")
        parameters = re.findall(r"^\s*parameter .*?;", body, re.MULTILINE)
        ours = ours.replace(f"@{name}@", "\n".join(parameters))
    return text + ours


def _module(text: str, name: str) -> str:
    found = re.search(rf"^module {name}\b.*?^endmodule\n", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise SpattenError(f"the tools' library has no cell {name}; expected it of the pinned pyosys")
    return found[0]


def _harness(verilog: str, harness: str, clock: str, idle_high: Sequence[str]) -> str:
    """The C++ around a system: what is low when it acts is off, and nobody presses a button."""
    header = verilog[verilog.index(f"module {NAME} (") :]
    inputs = re.findall(r"input\s+wire\s*(?:\[\d+:0\])?\s*(\w+)", header[: header.index(");")])
    template = resources.files(__package__).joinpath(harness).read_text("utf-8")
    values = "\n        ".join(
        f"top.{name} = 1;" for name in inputs if name.endswith("_n") or name in idle_high
    )
    return template.replace("@INPUTS@", values).replace("@CLOCK@", clock)
