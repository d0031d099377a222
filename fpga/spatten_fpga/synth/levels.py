# SPDX-License-Identifier: BSD-2-Clause
"""``python -m spatten_fpga.synth.levels``: the longest chains of logic of a netlist, before it is placed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from spatten_drivers.errors import SpattenError

from .netlist import pins
from .timing import signal_of

EPILOG = """\
A level is a LUT, a carry chain, a read of LUT RAM or a multiplier; multiplexers behind LUTs count to these.
Of chains that begin or end with the same signal the longest is listed. Before anything is placed, what is
long here is what a clock is lost by first.

example:
  python -m spatten_fpga.synth.levels build/ecpix5/gateware/spatten.json --count 30

exit codes: 0 listed, 2 a wrong call, or no netlist of yosys
"""

#: Levels of a cell, by kind; what is not here begins and ends chains.
LEVELS = {
    "LUT4": 1,
    "PFUMX": 0,
    "L6MUX21": 0,
    "CCU2C": 1,
    "MULT18X18D": 1,
    "TRELLIS_DPR16X4": 1,
}
NOWHERE = (-1_000_000, None)  # levels to no end: outputs that nothing takes
CLOCKS = {"CLK", "CLKA", "CLKB", "CLK0", "CLK1", "CLK2", "CLK3", "WCK"}

Bit = int
Module = Mapping[str, Any]


@dataclass(frozen=True)
class Chain:
    """Logic from a register, or a memory, to another.

    Attributes
    ----------
    levels : of logic.
    start, end : signals that it begins and ends with, the end with the pin of its register.
    over : signals on the way.
    """

    levels: int
    start: str
    end: str
    over: tuple[str, ...]


class NetlistError(SpattenError):
    """A file is no netlist of yosys, or its logic runs in a circle."""


def chains(module: Module) -> list[Chain]:
    """The longest chains, longest first, each with a start and an end that no longer one has.

    Parameters
    ----------
    module : the top of a netlist of ``synth_ecp5``, as ``write_json`` has it.

    Raises
    ------
    NetlistError : logic runs in a circle.
    """
    names, followed, ends = _names(module), _followed(module), _ends(module)
    ahead: dict[Bit, tuple[int, Bit | None]] = {}
    for bit in _from_the_ends(followed, names):
        ways = [(levels + ahead[made][0], made) for made, levels in followed.get(bit, ())]
        ahead[bit] = max(ways, default=(0, None) if bit in ends else NOWHERE)
    found: dict[str, Chain] = {}
    for bit in _starts(module):
        name, (levels, _) = names.get(bit, "?"), ahead.get(bit, (0, None))
        if levels > (found[name].levels if name in found else 0):
            way = _way(bit, ahead)
            over = dict.fromkeys(names[at] for at in way[1:] if at in names)
            found[name] = Chain(levels, name, ends[way[-1]], tuple(over))
    by_end: dict[str, Chain] = {}
    for chain in sorted(found.values(), key=lambda chain: (-chain.levels, chain.start)):
        by_end.setdefault(chain.end, chain)
    return list(by_end.values())


def _followed(module: Module) -> dict[Bit, list[tuple[Bit, int]]]:
    """What logic makes of each bit, and the levels on the way."""
    found: dict[Bit, list[tuple[Bit, int]]] = {}
    for cell in module["cells"].values():
        for pin, bit in pins(cell, "input"):
            if _passes(cell["type"], pin):
                levels = _levels(cell["type"], pin)
                found.setdefault(bit, []).extend((made, levels) for _, made in pins(cell, "output"))
    return found


def _from_the_ends(followed: Mapping[Bit, Sequence[tuple[Bit, int]]], names: Mapping[Bit, str]) -> list[Bit]:
    """All bits of chains, each behind those that logic makes of it."""
    order = TopologicalSorter({bit: [made for made, _ in by] for bit, by in followed.items()})
    try:
        return list(order.static_order())
    except CycleError as error:
        circle = ", ".join(names.get(bit, "?") for bit in error.args[1])
        raise NetlistError(f"logic runs in a circle, by {circle}; expected a register in it") from error


def _way(bit: Bit, ahead: Mapping[Bit, tuple[int, Bit | None]]) -> list[Bit]:
    """The bits of the longest chain from a bit on."""
    way: list[Bit] = []
    following: Bit | None = bit
    while following is not None:
        way.append(following)
        following = ahead[following][1]
    return way


def _passes(kind: str, pin: str) -> bool:
    """Whether outputs follow the pin in the same cycle: those of LUT RAM follow what it is read by alone."""
    if kind == "TRELLIS_DPR16X4":
        return pin.startswith("RAD")
    return kind in LEVELS and pin not in CLOCKS


def _levels(kind: str, pin: str) -> int:
    """Of the way in by a pin; the carry chain of an adder is one level, however long."""
    return 0 if (kind, pin) == ("CCU2C", "CIN") else LEVELS[kind]


def _starts(module: Module) -> Iterator[Bit]:
    """Bits that chains begin with."""
    for cell in module["cells"].values():
        if cell["type"] not in LEVELS:
            yield from (bit for _, bit in pins(cell, "output"))


def _ends(module: Module) -> dict[Bit, str]:
    """For each bit that a register or memory takes, one that does, with its pin."""
    return {
        bit: f"{signal_of(name)}.{pin}"
        for name, cell in module["cells"].items()
        for pin, bit in pins(cell, "input")
        if pin not in CLOCKS and not _passes(cell["type"], pin)
    }


def _names(module: Module) -> dict[Bit, str]:
    """The shortest name of each net, which is that of the source."""
    found: dict[Bit, str] = {}
    for name in sorted(module["netnames"], key=len, reverse=True):
        found.update((bit, signal_of(name)) for bit in module["netnames"][name]["bits"])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """List what the command line asks for; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        found = chains(_top(given.netlist))
    except SpattenError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for chain in found[: given.count]:
        sys.stdout.write(f"{chain.levels:3} levels  {chain.start} -> {chain.end}\n")
        if given.over:
            sys.stdout.write("".join(f"              {name}\n" for name in chain.over))
    return 0


def _top(path: Path) -> Module:
    try:
        modules = json.loads(path.read_text("utf-8"))["modules"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NetlistError(
            f"{str(path)!r} is no netlist of yosys ({error}); expected the .json that write_json makes, such "
            "as build/ecpix5/gateware/spatten.json of a target's build"
        ) from error
    tops = [module for module in modules.values() if "top" in module.get("attributes", {})]
    found: Module = (tops or list(modules.values()))[0]
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spatten_fpga.synth.levels",
        description="List the longest chains of logic between registers of a mapped netlist.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("netlist", type=Path, help="JSON of yosys, mapped by synth_ecp5")
    parser.add_argument("--count", type=int, default=20, help="how many (%(default)s)")
    parser.add_argument("--over", action="store_true", help="list the signals on the way, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
