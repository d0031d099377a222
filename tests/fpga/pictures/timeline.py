# SPDX-License-Identifier: BSD-2-Clause
"""The life of a query's rows in the pipeline, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spatten.report.figure import svg_figure

from .life import Span

#: Top to bottom as a row goes through the core.
LANES = (
    "descriptor", "queries", "K, MSB plane", "K, LSB plane", "Q x K array", "softmax", "top-k: in",
    "top-k: out", "V, MSB plane", "V, LSB plane", "prob x V array", "normalise", "outputs", "importance",
    "answer",
)  # fmt: skip
MEMORY_LANES = {
    "descriptor",
    "queries",
    "outputs",
    "importance",
    "answer",
    *(x for x in LANES if "plane" in x),
}
#: Okabe and Ito, told apart by colour-blind readers too; grey is work of the whole job.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
JOB = "#8A949E"


def draw_timeline(path: Path, spans: Sequence[Span], title: str) -> None:
    """Draw spans as bars, a lane a unit, a colour a head, into an SVG at ``path``.

    Raises
    ------
    ReportError : nothing can be written there.
    """
    lanes = [lane for lane in LANES if any(span.lane == lane for span in spans)]
    with svg_figure(path, 11, 0.26 * len(lanes) + 1.3) as figure:
        axes = figure.subplots()
        for height, lane in enumerate(lanes):
            if lane in MEMORY_LANES:
                axes.axhspan(height - 0.5, height + 0.5, color="#F1F5F9", linewidth=0, zorder=0)
            for row in {span.row for span in spans if span.lane == lane}:
                bars = [(s.start, s.end - s.start) for s in spans if (s.lane, s.row) == (lane, row)]
                colour = JOB if row < 0 else COLOURS[row % len(COLOURS)]
                axes.broken_barh(bars, (height - 0.36, 0.72), facecolor=colour, linewidth=0)
        axes.set_yticks(range(len(lanes)), lanes)
        axes.set_ylim(len(lanes) - 0.5, -0.5)
        axes.set_xlim(0, max(span.end for span in spans))
        axes.set_xlabel("cycle")
        axes.set_title(title, fontsize=9, loc="left")
        axes.grid(axis="x", alpha=0.25, linewidth=0.5)
        axes.tick_params(axis="y", length=0)
        _legend(axes, sorted({span.row for span in spans if span.row >= 0}))


def _legend(axes: object, rows: Sequence[int]) -> None:
    from matplotlib.patches import Patch

    marks = [Patch(color=COLOURS[row % len(COLOURS)], label=f"head {row}") for row in rows]
    marks += [Patch(color=JOB, label="whole job"), Patch(color="#F1F5F9", label="on the memory port")]
    axes.figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False, fontsize=8)
