# SPDX-License-Identifier: BSD-2-Clause
"""nextpnr's report: every clock is found, and one that is too slow stops the build with its path."""

from __future__ import annotations

import math
from typing import Any

import pytest

from spatten_fpga.targets.timing import TimingError, check, clocks, nets_of, utilisation

#: A netlist of yosys, cut down: the system's clock has three names, that of Ethernet comes from a pin.
MODULE = {
    "netnames": {
        "sys_clk": {"bits": [7]},
        "crg_clkout0": {"bits": [7]},
        "por_clk": {"bits": [2]},
        "clk25": {"bits": [2]},
        "eth_rx_clk": {"bits": [3]},
        "eth_clocks_rx": {"bits": [3]},
        "eth_tx_clk": {"bits": [3]},
        "data": {"bits": [11, 12]},
    }
}
DOMAINS = {
    "sys": "sys_clk",
    "eth_rx": "eth_rx_clk",
    "eth_tx": "eth_tx_clk",
    "por": "por_clk",
    "gone": "gone_clk",
}


def step(kind: str, delay: float, net: str = "", to: str = "cell") -> dict[str, Any]:
    """A step of a path as nextpnr writes it."""
    found = {"type": kind, "delay": delay, "from": {"cell": "spatten_a"}, "to": {"cell": to}}
    return {**found, "net": net} if net else found


PATH = [
    step("clk-to-q", 0.5),
    step("routing", 6.0, "link_executor_count[3]"),
    step("logic", 0.25),
    step("routing", 5.0, "link_executor_count_LUT4_C_Z[0]$abc$123"),
    step("logic", 0.25),
    step("routing", 3.0, "spatten_core_jobs_valid"),
    step("setup", 0.0, to="spatten_b"),
]


def report(**fmax: tuple[float, float]) -> dict[str, Any]:
    """With one path inside the system's clock and one across clocks, which no frequency stands for."""
    names = {
        "sys": "$glbnet$crg_clkout0",
        "eth_rx": "$glbnet$eth_clocks_rx$TRELLIS_IO_IN",
        "por": "clk25$TRELLIS_IO_IN",
    }
    across = [step("routing", 40.0, "crossing")]
    return {
        "fmax": {names[name]: {"achieved": got, "constraint": asked} for name, (got, asked) in fmax.items()},
        "critical_paths": [
            {"from": "posedge $glbnet$crg_clkout0", "to": "posedge $glbnet$crg_clkout0", "path": PATH},
            {"from": "posedge $glbnet$crg_clkout0", "to": "posedge clk25$TRELLIS_IO_IN", "path": across},
            {"from": "<async>", "to": "posedge $glbnet$crg_clkout0", "path": across},
        ],
        "utilization": {"TRELLIS_COMB": {"used": 3, "available": 24288}, "DCUA": {"used": 0, "available": 2}},
    }


def found(**fmax: tuple[float, float]) -> list:
    return clocks(report(**fmax), nets_of(MODULE, DOMAINS))


def test_clocks_are_called_by_their_domains() -> None:
    result = found(por=(300.0, 25.0), eth_rx=(150.0, 125.0), sys=(66.0, 60.0))
    assert [(clock.name, clock.reached, clock.asked) for clock in result] == [
        ("sys", 66.0, 60.0),
        ("eth_rx", 150.0, 125.0),
        ("por", 300.0, 25.0),
    ]
    assert result[0].margin == pytest.approx(0.1)
    assert result[1].path == ""


def test_a_path_in_words() -> None:
    assert found(sys=(66.0, 60.0))[0].path == (
        "15.0 ns, 14.0 ns of them wires, through 2 cells, from spatten_a to spatten_b by "
        "link_executor_count, spatten_core_jobs_valid"
    )


def test_fast_enough() -> None:
    check(found(sys=(60.0, 60.0), por=(25.0, 25.0)), 0.0, {"sys": 60.0})
    check(found(sys=(66.1, 60.0)), 0.1, {"sys": 60.0})


def test_a_slow_clock_is_named_with_its_path() -> None:
    with pytest.raises(TimingError) as error:
        check(found(sys=(59.9, 60.0), eth_rx=(190.0, 125.0)))
    text = str(error.value)
    assert text.startswith("clock sys reaches 59.9 MHz; expected 60.0. Its slowest path: 15.0 ns, ")
    assert "by link_executor_count, spatten_core_jobs_valid" in text
    assert "eth_rx" not in text


def test_every_slow_clock_is_named() -> None:
    with pytest.raises(
        TimingError, match=r"clock sys reaches .*; clock eth_rx reaches 104\.9 MHz; expected 125"
    ):
        check(found(sys=(50.0, 60.0), eth_rx=(104.9, 125.0)))


def test_too_little_margin() -> None:
    with pytest.raises(TimingError, match=r"clock sys reaches 65.9 MHz; expected 60.0 and 10% more"):
        check(found(sys=(65.9, 60.0)), margin=0.1)


@pytest.mark.parametrize(("reached", "margin"), [(66.0, math.nan), (math.nan, 0.0)])
def test_what_is_no_number_is_too_slow(reached: float, margin: float) -> None:
    with pytest.raises(TimingError, match="clock sys reaches"):
        check(found(sys=(reached, 60.0)), margin)


def test_a_clock_that_nobody_constrained() -> None:
    """nextpnr calls it a pass: what it is held to is the default."""
    with pytest.raises(TimingError, match="clock por was not constrained"):
        check(found(sys=(66.0, 60.0), por=(300.0, 1.0)))


def test_a_clock_that_was_held_to_less_than_it_runs_at() -> None:
    with pytest.raises(TimingError, match=r"clock sys was held to 30.0 MHz, but runs at 60.0"):
        check(found(sys=(66.0, 30.0)), wanted={"sys": 60.0})


def test_a_report_without_the_clock_that_matters() -> None:
    with pytest.raises(TimingError, match="the report says nothing of clock sys"):
        check(found(por=(300.0, 25.0)), wanted={"sys": 60.0})


def test_utilisation_is_of_what_is_used() -> None:
    assert utilisation(report()) == {"TRELLIS_COMB": [3, 24288]}
