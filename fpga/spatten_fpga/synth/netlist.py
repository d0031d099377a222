# SPDX-License-Identifier: BSD-2-Clause
"""What a netlist of yosys takes of an ECP5, whole and by unit."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

#: Cells of ``synth_ecp5``: what they take. A RAM in LUTs also takes the two LUTs that hold its write port.
COSTS = {
    "LUT4": {"lut": 1},
    "CCU2C": {"lut": 2},
    "TRELLIS_DPR16X4": {"lut": 6},
    "TRELLIS_FF": {"ff": 1},
    "DP16KD": {"ebr": 1},
    "MULT18X18D": {"mult": 1},
}
RESOURCES = ("lut", "ff", "ebr", "mult")
MEMORIES = ("DP16KD", "TRELLIS_DPR16X4")
UNKNOWN = "not attributed"

Cells = Mapping[str, Mapping[str, Any]]


def totals(cells: Cells) -> dict[str, int]:
    """LUTs, flip-flops, block RAMs and multipliers of all cells."""
    found = _sum(cells)
    return {resource: found[resource] for resource in RESOURCES}


def by_unit(cells: Cells, owners: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """The same for each unit, the largest in LUTs first.

    Parameters
    ----------
    cells : of the flat netlist.
    owners : unit of each cell, of :func:`owners_of`.
    """
    units: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for name, cell in cells.items():
        units[owners[name]][name] = cell
    found = {unit: totals(members) for unit, members in units.items()}
    return dict(sorted(found.items(), key=lambda item: (-item[1]["lut"], item[0])))


def _sum(cells: Cells) -> Counter[str]:
    found: Counter[str] = Counter()
    for cell in cells.values():
        found.update(COSTS.get(cell["type"], {}))
    return found


def owners_of(module: Mapping[str, Any], units: Mapping[str, str]) -> dict[str, str]:
    """The unit of each cell of a flat netlist.

    Flip-flops and memories belong to the unit that drives the signal or memory they are named after. Logic
    has no names of its own after mapping: it belongs to the unit that most of its readers belong to.

    Parameters
    ----------
    module : the top of the netlist, as ``write_json`` writes it.
    units : unit of each signal and memory of the Verilog, by name.
    """
    cells: Cells = module["cells"]
    nets = _named_nets(module, units)
    owners: dict[str, str] = {}
    for name, cell in cells.items():
        unit = _anchor(name, cell, nets, units)
        if unit is not None:
            owners[name] = unit
    readers = _readers(cells)
    waiting = [name for name in cells if name not in owners]
    while waiting:
        found = {}
        for name in waiting:
            votes = Counter(owners[reader] for reader in readers[name] if reader in owners)
            if votes:
                found[name] = max(votes, key=lambda unit: (votes[unit], unit))
        if not found:
            break
        owners.update(found)
        waiting = [name for name in waiting if name not in found]
    return {**owners, **dict.fromkeys(waiting, UNKNOWN)}


def _named_nets(module: Mapping[str, Any], units: Mapping[str, str]) -> dict[int, str]:
    """Unit of each net that carries a bit of a signal of the Verilog."""
    nets = ((unit_of(name, units), net["bits"]) for name, net in module["netnames"].items())
    return {bit: unit for unit, bits in nets if unit for bit in bits}


def unit_of(name: str, units: Mapping[str, str]) -> str | None:
    """Unit of a signal of the Verilog; what a memory's port holds is named after the memory."""
    return units.get(name) or units.get(re.sub(r"_(dat|adr)\d+$", "", name))


def _anchor(name: str, cell: Mapping[str, Any], nets: Mapping[int, str], units: Mapping[str, str]):
    if cell["type"] in MEMORIES:
        return units.get(re.split(r"\.\d", name)[0])
    if cell["type"] == "TRELLIS_FF":
        bits = (bit for bit in cell["connections"]["Q"] if bit in nets)
        return next((nets[bit] for bit in bits), None)
    return None


def _readers(cells: Cells) -> dict[str, list[str]]:
    """Cells that read an output of a cell, by its name."""
    driven = {bit: name for name, cell in cells.items() for _, bit in pins(cell, "output")}
    found: dict[str, list[str]] = defaultdict(list)
    for name, cell in cells.items():
        for _, bit in pins(cell, "input"):
            if bit in driven:
                found[driven[bit]].append(name)
    return found


def pins(cell: Mapping[str, Any], direction: str) -> Iterator[tuple[str, int]]:
    """Each net at an ``input`` or ``output`` of a cell, with its pin; constants are none."""
    for port, bits in cell["connections"].items():
        if cell["port_directions"][port] == direction:
            yield from ((port, bit) for bit in bits if isinstance(bit, int))  # constants are strings
