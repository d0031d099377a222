# SPDX-License-Identifier: BSD-2-Clause
"""The core between shift registers: its pins, and which unit drives what."""

from __future__ import annotations

import re

import pytest

from spatten_drivers.config import PRESETS
from spatten_fpga.synth.devices import DEVICES
from spatten_fpga.synth.netlist import unit_of
from spatten_fpga.synth.wrapper import elaborate


@pytest.fixture(scope="module")
def small() -> tuple[str, dict[str, str]]:
    """Verilog and units of the smallest preset."""
    return elaborate(PRESETS["ecp5-25f"])


def test_five_pins(small) -> None:
    ports = re.findall(r"^ +(?:input|output) +\w+ +(\w+)", small[0], re.MULTILINE)
    assert sorted(ports) == ["clk", "load", "rst", "si", "so"]


def test_every_register_of_the_verilog_has_a_unit(small) -> None:
    text, units = small
    blocks = re.findall(r"^always @\(posedge.*?^end", text, re.MULTILINE | re.DOTALL)
    clocked = {name for block in blocks for name in re.findall(r"^\s+(\w+)\S* <= ", block, re.MULTILINE)}
    unknown = {name for name in clocked if not unit_of(name, units)}
    assert len(clocked) > 1000
    assert unknown == set()


def test_the_arrays_are_units_of_their_own(small) -> None:
    assert {"core.qk_array", "core.pv_array", "core.topk_select", "synth.wrapper"} <= set(small[1].values())


def test_every_device_is_for_a_preset() -> None:
    assert DEVICES.keys() <= PRESETS.keys()
    for device in DEVICES.values():
        assert device.lut_limit <= device.luts
        assert device.ebr_limit <= device.ebrs
        assert device.mult_limit <= device.mults
