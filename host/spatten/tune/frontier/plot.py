# SPDX-License-Identifier: BSD-2-Clause
"""Quality over bytes, one panel a task: the dense model as a band, schedules untuned and tuned as points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...quality.plot import bytes_axis
from ...report.figure import svg_figure
from .page import Line
from .points import SUBJECTS

STYLES = (("untuned", "before", "#D55E00", "v"), ("tuned", "tuned", "#000000", "s"))


def save_plot(path: Path, lines: Sequence[Line]) -> None:
    """Draw all tasks that were measured."""
    panels = [(s.title, mine) for s in SUBJECTS if (mine := [line for line in lines if line.data == s.name])]
    columns = min(3, max(1, len(panels)))
    rows = -(-max(1, len(panels)) // columns)
    with svg_figure(path, 3.6 * columns, 3.0 * rows) as figure:
        places = list(figure.subplots(rows, columns, squeeze=False).flat)
        for place, (title, mine) in zip(places, panels, strict=False):
            _draw(place, title, mine)
        for place in places[len(panels) :]:
            place.remove()


def _draw(panel: Any, title: str, lines: Sequence[Line]) -> None:
    scale = lines[0].metric.scale
    dense = [scale * part for part in lines[0].quality("control")]
    panel.axhline(dense[0], color="#0072B2", linewidth=1, linestyle="--", label="dense float, as long")
    panel.axhspan(dense[1], dense[2], color="#0072B2", alpha=0.12, linewidth=0)
    for label, name, color, marker in STYLES:
        found = [[scale * part for part in line.quality(name)] for line in lines]
        values = [value for value, _, _ in found]
        error = [[value - low for value, low, _ in found], [high - value for value, _, high in found]]
        ratios = [line.ratio("x32" if name == "tuned" else "x32_before") for line in lines]
        panel.errorbar(
            ratios, values, yerr=error, fmt=marker, color=color, markersize=5, elinewidth=0.7, label=label
        )
    panel.set_title(title, fontsize=9)
    bytes_axis(panel, 1.5, max(line.ratio() for line in lines))
    panel.set_ylabel(f"{lines[0].metric.name}{lines[0].metric.unit}")
    panel.legend(frameon=False, fontsize=8)
