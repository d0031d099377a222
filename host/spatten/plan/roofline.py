# SPDX-License-Identifier: BSD-2-Clause
"""Where workloads lie under a machine's roofs: what the arrays could compute, what the DRAM could bring."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatten_drivers.errors import ConfigError

from ..report.figure import svg_figure
from .boards import Machine
from .comparison import Comparison
from .plan import Phase

WHOLE, PRUNED, ROOF = "#1f5a96", "#c2571a", "#444444"


@dataclass(frozen=True)
class Workload:
    """A phase with a name, as its schedule has it and with nothing pruned."""

    name: str
    pruned: Phase
    dense: Phase


def workloads(made: Comparison) -> list[Workload]:
    """The phases of a plan."""
    return [Workload(name, phase, made.dense[name]) for name, phase in made.pruned.items()]


def place(phase: Phase) -> tuple[float, float]:
    """Operations a byte that goes to or from DRAM, and operations a second."""
    return phase.operations / phase.total_bytes, phase.operations / phase.seconds


def draw_roofline(machine: Machine, points: Sequence[Workload], path: Path) -> None:
    """Draw workloads under the roofs of a machine, dense ones hollow and pruned ones full.

    Raises
    ------
    ConfigError : matplotlib is not installed.
    ReportError : nothing can be written at ``path``.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("a roofline needs matplotlib, which is not installed; run: pip install matplotlib")
    with svg_figure(path, 6.4, 4.2) as figure:
        axes = figure.subplots()
        _draw_roofs(axes, machine, [place(one)[0] for point in points for one in (point.pruned, point.dense)])
        for number, point in enumerate(points, 1):
            _draw_workload(axes, number, point)
        axes.plot([], [], "o", color=WHOLE, fillstyle="none", label="nothing pruned")
        axes.plot([], [], "o", color=PRUNED, label="pruned")
        axes.legend(loc="lower right", frameon=False)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="operations a byte of DRAM",
            ylabel="operations a second",
            ylim=(None, 2 * machine.peak_operations),
            title=f"{machine.title} at {machine.clock / 1e6:g} MHz, {machine.dram.name}: predicted",
        )


def _draw_roofs(axes: Any, machine: Machine, intensities: Sequence[float]) -> None:
    corner = machine.peak_operations / machine.peak_bytes
    left, right = min(*intensities, corner) / 2, max(*intensities, corner) * 2
    axes.plot(
        [left, corner, right],
        [left * machine.peak_bytes, machine.peak_operations, machine.peak_operations],
        color=ROOF,
    )
    compute = f"{2 * machine.config.lanes} multipliers: {machine.peak_operations / 1e9:.1f} G/s"
    axes.annotate(compute, (right, machine.peak_operations), (0, 4), textcoords="offset points", ha="right")
    memory = f"DRAM: {machine.peak_bytes / 1e6:,.0f} MB/s"
    axes.annotate(memory, (left, left * machine.peak_bytes), (6, 0), textcoords="offset points", va="bottom")


def _draw_workload(axes: Any, number: int, point: Workload) -> None:
    """Two marks and an arrow; its name stands in the legend, as points may lie close together."""
    dense, pruned = place(point.dense), place(point.pruned)
    axes.annotate("", pruned, dense, arrowprops={"arrowstyle": "->", "color": "#999999"})
    axes.plot(*dense, "o", color=WHOLE, fillstyle="none")
    axes.plot(*pruned, "o", color=PRUNED)
    below = -10 - 9 * ((number - 1) % 2)
    axes.annotate(f"{number}", pruned, (3, below), textcoords="offset points", fontsize=8)
    axes.plot([], [], " ", label=f"{number}  {point.name}")
