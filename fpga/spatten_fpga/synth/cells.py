# SPDX-License-Identifier: BSD-2-Clause
"""What block RAMs and multipliers of the ECP5 do, in Verilog: the tools' library has only their ports.

Only what synthesis of our designs makes of them: block RAM without output registers, multipliers without any.
A cell that is asked for more stops the simulation with its name. Written from the memory usage and DSP guides
of the family (Lattice FPGA-TN-02204, FPGA-TN-02205), not from the tools' techmaps.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

WORDS, INITS = 1024, 64
#: Files of the tools' library: what cells do, what that includes, ports of those that it knows no more of.
SIMULATED, BLACK_BOXES = "cells_sim.v", "cells_bb.v"
INCLUDED = ("common_sim.vh", "ccu2c_sim.vh", "cells_ff.vh", "cells_io.vh")
#: Of a port that is narrower than a word: bits of its address that are not used.
UNUSED = {1: 0, 2: 1, 4: 2, 9: 3}


def cells() -> str:
    """Verilog of ``DP16KD`` and ``MULT18X18D``."""
    return _multiplier() + _block_ram()


def _bus(name: str, bits: int) -> list[str]:
    return [f"{name}{bit}" for bit in reversed(range(bits))]


def _joined(name: str, bits: int) -> str:
    return "{" + ", ".join(_bus(name, bits)) + "}"


def _multiplier() -> str:
    inputs = ["A", "B", "C"]
    ports = [*(pin for name in inputs for pin in _bus(name, 18)), "SIGNEDA", "SIGNEDB", "SOURCEA", "SOURCEB"]
    outputs = _bus("P", 36)
    return f"""
module MULT18X18D(input {", ".join(ports)}, output {", ".join(outputs)});
    wire signed [18:0] a = {{SIGNEDA & A17, {", ".join(_bus("A", 18))}}};
    wire signed [18:0] b = {{SIGNEDB & B17, {", ".join(_bus("B", 18))}}};
    wire signed [37:0] product = a * b;
    assign {_joined("P", 36)} = product[35:0];
endmodule
"""


def _block_ram() -> str:
    inputs, outputs = [], []
    for port in "AB":
        inputs += [*_bus(f"DI{port}", 18), *_bus(f"AD{port}", 14), *_bus(f"CS{port}", 3)]
        inputs += [f"{pin}{port}" for pin in ("CE", "OCE", "CLK", "WE", "RST")]
        outputs += _bus(f"DO{port}", 18)
    inits = [f"INITVAL_{number:02X}" for number in range(INITS)]
    settings = {"RESETMODE": '"SYNC"', "ASYNC_RESET_RELEASE": '"SYNC"', "GSR": '"AUTO"'}
    for port in "AB":
        settings |= {f"DATA_WIDTH_{port}": "18", f"REGMODE_{port}": '"NOREG"', f"CSDECODE_{port}": '"0b000"'}
        settings |= {f"WRITEMODE_{port}": '"NORMAL"', f"CLK{port}MUX": f'"CLK{port}"'}
    parameters = [f"parameter {name} = {value}" for name, value in settings.items()]
    parameters += [f"parameter [319:0] {name} = 0" for name in inits]
    return f"""
