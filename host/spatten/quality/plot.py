# SPDX-License-Identifier: BSD-2-Clause
"""Quality over K/V bytes, one panel a task. White ground: it reads on light and on dark pages alike."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..report.figure import svg_figure
from .report import Line, lines_of
from .rows import FLOAT
from .study import Cell, Plan
from .tasks import Task

#: Colour (Okabe and Ito, told apart by colour-blind readers too) and marker of each family of rows.
STYLES = {
    "bits": ("#0072B2", "o"),
    "tokens": ("#D55E00", "v"),
    "heads": ("#009E73", "s"),
    "values": ("#CC79A7", "D"),
    "together": ("#000000", "*"),
}
TICKS = (1, 2, 4, 8, 16, 32, 64)


def save_plot(path: Path, plan: Plan, cells: Sequence[Cell]) -> None:
    """Draw all tasks of the plan into an SVG at ``path``; the same study gives the same bytes.

    Raises
    ------
    ReportError : nothing can be written there.
    """
    tables = [(task, lines_of(task, plan.rows_of(task), cells)) for task in plan.tasks]
    columns = min(3, len(tables))
    rows = -(-len(tables) // columns)
    with svg_figure(path, 3.4 * columns, 2.9 * rows + 0.5) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for panel, (task, lines) in zip(panels, tables, strict=False):
            _draw(panel, task, lines)
        for panel in list(figure.axes)[len(tables) :]:
            panel.remove()
        _legend(figure, rows=1 if columns > 2 else 2)


def _draw(panel: Any, task: Task, lines: Sequence[Line]) -> None:
    """One task: float as a line with its interval as a band, every other row as a point with its interval."""
    scale = task.metric.scale
    baseline = next(line.quality for line in lines if line.row == FLOAT)
    panel.axhline(scale * baseline.value, color="#666666", linewidth=1, linestyle="--")
    panel.axhspan(scale * baseline.low, scale * baseline.high, color="#666666", alpha=0.12, linewidth=0)
    for family, (color, marker) in STYLES.items():
        for hollow in (False, True):
            chosen = [
                line for line in lines if line.row.family == family and (line.verdict == "lost") == hollow
            ]
            _points(
                panel, chosen, scale, color=color, marker=marker, markerfacecolor="white" if hollow else color
            )
    _dress(panel, task, max(line.cell.kv_ratio(32) for line in lines))


def _points(panel: Any, lines: Sequence[Line], scale: float, **look: str) -> None:
    """Rows that look alike as one artist; each artist costs the file its own marker."""
    if lines:
        ratios = [line.cell.kv_ratio(32) for line in lines]
        values = [scale * line.quality.value for line in lines]
        below = [scale * (line.quality.value - line.quality.low) for line in lines]
        above = [scale * (line.quality.high - line.quality.value) for line in lines]
        size = 8 if look["marker"] == "*" else 5
        panel.errorbar(
            ratios, values, yerr=[below, above], markersize=size, elinewidth=0.7, linestyle="none", **look
        )


def bytes_axis(panel: Any, nearest: float, farthest: float) -> None:
    """Factors of bytes along a panel, doubling from tick to tick, and a grid."""
    panel.set_xscale("log", base=2)
    ticks = [tick for tick in TICKS if tick <= 2 * farthest]
    panel.set_xticks(ticks, [f"{tick}x" for tick in ticks])
    panel.set_xlim(nearest, 1.25 * farthest)
    panel.minorticks_off()
    panel.set_xlabel("fewer K/V bytes than 32 bit")
    panel.grid(alpha=0.25, linewidth=0.5)


def _dress(panel: Any, task: Task, farthest: float) -> None:
    panel.set_title(textwrap.fill(task.title, 36), fontsize=9)  # one line would be cut off
    bytes_axis(panel, 0.9, farthest)
    more = "up" if task.metric.more_is_better else "down"
    panel.set_ylabel(f"{task.metric.name}{task.metric.unit} (better: {more})")


def _legend(figure: Any, rows: int) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=color, marker=marker, linestyle="none", label=name)
        for name, (color, marker) in STYLES.items()
    ]
    marks.append(Line2D([], [], color="#666666", linestyle="--", label="float, 95 % band"))
    marks.append(
        Line2D(
            [],
            [],
            color="#666666",
            marker="o",
            markerfacecolor="white",
            linestyle="none",
            label="hollow: quality lost",
        )
    )
    figure.legend(
        handles=marks,
        loc="outside lower center",
        ncols=-(-len(marks) // rows),
        frameon=False,
        fontsize=8,
        columnspacing=1.2,
    )
