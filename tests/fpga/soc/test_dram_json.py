# SPDX-License-Identifier: BSD-2-Clause
"""What a build says of its DRAM is what LiteDRAM's own software would do, and what the driver reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from litedram.init import get_sdram_phy_py_header

from spatten_drivers.devices.litex.dram_init import Dram
from spatten_drivers.errors import ConfigError, DeviceMismatchError
from spatten_fpga.soc.dram_json import dram_record
from spatten_fpga.soc.simulation import BOARDS


@pytest.mark.parametrize(
    ("preset", "levels"), [("ecp5-85f", (4, 8)), ("ecp5-25f", (0, 0))], ids=["DDR3", "SDR"]
)
def test_the_sequence_is_litedrams(preset: str, levels: tuple[int, int], tmp_path: Path) -> None:
    board = BOARDS[preset]
    timing = board.module.timing_settings
    record = dram_record(board.settings, timing, board.clock)
    path = tmp_path / "dram.json"
    path.write_text(json.dumps(record), "utf-8")
    dram = Dram.load(path)
    assert (dram.bitslips, dram.delays) == levels
    assert (dram.read_phase, dram.write_phase) == (board.settings.rdphase, board.settings.wrphase)
    said: dict[str, list[tuple[str, int, int, int, int]]] = {}
    exec(get_sdram_phy_py_header(board.settings, timing), said)  # LiteDRAM writes it as a Python program
    steps = [
        (
            step["what"],
            step["address"],
            step["bank"],
            step.get("command", step.get("control")),
            step["cycles"],
        )
        for step in dram.sequence
    ]
    assert steps == said["init_sequence"]
    controls = [step["what"] for step in dram.sequence if "control" in step]
    assert controls == (["Release reset", "Bring CKE high"] if levels[0] else ["Bring CKE high"])


def test_a_phy_that_needs_more_is_refused() -> None:
    board = BOARDS["ecp5-85f"]
    settings = board.settings
    settings.write_leveling = True
    try:
        with pytest.raises(ConfigError, match="ECP5DDRPHY needs write_leveling"):
            dram_record(settings, board.module.timing_settings, board.clock)
    finally:
        settings.write_leveling = False


@pytest.mark.parametrize("text", ["{}", "no json", '{"phy": 1}'])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "dram.json"
    path.write_text(text, "utf-8")
    with pytest.raises(DeviceMismatchError, match=r"dram\.json: no description of a DRAM"):
        Dram.load(path)
