# SPDX-License-Identifier: BSD-2-Clause
"""What nextpnr says: MHz after placement and after routing, the slowest path, how many wires it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_FREQUENCY = re.compile(r"Max frequency for clock '[^']*': +([\d.]+) MHz")
_TILES = re.compile(r"at iteration .* wirelen = (\d+)")
_SHARED = re.compile(r"iter=\d+ wires=\d+ overused=(\d+)")
#: What yosys hangs on a signal's name to name what it makes of it, and the number of a bit.
_MADE = re.compile(r"_(TRELLIS_FF|LUT4|PFUMX|L6MUX21|CCU2C|MULT18X18D|DP16KD)_.*|\[\d+\]$|[$.].*")
_PART = re.compile(r"\$(CCU2_COMB\d|TRELLIS_\w+|COMB\d?|PFUMX\w*)$")  # nextpnr's suffixes of a cell's parts


def signal_of(name: str) -> str:
    """The signal of the source that a net or cell was named after; empty if it was none."""
    return _MADE.sub("", name)


def frequencies(log: str) -> list[float]:
    """MHz, in the order they were found: after placement, after routing."""
    return [float(number) for number in _FREQUENCY.findall(log)]


def wirelength(log: str) -> int | None:
    """Tiles that the wires span after placement, by half the girth of each net; ``None`` if never placed."""
    found = _TILES.findall(log)
    return int(found[-1]) if found else None


def shared_wires(log: str) -> list[int]:
    """Wires that more than one net uses after each round of router2."""
    return [int(number) for number in _SHARED.findall(log)]


def slowest(report: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Steps of the longest path from register to register, of nextpnr's report."""
    inside = [path for path in report["critical_paths"] if "<async>" not in (path["from"], path["to"])]
    return max((path["path"] for path in inside), key=_length, default=[])


def _length(path: Sequence[Mapping[str, Any]]) -> float:
    return sum(step["delay"] for step in path)


def in_numbers(path: Sequence[Mapping[str, Any]]) -> str:
    """Length, wires, cells and ends of a path that is not empty."""
    wires = sum(step["delay"] for step in path if step["type"] == "routing")
    steps = sum(step["type"] == "logic" for step in path)
    ends = f"from {path[0]['from']['cell']} to {path[-1]['to']['cell']}"
    return f"{_length(path):.1f} ns, {wires:.1f} ns of them wires, through {steps} cells, {ends}"


def in_words(path: Sequence[Mapping[str, Any]], owners: Mapping[str, str]) -> str:
    """A path as a sentence.

    Parameters
    ----------
    path : of :func:`slowest`, not empty.
    owners : unit of each cell, of :func:`.netlist.owners_of`.
    """
    crossed: list[str] = []
    for step in path:
        unit = owners.get(_PART.sub("", step["to"]["cell"]))
        if unit and unit not in crossed[-1:]:
            crossed.append(unit)
    return f"{in_numbers(path)}; units: {', then '.join(crossed) or 'unknown'}"
