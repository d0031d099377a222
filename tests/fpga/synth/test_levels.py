# SPDX-License-Identifier: BSD-2-Clause
"""Chains of logic of netlists written here, cell by cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spatten_fpga.synth.levels import NetlistError, chains, main

Pins = dict[str, list[int | str]]


def cell(kind: str, inputs: Pins, outputs: Pins) -> dict[str, Any]:
    directions = dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output")
    return {"type": kind, "connections": inputs | outputs, "port_directions": directions}


def register(data: int, output: int, **more: list[int | str]) -> dict[str, Any]:
    return cell("TRELLIS_FF", {"CLK": [1], "DI": [data], **more}, {"Q": [output]})


def lut(output: int, *inputs: int) -> dict[str, Any]:
    pins = dict(zip("ABCD", ([bit] for bit in inputs), strict=False))
    return cell("LUT4", {pin: pins.get(pin, ["0"]) for pin in "ABCD"}, {"Z": [output]})


def module(cells: dict[str, Any], **names: list[int]) -> dict[str, Any]:
    return {"cells": cells, "netnames": {name: {"bits": bits} for name, bits in names.items()}}


def test_the_longest_way_counts() -> None:
    """From ``a`` over two LUTs to data of ``c``, over one to its enable; from ``b`` over one to ``d``."""
    cells = {
        "a_TRELLIS_FF_Q": register(2, 10),
        "b_TRELLIS_FF_Q": register(2, 11),
        "first": lut(20, 10),
        "second": lut(21, 20, 11),
        "c_TRELLIS_FF_Q_1": register(21, 12, CE=[20]),
        "third": lut(22, 11),
        "d_TRELLIS_FF_Q": register(22, 13),
    }
    found = chains(module(cells, a=[10], b=[11], c=[12], middle=[20], last=[21], other=[22]))
    assert [(one.levels, one.start, one.end, one.over) for one in found] == [
        (2, "a", "c.DI", ("middle", "last")),
        (1, "b", "d.DI", ("other",)),
    ]


def test_a_carry_chain_is_one_level_and_multiplexers_are_none() -> None:
    def carry(carried: int | str, sums: list[int], out: int) -> dict[str, Any]:
        return cell(
            "CCU2C", {"A0": [10], "CIN": [carried]}, {"S0": [sums[0]], "S1": [sums[1]], "COUT": [out]}
        )

    cells = {
        "a": register(2, 10),
        "low": carry("0", [20, 21], 30),
        "high": carry(30, [22, 23], 31),
        "mux": cell("PFUMX", {"ALUT": [23], "BLUT": ["0"], "C0": ["0"]}, {"Z": [24]}),
        "b": register(24, 11),
    }
    (found,) = chains(module(cells, a=[10], b=[11]))
    assert (found.levels, found.start, found.end) == (1, "a", "b.DI")


def test_lut_ram_is_read_in_a_cycle_and_written_at_its_end() -> None:
    ports: Pins = {"RAD0": [10], "DI0": [20], "WAD0": ["0"], "WCK": [1], "WRE": ["1"]}
    cells = {
        "address": register(2, 10),
        "data": register(2, 11),
        "before": lut(20, 11),
        "ram": cell("TRELLIS_DPR16X4", ports, {"DO0": [21]}),
        "after": lut(22, 21),
        "end": register(22, 12),
    }
    found = chains(module(cells, address=[10], data=[11], end=[12]))
    assert [(one.levels, one.start, one.end) for one in found] == [
        (2, "address", "end.DI"),
        (1, "data", "ram.DI0"),
    ]


def test_a_circle_is_named() -> None:
    cells = {"one": lut(20, 21), "other": lut(21, 20), "end": register(21, 12)}
    with pytest.raises(NetlistError, match="runs in a circle, by "):
        chains(module(cells, here=[20], there=[21]))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    netlist = tmp_path / "netlist.json"
    cells = {"a": register(2, 10), "logic": lut(20, 10), "b": register(20, 11)}
    netlist.write_text(json.dumps({"modules": {"top": module(cells, a=[10], b=[11], way=[20])}}))
    assert main([str(netlist), "--over"]) == 0
    assert capsys.readouterr().out.split() == ["1", "levels", "a", "->", "b.DI", "way"]
    netlist.write_text("{}")
    assert main([str(netlist)]) == 2
    assert "expected the .json that write_json makes" in capsys.readouterr().err
