# SPDX-License-Identifier: BSD-2-Clause
"""The simulated system's text and map."""

from __future__ import annotations

import json

import pytest

from spatten_drivers.config import PRESETS
from spatten_drivers.devices import CsrMap, verilator
from spatten_drivers.errors import ConfigError
from spatten_drivers.registers import REGISTERS
from spatten_fpga.soc.build import NAMES
from spatten_fpga.soc.simulation import BOARDS, SimulatedSoc, with_contents
from spatten_fpga.targets import NAMES as TARGETS
from spatten_fpga.targets import find

NEEDED = (
    *(f"spatten_{word.name.lower()}" for word in REGISTERS),
    *("ctrl_reset", "ctrl_scratch", "ctrl_bus_errors"),
    *("ddrctrl_init_done", "ddrctrl_init_error", "sdram_dfii_control"),
    *(f"job_irq_ev_{name}" for name in ("status", "pending", "enable")),
    *("timer0_load", "timer0_uptime_cycles"),
)


def test_all_know_the_same_systems() -> None:
    """The driver and the builder name them without loading LiteX."""
    assert tuple(BOARDS) == NAMES == verilator.PRESETS
    assert {name: BOARDS[name].config for name in BOARDS if name in PRESETS} == {
        name: PRESETS[name] for name in BOARDS if name in PRESETS
    }


def test_every_board_has_its_core_here() -> None:
    """Behind the memory of a board, with that board's chips and clock."""
    assert {find(name).preset for name in TARGETS} <= set(BOARDS)
    for board in BOARDS.values():
        target = find(board.target)
        assert board.chips in target.memory.chips.values()
        assert (board.rate, board.clock) == (target.memory.rate, target.clock)


def test_the_map_has_every_register() -> None:
    """Of the contract, and those by which a host brings a system up; each is where no other is."""
    folder = verilator.built_folder("small")
    found = CsrMap.load(folder / "csr.json")
    assert [name for name in NEEDED if name not in found.addresses] == []
    assert {found.sizes[f"spatten_{word.name.lower()}"] for word in REGISTERS} == {1}
    words = [at + 4 * i for name, at in found.addresses.items() for i in range(found.sizes[name])]
    assert len(words) == len(set(words))
    assert found.memory("main_ram") == (0x4000_0000, 512 << 20)
    assert found.constants["config_clock_frequency"] == 75_000_000
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["config_digest"] == f"{BOARDS['small'].config.digest:016x}"
    assert (manifest["abi"], manifest["clock_hz"], manifest["memory"]) == ("1.1", 75_000_000, "MT41K256M16")
    assert manifest["board"] == "ecpix5"


def test_more_memory_than_there_is() -> None:
    with pytest.raises(ConfigError) as error:
        SimulatedSoc(BOARDS["small"], memory_bytes=1 << 30)
    assert str(error.value) == ("memory is 0x40000000 bytes; the chips have 0x20000000. Ask for less")


def test_contents_of_memories_are_in_the_text() -> None:
    text = 'initial begin\n\t$readmemh("top_rom.init", rom);\nend\n'
    assert with_contents(text, {"top_rom.init": "0a\nff\n"}) == (
        "initial begin\n\trom[0] = 'h0a;\nrom[1] = 'hff;\nend\n"
    )
    with pytest.raises(KeyError):
        with_contents(text, {})
