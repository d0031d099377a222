# SPDX-License-Identifier: BSD-2-Clause
"""docs/boards.md: every board, what was built, and that predictions are called so."""

from __future__ import annotations

from spatten_drivers.config import PRESETS
from spatten_fpga.targets import NAMES, find

from .report import machine_of, page

MANIFEST = {
    "preset": "ecp5-25f",
    "config": PRESETS["ecp5-25f"].to_dict(),
    "abi": PRESETS["ecp5-25f"].abi,
    "clock_hz": 30_000_000,
    "utilisation": {
        "TRELLIS_COMB": [32191, 43848],
        "TRELLIS_FF": [24786, 43848],
        "DP16KD": [46, 108],
        "MULT18X18D": [27, 72],
    },
    "clocks": {
        "sys": {"asked_mhz": 60.0, "reached_mhz": 66.6, "margin": 0.11},
        "eth_rx": {"asked_mhz": 125.0, "reached_mhz": 150.0, "margin": 0.2},
    },
    "seeds": {"1": 66.6, "2": 61.0},
}


def test_a_page_of_one_built_board() -> None:
    text = page({"colorlight_i9": MANIFEST})
    assert "| colorlight_i9 | ecp5-25f | 32,191 (73%) | 24,786 (57%) | 46 (43%) | 27 (38%) |" in text
    assert "| colorlight_i9 | sys | 60.0 | 66.6 | +11.0% | 1: 66.6, 2: 61.0 |" in text
    assert "| colorlight_i9 | eth_rx | 125.0 | 150.0 | +20.0% |  |" in text
    assert text.count("| not built yet | not built yet |") == len(NAMES) - 1
    predicted = text.partition("## Predicted")[2].partition("##")[0]
    assert "By `spatten plan`, not measured" in predicted
    assert all(f"\n| {name} |" in predicted for name in NAMES)
    assert "| colorlight_i9 | 30 | SDR x32, 8 MiB | 120 |" in predicted  # as built


def test_seeds_that_could_not_be_routed_are_in_the_spread() -> None:
    text = page({"colorlight_i9": MANIFEST | {"seed_margins": {"1": 0.11, "2": 0.017, "3": None}}})
    assert "| +11.0% | 1: 66.6, 2: 61.0, 3: not routed |" in text


def test_what_does_not_fit_says_why() -> None:
    """512 slots of GPT-2-small are more than the i9's 8 MiB."""
    assert "device memory, MiB: 11.56 asked, expected at most 8 |" in page({})


def test_memory_at_twice_the_clock_is_twice_as_fast() -> None:
    """Bytes a cycle of the system."""
    found = {name: machine_of(find(name)) for name in ("ulx3s", "colorlight_i9", "ecpix5")}
    a_cycle = {name: machine.peak_bytes / machine.clock for name, machine in found.items()}
    assert a_cycle == {"ulx3s": 4, "colorlight_i9": 4, "ecpix5": 8}
