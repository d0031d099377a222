# SPDX-License-Identifier: BSD-2-Clause
"""What a tuning looked at and what came of it: distances over bytes, test quality over bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..report.figure import svg_figure

if TYPE_CHECKING:
    from .result import Outcome

#: What is nearer is so by rounding, and may be below zero.
LEAST = 1e-6
LOOK, AGAIN, TRIAL, RESULT = "#0072B2", "#009E73", "#D55E00", "#000000"


def save_plot(path: Path, outcome: Outcome) -> None:
    """Two panels as an SVG at ``path``."""
    with svg_figure(path, 7.2, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        _search(left, outcome)
        _result(right, outcome)


def _search(panel: Any, outcome: Outcome) -> None:
    for kind, color, name in (
        ("look", LOOK, "looked at, untrained"),
        ("again", AGAIN, "the best again, on more rows"),
        ("trial", TRIAL, "of these tried, with some training"),
    ):
        parts = [part for part in outcome.looked_at if part["kind"].startswith(kind)]
        ratios = [part["ratio"] for part in parts]
        distances = [max(part["distance"], LEAST) for part in parts]
        panel.plot(ratios, distances, "o", color=color, markersize=4, label=name)
    panel.set_xlabel("fewer K/V bytes than 32 bit")
    panel.set_ylabel("distance from the dense answers")
    panel.set_yscale("log")
    panel.legend(frameon=False, fontsize=8)
    panel.grid(alpha=0.25, linewidth=0.5)


def _result(panel: Any, outcome: Outcome) -> None:
    metric = outcome.metric
    points = [("dense float", 1.0, outcome.baseline.scores, "o", LOOK)]
    for name, part, color in (("without tuning", outcome.before, TRIAL), ("tuned", outcome.tuned, RESULT)):
        points.append((name, part.ratio(32), part.scores, "s" if name == "tuned" else "v", color))
    for name, ratio, scores, marker, color in points:
        value, low, high = (metric.scale * part for part in metric.estimate(scores))
        error = [[value - low], [high - value]]
        panel.errorbar(
            [ratio], [value], yerr=error, fmt=marker, color=color, markersize=5, elinewidth=0.8, label=name
        )
    panel.set_xlabel("fewer K/V bytes than 32 bit")
    panel.set_ylabel(f"{metric.name}{metric.unit}, test rows")
    panel.legend(frameon=False, fontsize=8)
    panel.grid(alpha=0.25, linewidth=0.5)
