# SPDX-License-Identifier: BSD-2-Clause
"""The Verilog that a bitstream is made of, in simulation, as LiteX's tools see the board: by a serial line.

Clocks come straight from the pin: its PLLs are wires, and what waits for memory's lanes waits in vain. So no
memory is there, and nothing of the network.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Sequence
from importlib import resources

from litex.tools.remote.comm_uart import CommUART

from spatten_drivers.errors import SpattenError
from spatten_fpga.sim.verilator import Progress, library
from spatten_fpga.synth.cells import tool_library

from .gateware import NAME, Gateware

POWER_UP = 1 << 17  # cycles, more than any board's reset takes
PATIENCE = 400  # bits of the line, for a byte that has to come
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
"""


class Line(CommUART):
    """LiteX's client of a serial bridge, with a simulated system at the other end.

    Parameters
    ----------
    gateware : the system's Verilog.
    clock : name of the pin that its clock comes from.
    idle_high : pins that are high while nobody presses a button, beside those whose names end in ``_n``.
    bit_cycles : cycles of the system's clock for a bit of the line.
    progress : told while the simulator is built.

    Raises
    ------
    ToolError : Verilator or the compiler refused it.
    """

    def __init__(
        self, gateware: Gateware, clock: str, idle_high: Sequence[str], bit_cycles: int, progress: Progress
    ) -> None:
        self.debug, self.addr_bytes, self.bit_cycles = False, 4, bit_cycles
        verilog = "\n".join((gateware.folder / name).read_text("utf-8") for name in gateware.sources)
        harness = _harness(verilog, clock, idle_high)
        self._library = ctypes.CDLL(str(library(verilog + _cells(), harness, NAME, (), progress)))
        self._library.board_new.restype = ctypes.c_void_p
        self._board = ctypes.c_void_p(self._library.board_new(ctypes.c_uint64(bit_cycles)))
        self._waiting = bytearray()
        with contextlib.chdir(gateware.folder):  # where what memories hold at first is read from
            self._run(b"", 1, POWER_UP)

    def close(self) -> None:
        """Send what waits, and end the simulation."""
        self._read(0)
        self._library.board_free(self._board)

    def _flush(self) -> None:
        """Nothing comes that was not asked for."""

    def _write(self, data: Sequence[int]) -> None:
        self._waiting += bytes(data)

    def _read(self, length: int) -> bytes:
        sent, self._waiting = bytes(self._waiting), bytearray()
        bits = 10 * len(sent) + PATIENCE * (length + 1)
        came = self._run(sent, length, self.bit_cycles * bits)
        if len(came) != length:
            raise SpattenError(f"the simulated board sent {len(came)} bytes, expected {length}")
        return came

    def _run(self, sent: bytes, length: int, cycles: int) -> bytes:
        came = (ctypes.c_uint8 * length)()
        limit = ctypes.c_uint64(cycles)
        count = self._library.board_run(self._board, sent, len(sent), came, length, limit)
        return bytes(came[:count])


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


def _harness(verilog: str, clock: str, idle_high: Sequence[str]) -> str:
    """The C++ around a system: what is low when it acts is off, and nobody presses a button."""
    header = verilog[verilog.index(f"module {NAME} (") :]
    inputs = re.findall(r"input\s+wire\s*(?:\[\d+:0\])?\s*(\w+)", header[: header.index(");")])
    template = resources.files(__package__).joinpath("line.cpp").read_text("utf-8")
    values = "\n        ".join(
        f"top.{name} = 1;" for name in inputs if name.endswith("_n") or name in idle_high
    )
    return template.replace("@INPUTS@", values).replace("@CLOCK@", clock)
