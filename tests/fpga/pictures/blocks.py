# SPDX-License-Identifier: BSD-2-Clause
"""The block diagram: units and streams come from the elaborated design, only their places are chosen here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatten.report.figure import svg_figure
from spatten_drivers.config import AcceleratorConfig
from spatten_fpga.core.core import Core

from .streams import Stream, streams, units

WIDTH, HEIGHT = 1.6, 0.62


@dataclass(frozen=True)
class Place:
    """Where a unit is drawn, its centre in grid steps, and what it is called."""

    x: float
    y: float
    title: str
    tall: float = HEIGHT


PLACES = {
    "memory": Place(0, 2.6, "memory\nport", 5.9),
    "engine.reads": Place(2, 1.1, "read\narbiter", 2.9),
    "engine.writes": Place(2, 4.4, "write\narbiter", 2.3),
    "jobs": Place(0, 6.4, "jobs,\ntheir ends"),
    "engine.reader": Place(4, 0.6, "plane reader,\nconversion"),
    "engine.fetch": Place(4, 1.6, "gather,\nplane fetch"),
    "engine.descriptor": Place(4, 2.6, "descriptor,\nchecks"),
    "engine.scores.store": Place(6.2, 0, "query buffer"),
    "engine.scores.buffer": Place(6.2, 1, "K buffer"),
    "engine.scores.array": Place(8.2, 0.5, "Q x K array"),
    "engine.scores.pack": Place(10.2, 0.5, "lane pack"),
    "engine.softmax.place": Place(12.4, -0.1, "place scores"),
    "engine.softmax.scores": Place(12.4, 0.9, "score buffer,\nmaximum"),
    "engine.softmax.exps": Place(14.4, 0.5, "$2^{-x}$"),
    "engine.softmax.buffer": Place(16.4, 0.5, "weight buffer,\nsum"),
    "engine.softmax.pick": Place(16.4, 1.5, "pick keys"),
    "engine.softmax.topk": Place(18.4, 0.5, "local top-k"),
    "engine.visible": Place(6.2, 2.6, "visible keys"),
    "engine.control": Place(8.2, 2.6, "fetch control"),
    "engine.rows": Place(12.4, 2.6, "row control,\nrefetch decision"),
    "engine.counters": Place(16.4, 2.6, "counters"),
    "engine.values.gains": Place(18.4, 4.3, "align,\nall weights"),
    "engine.values.aligned": Place(18.4, 5.3, "align,\nkept weights"),
    "engine.values.compact": Place(18.4, 6.3, "compact,\nkept weights"),
    "engine.values.words": Place(16.4, 5.8, "replay weights"),
    "engine.values.places": Place(16.4, 6.8, "replay places"),
    "engine.values.buffer": Place(10.2, 6.5, "V buffer"),
    "engine.values.array": Place(12.4, 5.5, "prob x V array"),
    "engine.values.divider": Place(14.4, 4.7, "reciprocal"),
    "engine.values.scale": Place(10.2, 5.5, "normalise"),
    "engine.values.totals": Place(10.2, 4.3, "token sums"),
    "engine.outputs": Place(6.2, 5.5, "write-back"),
    "engine.tokens": Place(6.2, 4.3, "token importance,\ntop-k"),
    "engine.heads": Place(4, 3.6, "head importance,\nrank"),
    "engine.answer": Place(4, 4.9, "answer"),
    "answer": Place(4, 6.4, "answer of an\nabort"),
}
#: Frames around the paths: title and the units in them.
GROUPS = {
    "scores": "engine.scores.",
    "softmax": "engine.softmax.",
    "values, importance": "engine.values.",
}
#: Streams that go round others: their corners, between a side of the source and one of the sink.
ROUTES = {
    ("jobs", "engine.descriptor"): [(1.0, 6.4), (1.0, 2.85), (3.05, 2.85), (3.05, 2.75)],
    ("engine.reader", "engine.values.buffer"): [(5.05, 0.8), (5.05, 6.45)],
    ("engine.reader", "engine.values.array"): [(5.2, 0.7), (5.2, 6.0), (11.3, 6.0), (11.3, 5.6)],
    ("engine.softmax.pick", "engine.softmax.place"): [(15.4, 1.35), (15.4, -0.15)],
    ("engine.softmax.pick", "engine.fetch"): [(15.4, 1.75), (5.2, 1.75), (5.2, 1.55)],
    ("engine.values.places", "engine.fetch"): [(15.3, 7.15), (5.35, 7.15), (5.35, 1.75)],
}
CONTROL = "engine.rows"  # orders leave from here, to most units: they are drawn thin
INK, PALE, ORDER = "#222222", "#F4F6F8", "#9AA5B1"
KINDS = {"memory": "#0072B2", "data": "#222222", "order": ORDER}


def draw_blocks(path: Path, config: AcceleratorConfig) -> None:
    """Draw the core of ``config`` into an SVG at ``path``.

    Raises
    ------
    ReportError : nothing can be written there.
    KeyError : a unit has no place in the picture.
    """
    core = Core(config)
    missing = units(core).keys() - PLACES.keys()
    if missing:
        raise KeyError(f"no place in the picture for {sorted(missing)}; give each one in PLACES")
    with svg_figure(path, 13, 5.6) as figure:
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(-1, 19.5)
        axes.set_ylim(7.4, -0.8)
        for title, prefix in GROUPS.items():
            _frame(axes, title, [place for name, place in PLACES.items() if name.startswith(prefix)])
        for one in streams(core):
            _arrow(axes, one)
        for name, place in PLACES.items():
            if name in units(core) or name in ("memory", "jobs"):
                _box(axes, place)


def _box(axes: Any, place: Place) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = (place.x - WIDTH / 2, place.y - place.tall / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner,
            WIDTH,
            place.tall,
            "round,pad=0,rounding_size=0.1",
            facecolor="white",
            edgecolor=INK,
            zorder=3,
        )
    )
    axes.text(place.x, place.y, place.title, ha="center", va="center", fontsize=7.5, zorder=4, color=INK)


def _frame(axes: Any, title: str, inside: list[Place]) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, right = (pick(p.x for p in inside) for pick in (min, max))
    top, bottom = (pick(p.y for p in inside) for pick in (min, max))
    axes.add_patch(
        FancyBboxPatch(
            (left - 0.95, top - 0.5),
            right - left + 1.9,
            bottom - top + 1.0,
            "round,pad=0,rounding_size=0.15",
            facecolor=PALE,
            edgecolor="#D5DBE1",
            zorder=0,
        )
    )
    axes.text(left - 0.9, top - 0.55, title, ha="left", va="bottom", fontsize=8, color="#5B6770")


def _arrow(axes: Any, one: Stream) -> None:
    """A curve that leaves to the side it goes to; wider for more bits a token."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    start, end = PLACES[one.source], PLACES[one.sink]
    kind = "order" if CONTROL in (one.source, one.sink) else "data"
    if {one.source, one.sink} & {"memory", "engine.reads", "engine.writes"}:
        kind = "memory"
    corners = ROUTES.get((one.source, one.sink))
    if corners:
        points = _routed(start, end, corners)
        codes = [Curve.MOVETO] + [Curve.LINETO] * (len(points) - 1)
    else:
        points = _side_to_side(start, end) if abs(end.x - start.x) > WIDTH else _top_to_bottom(start, end)
        codes = [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(points, codes),
            arrowstyle="-|>,head_length=3,head_width=1.6",
            color=KINDS[kind],
            linewidth=0.6 if kind == "order" else 0.5 + len(bin(one.bits)) / 10,
            zorder=1 if kind == "order" else 2,
            shrinkA=0,
            shrinkB=0,
        )
    )
    repeated = one.source == "engine.softmax.topk" and one.sink != "engine.values.gains"  # one beat for three
    if kind != "order" and not repeated:
        middle = _middle_of_line(points) if corners else _middle_of_curve(points)
        axes.text(
            *middle, str(one.bits), fontsize=5.5, color=KINDS[kind], ha="center", va="center", zorder=2.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85},
        )  # fmt: skip


