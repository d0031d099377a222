# SPDX-License-Identifier: BSD-2-Clause
"""What is read out of netlists, logs and reports, and what is said of limits."""

from __future__ import annotations

import json

import pytest

from spatten_fpga.synth.__main__ import main
from spatten_fpga.synth.devices import DEVICES
from spatten_fpga.synth.figures import complaints, figures
from spatten_fpga.synth.flow import Aim, Layout, Netlist
from spatten_fpga.synth.netlist import UNKNOWN, by_unit, owners_of, totals
from spatten_fpga.synth.page import page
from spatten_fpga.synth.timing import frequencies, in_words, shared_wires, slowest, wirelength

UNITS = {"sum": "core.add", "table": "core.store", "held": "core.hold"}
LOG = """\
Info:   at iteration #3, type ALL: wirelen solved = 5, spread = 7, legal = 90; time = 1.00s
Info:   at iteration #5: temp = 0.000000, timing cost = 3, wirelen = 88
Info:   at iteration #9: temp = 0.000000, timing cost = 2, wirelen = 81
Info: Max frequency for clock '$glbnet$clk$TRELLIS_IO_IN': 212.04 MHz (FAIL at 500.00 MHz)
Info: Max delay <async>                           -> posedge $glbnet$clk$TRELLIS_IO_IN: 6.70 ns
Info:     iter=1 wires=1010 overused=12 overuse=14 archfail=NA
Info:     iter=2 wires=1013 overused=0 overuse=0 archfail=0
Warning: Max frequency for clock '$glbnet$clk$TRELLIS_IO_IN': 177.12 MHz (FAIL at 500.00 MHz)
"""


def cell(kind: str, inputs: list[object], outputs: list[object]) -> dict:
    """A cell as yosys writes it, with ports I and Q."""
    return {
        "type": kind,
        "port_directions": {"I": "input", "Q": "output"},
        "connections": {"I": inputs, "Q": outputs},
    }


MODULE = {
    "netnames": {"sum": {"bits": [10]}, "held": {"bits": [11]}, "sum_LUT4_Z": {"bits": [20]}},
    "cells": {
        "sum_TRELLIS_FF_Q": cell("TRELLIS_FF", [20], [10]),
        "held_TRELLIS_FF_Q": cell("TRELLIS_FF", [21], [11]),
        "table.0.3": cell("DP16KD", [11], [12]),
        "near": cell("LUT4", [22, "1"], [20]),  # constants are strings
        "far": cell("CCU2C", [12], [22]),
        "product": cell("MULT18X18D", [10], [21]),
        "unread": cell("LUT4", [10], [30]),
    },
}


def step(kind: str, delay: float, source: str, sink: str) -> dict:
    """A step of a path as nextpnr writes it."""
    return {"type": kind, "delay": delay, "from": {"cell": source}, "to": {"cell": sink}}


REPORT = {
    "critical_paths": [
        {"from": "<async>", "to": "posedge clk", "path": [step("source", 99.0, "pin", "pin")]},
        {
            "from": "posedge clk",
            "to": "posedge clk",
            "path": [
                step("clk-to-q", 0.5, "sum_TRELLIS_FF_Q", "sum_TRELLIS_FF_Q"),
                step("routing", 2.0, "sum_TRELLIS_FF_Q", "far$CCU2_COMB1"),
                step("logic", 0.4, "far$CCU2_COMB1", "far$CCU2_COMB1"),
                step("routing", 3.0, "far$CCU2_COMB1", "held_TRELLIS_FF_Q"),
                step("setup", 0.1, "held_TRELLIS_FF_Q", "held_TRELLIS_FF_Q"),
            ],
        },
    ]
}


def found(layout: Layout, preset: str = "ecp5-85f") -> dict:
    """Figures of the small module."""
    netlist = Netlist(None, MODULE, owners_of(MODULE, UNITS))
    return figures(DEVICES[preset], netlist, layout, Aim(90.0, 1, ("--placer", "static")))


def test_logic_belongs_to_what_reads_it() -> None:
    owners = owners_of(MODULE, UNITS)
    assert owners == {
        "sum_TRELLIS_FF_Q": "core.add",
        "held_TRELLIS_FF_Q": "core.hold",
        "table.0.3": "core.store",
        "near": "core.add",
        "far": "core.add",  # through the cell near
        "product": "core.hold",
        "unread": UNKNOWN,
    }


def test_units_add_up_to_the_whole() -> None:
    cells = MODULE["cells"]
    whole, units = totals(cells), by_unit(cells, owners_of(MODULE, UNITS))
    assert whole == {"lut": 4, "ff": 2, "ebr": 1, "mult": 1}
    assert units["core.add"] == {"lut": 3, "ff": 1, "ebr": 0, "mult": 0}
    assert {name: sum(unit[name] for unit in units.values()) for name in whole} == whole


def test_frequency_after_placement_and_after_routing() -> None:
    assert frequencies(LOG) == [212.04, 177.12]


def test_wires_after_placement_and_round_by_round() -> None:
    assert (wirelength(LOG), shared_wires(LOG)) == (81, [12, 0])
    assert (wirelength(""), shared_wires("")) == (None, [])


def test_the_slowest_path_lies_between_registers() -> None:
    text = in_words(slowest(REPORT), owners_of(MODULE, UNITS))
    assert text.startswith("6.0 ns, 5.0 ns of them wires, through 1 cells, from sum_TRELLIS_FF_Q to held_")
    assert text.endswith("units: core.add, then core.hold")


def test_a_figure_after_placement_is_not_one_after_routing() -> None:
    result = found(Layout(120.0, None, (), "nextpnr was not done after 60 s", 5_100))
    assert result["fmax"] is None
    assert result["limits"] == {"lut": True, "ebr": True, "mult": True, "fmax": None}
    assert complaints(result, DEVICES["ecp5-85f"]) == [
        "at least 90 MHz: not known, nextpnr was not done after 60 s"
    ]
    text = page({"ecp5-85f": result})
    assert "No figure of speed after routing" in text
    assert "nextpnr aimed at 90 MHz, seed 1, with `--placer static`. Placed with 5,100 tiles of wire." in text
    assert "Every limit is kept" not in text


@pytest.mark.parametrize(("fmax", "kept"), [(89.99, False), (90.0, True)])
def test_the_limit_of_speed(fmax: float, kept: bool) -> None:
    result = found(Layout(100.0, fmax, slowest(REPORT), ""))
    assert result["limits"]["fmax"] is kept
    assert bool(complaints(result, DEVICES["ecp5-85f"])) is not kept
    assert ("Every limit is kept" in page({"ecp5-85f": result})) is kept


def test_limits_of_area_are_missed_by_one() -> None:
    result = found(Layout(None, None, (), "the core was not placed"), "ecp5-25f")
    assert complaints(result, DEVICES["ecp5-25f"]) == []
    over = {**result, "ebr": 57, "limits": {**result["limits"], "ebr": False}}
    assert complaints(over, DEVICES["ecp5-25f"]) == ["at most 56 block RAMs: missed, 57"]


def test_figures_are_json() -> None:
    result = found(Layout(100.0, 95.0, slowest(REPORT), ""))
    assert json.loads(json.dumps(result)) == result


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "--no-route" in capsys.readouterr().out
