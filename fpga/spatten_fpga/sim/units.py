# SPDX-License-Identifier: BSD-2-Clause
"""Which unit of a design drives what: Migen's Verilog is one flat module, so this is asked of the design."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from migen import Case, If, Module, Signal
from migen.fhdl.structure import _Assign, _Fragment
from migen.fhdl.tools import (
    list_signals,
    list_targets,
    lower_basics,
    lower_complex_slices,
)

OUTSIDE = ""  # unit of what is no part of the package
Edges = Iterator[tuple[set[Signal], set[Signal]]]


def drivers(top: Module, package: str, unit: str = OUTSIDE) -> dict[object, str]:
    """Signals and memories of a finalised module, and the unit whose statements drive them.

    A unit is a source file of ``package``: the one that holds the class of the innermost module around, or
    its base class. Modules of libraries count to what they are part of; other modules are ``OUTSIDE``.
    """
    unit = _unit_of(type(top), package, unit)
    found: dict[object, str] = {}
    for _, module in top._submodules:
        found |= drivers(module, package, unit)
    fragment: _Fragment = top._fragment  # with those of all inside, which were found already
    for thing in (*list_targets(fragment), *fragment.specials):
        found.setdefault(thing, unit)
    return found


def _unit_of(kind: type, package: str, around: str) -> str:
    for base in kind.__mro__:
        if base.__module__.startswith(f"{package}."):
            return base.__module__.removeprefix(f"{package}.")
    return around if kind.__module__.startswith(("litex.", "migen.")) else OUTSIDE


def lowered(fragment: _Fragment) -> _Fragment:
    """A fragment in which every expression can be written in Verilog; more signals, the same behaviour."""
    return lower_basics(lower_complex_slices(fragment))


def spread(found: dict[object, str], fragment: _Fragment) -> dict[object, str]:
    """Add the signals that lowering made: they belong to what reads them."""
    found = dict(found)
    edges = [(targets, sources) for targets, sources in dependencies(fragment)]
    missing = {signal for targets, _ in edges for signal in targets if signal not in found}
    while missing:
        new = {
            signal: found[target]
            for targets, sources in edges
            for target in targets
            if target in found
            for signal in sources & missing
        }
        if not new:
            break
        found |= new
        missing -= new.keys()
    return found


def dependencies(fragment: _Fragment) -> Edges:
    """(targets, what they depend on) of every assignment and of every memory."""
    for statements in (fragment.comb, *fragment.sync.values()):
        yield from _assignments(statements, set())
    for special in fragment.specials:
        parts = [special, *getattr(special, "ports", ())]  # what is written at a port is read at another
        yield (
            set().union(*(part.list_ios(False, True, True) for part in parts)),
            set().union(*(part.list_ios(True, False, True) for part in parts)),
        )


def _assignments(node: object, around: set[Signal]) -> Edges:
    if isinstance(node, _Assign):
        yield list_targets(node), list_signals(node) | around
    elif isinstance(node, If):
        around = around | list_signals(node.cond)
        yield from _assignments(node.t, around)
        yield from _assignments(node.f, around)
    elif isinstance(node, Case):
        around = around | list_signals(node.test)
        for statements in node.cases.values():
            yield from _assignments(statements, around)
    elif isinstance(node, Iterable):
        for each in node:
            yield from _assignments(each, around)


def observed(fragment: _Fragment, outputs: Iterable[Signal]) -> set[Signal]:
    """Signals on which an output depends, through any number of cycles."""
    sources: dict[Signal, set[Signal]] = {}
    for targets, reads in dependencies(fragment):
        for target in targets:
            sources.setdefault(target, set()).update(reads)
    found: set[Signal] = set()
    ahead = list(outputs)
    while ahead:
        signal = ahead.pop()
        if signal not in found:
            found.add(signal)
            ahead += sources.get(signal, ())
    return found