def _side_to_side(start: Place, end: Place) -> list[tuple[float, float]]:
    way = 1 if end.x > start.x else -1
    y0, y1 = _near(start, end.y), _near(end, start.y)
    x0, x1 = start.x + way * WIDTH / 2, end.x - way * WIDTH / 2
    bend = way * max(0.3, abs(x1 - x0) / 2)
    return [(x0, y0), (x0 + bend, y0), (x1 - bend, y1), (x1, y1)]


def _top_to_bottom(start: Place, end: Place) -> list[tuple[float, float]]:
    way = 1 if end.y > start.y else -1
    y0, y1 = start.y + way * start.tall / 2, end.y - way * end.tall / 2
    return [(start.x, y0), (start.x, y0 + (y1 - y0) / 2), (end.x, y0 + (y1 - y0) / 2), (end.x, y1)]


def _routed(start: Place, end: Place, corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A line along ``corners``, horizontal where it leaves and where it arrives."""
    (x0, y0), (x1, y1) = corners[0], corners[-1]
    first = (start.x + WIDTH / 2 * (1 if x0 > start.x else -1), y0)
    last = (end.x + WIDTH / 2 * (1 if x1 > end.x else -1), y1)
    return [first, *corners, last]


def _near(place: Place, y: float) -> float:
    """The height on a box's side that is nearest to ``y``; off its corners."""
    room = max(0.0, place.tall / 2 - 0.2)
    return min(max(y, place.y - room), place.y + room)


def _middle_of_curve(points: list[tuple[float, float]]) -> tuple[float, float]:
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    return (ax + 3 * bx + 3 * cx + dx) / 8, (ay + 3 * by + 3 * cy + dy) / 8


def _middle_of_line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Of its second piece: the first is short."""
    (ax, ay), (bx, by) = points[1:3]
    return (ax + bx) / 2, (ay + by) / 2
