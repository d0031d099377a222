# SPDX-License-Identifier: BSD-2-Clause
"""A design as its netlist of ECP5 cells, in Verilog that a simulator reads.

Synthesis may go wrong: a memory that is read in another order than its RTL says, a multiplier of the wrong
sign.
What comes out of it here has the same ports, and so runs on the same benches.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass

from spatten_fpga.sim.verilator import cache_folder

from .cells import INCLUDED, SIMULATED, cells, library_folder
from .flow import run_yosys


@dataclass(frozen=True)
class Gates:
    """A mapped design.

    Attributes
    ----------
    verilog : the netlist, with the behaviour of every cell.
    cells : how many there are, by kind.
    """

    verilog: str
    cells: Counter[str]


def gates(verilog: str, top: str = "dut") -> Gates:
    """The netlist of a Verilog text after ``synth_ecp5``.

    Netlists are kept beside the simulators, under the hash of what goes in.

    Raises
    ------
    SynthesisError : yosys refused it.
    """
    library = cells()
    known = hashlib.sha256("\0".join((verilog, library, top)).encode()).hexdigest()[:24]
    folder = cache_folder() / f"gates-{known}"
    text, netlist = folder / "gates.v", folder / "gates.json"
    if not text.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rtl.v").write_text(verilog)
        (folder / "cells.v").write_text(library)
        for name in (SIMULATED, *INCLUDED):
            shutil.copyfile(library_folder() / name, folder / name)
        log = folder / "yosys.log"
        run_yosys(log, ["read_verilog rtl.v", f"synth_ecp5 -top {top} -json {netlist.name}"])
        run_yosys(log, [*_with_behaviour(netlist.name, top), "write_verilog -noattr whole.v"])
        (folder / "whole.v").rename(text)
    mapped = json.loads(netlist.read_text())["modules"][top]["cells"]
    return Gates(text.read_text(), Counter(cell["type"] for cell in mapped.values()))


def _with_behaviour(netlist: str, top: str) -> list[str]:
    """From black boxes to what they do, without a step that would make the netlist any better."""
    return [
        f"read_json {netlist}",
        "setundef -random 1",  # inputs that nobody cares for
        f"read_verilog -overwrite -D YOSYS {SIMULATED}",
        "delete =A:blackbox",
        "read_verilog -overwrite cells.v",
        f"hierarchy -check -top {top}",
        "proc",
        "flatten",
        "opt_clean",
    ]
