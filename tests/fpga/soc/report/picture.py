# SPDX-License-Identifier: BSD-2-Clause
"""docs/soc-roofline.svg: where the jobs lie under the roofs of arrays and DRAM, as simulated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatten.report.figure import svg_figure
from spatten_drivers.config import PRESETS

from .jobs import DRAM_BYTES_PER_CYCLE, PRESET

PICTURE = Path("docs/soc-roofline.svg")
#: Multiplication and addition, of both arrays, a cycle.
PEAK = 2 * 2 * PRESETS[PRESET].lanes
DENSE, PRUNED, ROOF = "#1f5a96", "#c2571a", "#444444"
#: name of the job: (its label, whether something is pruned)
POINTS = {
    "decode": ("decode, 992 keys", False),
    "decode_pruned": ("decode, 30 % of the keys", True),
    "prefill": ("prefill 384", False),
    "dense first": ("traces, first token", False),
    "per8 first": ("traces, first token", True),
    "dense last": ("traces, last token", False),
    "per8 last": ("traces, last token", True),
}


def draw(played: Mapping[str, Any], path: Path = PICTURE) -> None:
    """Draw the jobs: dense ones hollow, pruned ones full."""
    with svg_figure(path, 6.4, 4.2) as figure:
        axes = figure.subplots()
        corner = PEAK / DRAM_BYTES_PER_CYCLE
        left, right = 1.0, 16 * corner
        axes.plot([left, corner, right], [left * DRAM_BYTES_PER_CYCLE, PEAK, PEAK], color=ROOF)
        axes.annotate(
            f"{PEAK // 2} multipliers", (right, PEAK), (0, 4), textcoords="offset points", ha="right"
        )
        axes.annotate(f"DRAM: {DRAM_BYTES_PER_CYCLE} bytes a cycle", (left, 12 * left), va="bottom")
        for number, (name, (label, pruned)) in enumerate(POINTS.items(), 1):
            one = played[name]
            place = one["operations"] / one["bytes"], one["operations"] / one["cycles"]
            color, fill = (PRUNED, "full") if pruned else (DENSE, "none")
            kind = "pruned" if pruned else "nothing pruned"
            axes.plot(*place, "o", color=color, fillstyle=fill, label=f"{number}  {label}, {kind}")
            below = (-10, 5)[number % 2]
            axes.annotate(f"{number}", place, (4, below), textcoords="offset points", fontsize=8)
        axes.legend(loc="lower right", frameon=False, fontsize=8)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="operations a byte of DRAM",
            ylabel="operations a cycle",
            ylim=(None, 2 * PEAK),
            title="ECPIX-5 at 75 MHz, core ecp5-85f: simulated",
        )