module DP16KD #({", ".join(parameters)}) (input {", ".join(inputs)}, output {", ".join(outputs)});
    localparam [20479:0] INIT = {{{", ".join(reversed(inits))}}};
    localparam WIDE = DATA_WIDTH_A == 36;
    localparam WIDE_READ = DATA_WIDTH_B == 36;
    reg [17:0] mem[0:{WORDS - 1}];
    integer i;
    initial for (i = 0; i < {WORDS}; i = i + 1) mem[i] = INIT[20 * i +: 18];
    initial if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || CLKAMUX != "CLKA" || CLKBMUX != "CLKB") begin
        $display("DP16KD: a kind of block RAM that is not simulated");
        $finish;
    end
    wire [13:0] ada = {_joined("ADA", 14)}, adb = {_joined("ADB", 14)};
    wire [17:0] dia = {_joined("DIA", 18)}, dib = {_joined("DIB", 18)};
    wire writes_a = CEA & WEA, writes_b = CEB & WEB;
    wire [17:0] mask_high = {{{{9{{ada[3]}}}}, {{9{{ada[2]}}}}}};
    wire [9:0] row_a = WIDE ? {{ada[13:5], 1'b0}} : ada[13:4];
    wire [9:0] row_b = WIDE_READ ? {{adb[13:5], 1'b0}} : adb[13:4];
    // A word that one port reads while the other writes it reads as anything: here, with each such bit wrong.
    wire same = WIDE | WIDE_READ ? row_a[9:1] == row_b[9:1] : row_a == row_b;
    wire [17:0] wrong_a = mask_b & {{18{{writes_b & same}}}};
    wire [17:0] wrong_b = (WIDE & row_b[0] ? mask_high : mask_a) & {{18{{writes_a & same}}}};
    wire [17:0] word_a = mem[row_a] ^ wrong_a, word_b = mem[row_b] ^ wrong_b;
    wire [17:0] high_b = mem[row_b | 10'd1] ^ (mask_high & {{18{{writes_a & same}}}});
{_port("a", "DATA_WIDTH_A")}{_port("b", "DATA_WIDTH_B")}    reg [17:0] doa, dob, low_b;
    assign {_joined("DOA", 18)} = WIDE_READ ? low_b : doa;
    assign {_joined("DOB", 18)} = dob;
    always @(posedge CLKA) begin
        if (writes_a) mem[row_a] <= (mem[row_a] & ~mask_a) | (put_a & mask_a);
        if (writes_a & WIDE) mem[row_a | 10'd1] <= (mem[row_a | 10'd1] & ~mask_high) | (dib & mask_high);
        if (RSTA) doa <= 0;
        else if (CEA & ~(WEA & WRITEMODE_A == "NORMAL"))
            doa <= WEA & WRITEMODE_A == "WRITETHROUGH" ? put_a : got_a;
    end
    always @(posedge CLKB) begin
        if (writes_b) mem[row_b] <= (mem[row_b] & ~mask_b) | (put_b & mask_b);
        if (RSTB) {{dob, low_b}} <= 0;
        else if (CEB & ~(WEB & WRITEMODE_B == "NORMAL")) begin
            low_b <= word_b;
            dob <= WIDE_READ ? high_b : WEB & WRITEMODE_B == "WRITETHROUGH" ? put_b : got_b;
        end
    end
endmodule
"""


def _port(port: str, width: str) -> str:
    """What a port writes and with which mask, and what it reads, of the row that it is at."""
    address, data = f"ad{port}", f"di{port}"
    masks, puts, gots = [], [], []
    for bits, unused in UNUSED.items():
        # Narrower than a byte: a byte of nine keeps eight. 9: which byte; less: which part of its eight too.
        within = f" + {bits} * {address}[2:{unused}]" if unused < 3 else ""
        place = f"9 * {address}[3]{within}"
        ones = (1 << bits) - 1
        masks.append(f"{width} == {bits} ? 18'd{ones} << ({place})")
        puts.append(f"{width} == {bits} ? ({data} & 18'd{ones}) << ({place})")
        gots.append(f"{width} == {bits} ? (word_{port} >> ({place})) & 18'd{ones}")
    whole = f"{{{{9{{{address}[1]}}}}, {{9{{{address}[0]}}}}}}"
    lines = (
        f"mask_{port} = {' : '.join([*masks, whole])}",
        f"put_{port} = {' : '.join([*puts, data])}",
        f"got_{port} = {' : '.join([*gots, f'word_{port}'])}",
    )
    return "".join(f"    wire [17:0] {line};\n" for line in lines)


def tool_library() -> str:
    """Verilog of the tools' own library: what cells do, of black boxes no more than their ports."""
    texts = [(library_folder() / name).read_text("utf-8") for name in (BLACK_BOXES, *INCLUDED)]
    lines = (line for text in texts for line in text.splitlines() if not line.startswith("`include"))
    return "\n".join(lines) + "\n"


def library_folder() -> Path:
    """Where the tools have it."""
    return Path(str(importlib.resources.files("pyosys"))) / "share" / "ecp5"
