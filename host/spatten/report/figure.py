# SPDX-License-Identifier: BSD-2-Clause
"""Figures as SVG, the same bytes each time. White ground: they read on light and dark pages alike."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .write import check_writable

#: Text stays text, a quarter of the size of outlines, and names one font, not each time all that would do as
#: well. The salt makes the same figure give the same bytes.
LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],
    "svg.hashsalt": "spatten",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextmanager
def svg_figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """A matplotlib figure of so many inches to draw on; it stands at ``path`` when the block ends.

    It is written beside ``path`` first: an interrupt leaves what was there.

    Raises
    ------
    ReportError : nothing can be written there.
    """
    check_writable(path)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
        yield figure
        with tempfile.TemporaryDirectory(prefix=".figure-", dir=path.parent) as scratch:
            drawn = Path(scratch, "figure.svg")
            figure.savefig(drawn, format="svg", facecolor="white", transparent=False, metadata={"Date": None})
            os.replace(drawn, path)
