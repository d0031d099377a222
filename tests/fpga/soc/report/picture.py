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
#: name of the job: (its label, its mark, whether something is pruned)
POINTS = {
    "decode": ("decode, 992 keys", "o", False),
    "decode_pruned": ("decode, 30 % of the keys", "o", True),
    "dense first": ("traces, first token", "s", False),
    "per8 first": ("traces, first token", "s", True),
    "dense last": ("traces, last token", "^", False),
    "per8 last": ("traces, last token", "^", True),
    "prefill": ("prefill 384", "D", False),
}
#: Operations a byte and a cycle of the part that is shown larger: decode jobs lie close together.
LARGER = (1.8, 2.8), (12.0, 22.0)


def draw(played: Mapping[str, Any], path: Path = PICTURE) -> None:
    """Draw the jobs: dense ones hollow, pruned ones full."""
    with svg_figure(path, 6.8, 4.6) as figure:
        axes = figure.subplots()
        _draw_all(axes, played)
        axes.annotate(f"{PEAK // 2} multipliers", (500, PEAK), (0, 4), textcoords="offset points", ha="right")
        axes.annotate(f"DRAM: {DRAM_BYTES_PER_CYCLE} bytes a cycle", (12, 80), ha="left", va="top")
        axes.legend(loc="lower right", frameon=False, fontsize=8)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="operations a byte of DRAM",
            ylabel="operations a cycle",
            ylim=(5, 2 * PEAK),
            title="ECPIX-5 at 75 MHz, core ecp5-85f: simulated",
        )
        part = axes.inset_axes((0.06, 0.6, 0.27, 0.36))
        _draw_all(part, played)
        part.set(xlim=LARGER[0], ylim=LARGER[1])
        axes.indicate_inset_zoom(part)


def _draw_all(axes: Any, played: Mapping[str, Any]) -> None:
    corner = PEAK / DRAM_BYTES_PER_CYCLE
    axes.plot([1, corner, 16 * corner], [DRAM_BYTES_PER_CYCLE, PEAK, PEAK], color=ROOF)
    for name, (label, mark, pruned) in POINTS.items():
        one = played[name]
        place = one["operations"] / one["bytes"], one["operations"] / one["cycles"]
        color, fill = (PRUNED, "full") if pruned else (DENSE, "none")
        kind = "pruned" if pruned else "nothing pruned"
        axes.plot(*place, mark, color=color, fillstyle=fill, label=f"{label}, {kind}")
