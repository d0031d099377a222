# SPDX-License-Identifier: BSD-2-Clause
"""Units of an elaborated core and the streams between them, read from its statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from litex.soc.interconnect.stream import Endpoint
from migen import Module, Record, Signal
from migen.fhdl.structure import Case, If, _Assign
from migen.fhdl.tools import list_signals, list_targets

from spatten_fpga.core.core import Core

#: Modules that only join others: the diagram shows what is inside of them.
JOINTS = ("Core", "Engine", "ScorePath", "SoftmaxPath", "ValuePath")
#: Modules that a token passes unchanged: the diagram shows a stream through them as one arrow.
WIRES = ("SyncFIFO", "Buffer", "Skid", "Fork")


@dataclass(frozen=True)
class Stream:
    """Tokens that go from one unit to another; units are named by their place in the core."""

    source: str
    sink: str
    bits: int


def units(core: Core) -> dict[str, Module]:
    """The units of a core by their dotted place in it, e.g. ``engine.scores.array``."""
    return {
        place: module for place, module in _modules(core, "") if type(module).__name__ not in JOINTS + WIRES
    }


def streams(core: Core) -> list[Stream]:
    """Every stream between two units, once a pair, with the bits of its payload."""
    owner = {
        signal: place for place, found in _units_endpoints(core) for one in found for signal in _tokens(one)
    }
    pairs: dict[tuple[str, str], set[Signal]] = defaultdict(set)
    for start, end in _joined(core, owner):
        if owner[start] != owner[end]:
            pairs[owner[start], owner[end]].add(end)
    return [Stream(*pair, sum(map(len, ends))) for pair, ends in sorted(pairs.items())]


def ports(core: Core) -> dict[str, tuple[list[Endpoint], list[Endpoint]]]:
    """Of each unit, the endpoints that others feed, and those that feed others."""
    found = dict(_units_endpoints(core))
    owner = {signal: place for place, ones in found.items() for one in ones for signal in _tokens(one)}
    starts, ends = (set(side) for side in zip(*_joined(core, owner), strict=True))
    return {
        place: tuple([one for one in ones if side & set(_tokens(one))] for side in (ends, starts))
        for place, ones in found.items()
    }


def _units_endpoints(core: Core) -> Iterator[tuple[str, list[Endpoint]]]:
    for place, unit in units(core).items():
        yield place, list(_endpoints(vars(unit).values()))
    yield "memory", list(_endpoints(vars(core.memory).values()))
    yield "jobs", [core.jobs, core.ends]


def _joined(core: Core, owner: dict[Signal, str]) -> Iterator[tuple[Signal, Signal]]:
    """Signals of units that are assigned to signals of units, itself included, also through joints."""
    readers = _readers(core)
    for signal in owner:
        for end in _reached(signal, readers, owner):
            yield signal, end


def _modules(module: Module, prefix: str) -> Iterator[tuple[str, Module]]:
    for name, inner in module._submodules:
        if hasattr(inner, "_submodules") and type(inner).__name__ != "FSM":
            yield f"{prefix}{name}", inner
            if type(inner).__name__ in JOINTS:
                yield from _modules(inner, f"{prefix}{name}.")


def _readers(core: Core) -> dict[Signal, set[Signal]]:
    """Signals that each signal is assigned to, in the joints and through the wires."""
    readers: dict[Signal, set[Signal]] = defaultdict(set)
    for module in (core, *(module for _, module in _modules(core, ""))):
        kind = type(module).__name__
        if kind in JOINTS:
            states = [
                state for _, inner in module._submodules for state in getattr(inner, "actions", {}).values()
            ]
            for assign in _assignments([module._fragment.comb, *states]):
                for source in list_signals(assign.r):
                    readers[source] |= list_targets(assign)
        elif kind in WIRES:
            for source in getattr(module, "sources", None) or [module.source]:
                for entered, left in zip(_tokens(module.sink), _tokens(source), strict=True):
                    readers[entered].add(left)
    return readers


def _assignments(statements: Any) -> Iterator[_Assign]:
    if isinstance(statements, _Assign):
        yield statements
    elif isinstance(statements, If):
        yield from _assignments(statements.t)
        yield from _assignments(statements.f)
    elif isinstance(statements, Case):
        yield from _assignments(statements.cases.values())
    elif isinstance(statements, Iterable):  # what a state does next is no statement
        for statement in statements:
            yield from _assignments(statement)


def _reached(start: Signal, readers: dict[Signal, set[Signal]], owner: dict[Signal, str]) -> set[Signal]:
    """Units' signals that a unit's signal goes to; not what goes on behind them."""
    ends, seen, ways = set(), {start}, [start]
    while ways:
        for signal in readers.get(ways.pop(), set()) - seen:
            seen.add(signal)
            if signal in owner:
                ends.add(signal)
            else:
                ways.append(signal)
    return ends


def _endpoints(things: Iterable[Any]) -> Iterator[Endpoint]:
    """Endpoints among attributes, in lists and in the ports of memories."""
    for thing in things:
        if isinstance(thing, Endpoint):
            yield thing
        elif isinstance(thing, list | tuple):
            yield from _endpoints(thing)
        elif type(thing).__name__.endswith("Port") and not isinstance(thing, Record):
            yield from _endpoints(vars(thing).values())


def _tokens(endpoint: Endpoint) -> list[Signal]:
    return endpoint.payload.flatten() + endpoint.param.flatten()
