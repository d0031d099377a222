# SPDX-License-Identifier: BSD-2-Clause
"""Every board's system: its pins, clocks, maps, and that the same build gives the same files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from spatten.plan import machine
from spatten_drivers.config import PRESETS, AcceleratorConfig
from spatten_drivers.registers import REGISTERS
from spatten_fpga.targets import NAMES, find

from .builds import hollow, run

#: MHz of the pins that clocks come in by.
CLOCKS = {
    "ecpix5": {"clk100": 100, "eth_clocks_rx": 125},
    "butterstick": {"clk30": 30, "eth_clocks_rx": 125},
    "orangecrab": {"clk48": 48},
    "ulx3s": {"clk25": 25},
    "colorlight_i5": {"clk25": 25},
    "colorlight_i9": {"clk25": 25, "eth_clocks_rx": 125},
}
NO_PROCESSOR = ("--cpu-type", "none")
TWICE = ("ecpix5",)  # DDR3, Ethernet and a serial line: all there is
MEMORY = {
    "ecpix5": 512 << 20,
    "butterstick": 256 << 20,
    "orangecrab": 128 << 20,
    "ulx3s": 32 << 20,
    "colorlight_i5": 8 << 20,
    "colorlight_i9": 8 << 20,
}


def ports(verilog: str) -> set[str]:
    """Every bit of every port of the top, as a file of pins names it."""
    head = verilog[: verilog.index(");")]
    found = set()
    for width, name in re.findall(
        r"^ +(?:input|output|inout) +(?:wire|reg) +(?:\[(\d+):0\])? *(\w+)", head, re.M
    ):
        found |= {f"{name}[{bit}]" for bit in range(int(width) + 1)} if width else {name}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_files_of_a_board(name: str) -> None:
    """All in one test, as each elaboration takes seconds; without processors, whose BIOS takes a minute."""
    folder = hollow(name, *NO_PROCESSOR)
    every_port_has_a_pin_and_a_standard(folder)
    every_clock_pin_is_constrained(folder, name)
    the_maps_are_those_of_the_board(folder, name)
    the_plan_is_of_this_board(name)
    if name in TWICE:
        again = hollow(name, *NO_PROCESSOR, hash_seed=2)
        assert again != folder
        assert files(again) == files(folder)
        assert not [text for text in files(folder).values() if str(folder).encode() in text]


def every_port_has_a_pin_and_a_standard(folder: Path) -> None:
    """And no pin is given twice."""
    pins = (folder / "gateware" / "spatten.lpf").read_text()
    there = ports((folder / "gateware" / "spatten.v").read_text())
    assert len(there) > 35
    sites = re.findall(r'^LOCATE COMP "([^"]+)" SITE "([^"]+)";', pins, re.MULTILINE)
    assert {port for port, _ in sites} == there
    assert len({site for _, site in sites}) == len(sites)
    assert set(re.findall(r'^IOBUF PORT "([^"]+)" IO_TYPE=\w+;', pins, re.MULTILINE)) == there


def every_clock_pin_is_constrained(folder: Path, name: str) -> None:
    """By its frequency."""
    pins = (folder / "gateware" / "spatten.lpf").read_text()
    found = {port: float(mhz) for port, mhz in re.findall(r'FREQUENCY PORT "(\w+)" ([\d.]+) MHz', pins)}
    assert found == pytest.approx(CLOCKS[name])


def the_maps_are_those_of_the_board(folder: Path, name: str) -> None:
    """What driver, generator and LiteX's tools read."""
    maps = json.loads((folder / "csr.json").read_text())
    assert {f"spatten_{word.name.lower()}" for word in REGISTERS} <= maps["csr_registers"].keys()
    assert maps["constants"]["config_clock_frequency"] == find(name).clock
    assert maps["memories"]["main_ram"]["size"] == MEMORY[name]
    depth = maps["constants"].get("spatten_etherbone_depth")  # how much Etherbone takes, if it is there
    assert depth == (256 if "etherbone" in find(name).links else None)
    assert maps["constants"].get("spatten_baudrate", 0) == find(name).baudrate
    for_litex = (folder / "csr.csv").read_text()
    assert "csr_register,spatten_identity" in for_litex
    assert "#" not in for_litex, "a head with a date"
    record = yaml.safe_load((folder / "config.yml").read_text())
    assert AcceleratorConfig(**record["config"]) == PRESETS[find(name).preset]
    dram = json.loads((folder / "dram.json").read_text())
    assert dram["clock_hz"] == find(name).clock
    assert (dram["bitslips"] > 0) == (dram["phy"] == "ECP5DDRPHY")


def the_plan_is_of_this_board(name: str) -> None:
    """`spatten plan` has a table of its own, as it runs where there is no gateware."""
    target, planned = find(name), machine(name)
    assert planned.config == PRESETS[target.preset]
    assert planned.clock == target.clock
    assert planned.dram.size == MEMORY[name]
    assert planned.title.split(",")[0] in target.title


def files(folder: Path) -> dict[str, bytes]:
    """What goes into the tools or ships."""
    taken = [*(folder / "gateware").iterdir(), *folder.glob("*.json"), folder / "config.yml"]
    return {path.name: path.read_bytes() for path in taken}


@pytest.mark.deep
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_system_gets_the_same_bytes(name: str, tmp_path: Path) -> None:
    """With its real core, and with a processor and its BIOS where memory is levelled and nowhere else."""
    for place, seed in (("one", 1), ("two", 2)):
        options = ("--build", "--stop-after", "verilog", "--output-dir", str(tmp_path / place))
        done = run(f"spatten_fpga.targets.{name}", *options, hash_seed=seed)
        assert done.returncode == 0, done.stderr
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert not [text for text in files(tmp_path / "one").values() if str(tmp_path).encode() in text]
    maps, dram = (json.loads((tmp_path / "one" / file).read_text()) for file in ("csr.json", "dram.json"))
    assert ("config_cpu_type_serv" in maps["constants"]) == (dram["bitslips"] > 0)
