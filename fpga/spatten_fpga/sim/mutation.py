# SPDX-License-Identifier: BSD-2-Clause
"""Mutants of a design: small wrong changes, all compiled at once and chosen by an input.

A test bench is as good as the mutants it kills. Each becomes ``mutant == number ? changed : original`` in the
one Verilog text, so that thousands cost one compilation (mutant schemata: Untch, Offutt and Harrold, 1993).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from litex.gen.fhdl.verilog import _generate_expression
from migen import Case, Cat, Constant, If, Mux, ResetSignal, Signal
from migen.fhdl.structure import Replicate, _Assign, _Fragment, _Operator
from migen.fhdl.tools import list_targets

SELECT_BITS = 16
#: What an operator becomes.
SWAPS = {
    "+": "-",
    "-": "+",
    "*": "+",
    "&": "|",
    "|": "&",
    "^": "&",
    "==": "!=",
    "!=": "==",
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
}
Namer = Callable[[Any], str]


@dataclass(frozen=True)
class Site:
    """A place where the design can be changed.

    Attributes
    ----------
    unit : of the design.
    target : the signal whose statement is changed.
    kind : operator, constant, condition, assignment, reset (dropped) or reset value.
    before, after : expressions, or None for a statement that is dropped.
    """

    unit: str
    target: Signal
    kind: str
    before: Any
    after: Any

    def describe(self, names: Namer) -> dict[str, str]:
        """In words of the Verilog."""
        return {
            "unit": self.unit,
            "signal": names(self.target),
            "kind": self.kind,
            "before": _text(self.before, names),
            "after": _text(self.after, names),
        }


class _Namespace:
    """What LiteX's printer asks of a namespace."""

    def __init__(self, names: Namer) -> None:
        self.get_name = names


def _text(expression: Any, names: Namer) -> str:
    return "" if expression is None else str(_generate_expression(_Namespace(names), expression)[0])


class Mutator:
    """Finds the sites of a design, and makes mutants of some.

    The sites are those of a fragment that was :func:`.units.lowered`; one pass finds them, a second one with
    ``chosen`` changes them, in the same order.

    Parameters
    ----------
    units : the unit of a signal's statements; what has none stays as it is.
    select : the input that chooses a mutant; 0 chooses none.
    chosen : number of the mutant at some sites, by place in ``sites``.
    seed : of what constants become.
    resets : signals that reset parts of the design; what is assigned under them are reset values.
    """

    def __init__(
        self,
        units: Mapping[object, str],
        select: Signal,
        chosen: Mapping[int, int] | None = None,
        seed: int = 0,
        resets: Iterable[Signal] = (),
    ) -> None:
        self.units, self.select, self.chosen = units, select, chosen or {}
        self.reset_duids, self.in_reset = {signal.duid for signal in resets}, False
        self.draws = random.Random(seed)
        self.sites: list[Site] = []
        self.target: Signal | None = None

    def fragment(self, fragment: _Fragment) -> _Fragment:
        """The design with its mutants."""
        sync = {name: self.statements(body) for name, body in fragment.sync.items()}
        for name, body in sync.items():
            body += self.resets(name, body)
        return _Fragment(self.statements(fragment.comb), sync, fragment.specials, fragment.clock_domains)

    # Sites -------------------------------------------------------------------------------------------

    def number(self, kind: str, before: Any, after: Any) -> int:
        """Note a site; the number of its mutant, or 0."""
        assert self.target is not None
        if self.in_reset:
            kind = {"assignment": "reset", "constant": "reset value"}.get(kind, kind)
        self.sites.append(Site(self.units[self.target], self.target, kind, before, after))
        return self.chosen.get(len(self.sites) - 1, 0)

    def choice(self, kind: str, before: Any, after: Any, now: Any, changed: Any) -> Any:
        """An expression at a site: ``now``, or with its mutant chosen ``changed``."""
        number = self.number(kind, before, after)
        return Mux(self.select == number, changed, now) if number else now

    # Statements --------------------------------------------------------------------------------------

    def statements(self, body: Iterable[Any]) -> list[Any]:
        return [self.statement(each) for each in body]

    def statement(self, node: Any) -> Any:
        if isinstance(node, (list, tuple)):
            return self.statements(node)
        self.target = next(
            (t for t in sorted(list_targets(node), key=lambda t: t.duid) if self.units.get(t)), None
        )
        if self.target is None:
            return node
        if isinstance(node, _Assign):
            return self.assignment(node)
        if isinstance(node, If):
            condition = self.expression(node.cond)
            condition = self.choice("condition", node.cond, node.cond == 0, condition, condition == 0)
            self.in_reset = isinstance(node.cond, Signal) and node.cond.duid in self.reset_duids
            then = self.statements(node.t)
            self.in_reset = False
            changed = If(condition, *then)
            return changed.Else(*self.statements(node.f)) if node.f else changed
        if isinstance(node, Case):
            return Case(node.test, {key: self.statements(body) for key, body in node.cases.items()})
        return node

    def assignment(self, node: _Assign) -> Any:
        number = self.number("assignment", node.r, None)
        changed = _Assign(node.l, self.expression(node.r))
        return If(self.select != number, changed) if number else changed

    def resets(self, domain: str, body: list[Any]) -> list[Any]:
        """Resets of the clock domain, of registers that a mutant robs of theirs."""
        found = []
        for register in sorted(list_targets(body), key=lambda signal: signal.duid):
            self.target = register
            if register.reset_less or not self.units.get(register):
                continue
            if number := self.number("reset", register.reset, None):
                register.reset_less = True
                found.append(If(ResetSignal(domain) & (self.select != number), register.eq(register.reset)))
        return found

    # Expressions -------------------------------------------------------------------------------------

    def expression(self, node: Any) -> Any:
        if isinstance(node, _Operator):
            return self.operator(node)
        if isinstance(node, Constant):
            return self.constant(node)
        if isinstance(node, Cat):
            return Cat(*(self.expression(part) for part in node.l))
        if isinstance(node, Replicate):
            return Replicate(self.expression(node.v), node.n)
        return node

    def operator(self, node: _Operator) -> Any:
        operands = [self.expression(operand) for operand in node.operands]
        now = _Operator(node.op, operands)
        if node.op in SWAPS and len(operands) == 2:
            swap = SWAPS[node.op]
            return self.choice(
                "operator", node, _Operator(swap, node.operands), now, _Operator(swap, operands)
            )
        if node.op == "~":
            return self.choice("operator", node, node.operands[0], now, operands[0])
        if node.op == "m":
            test, yes, no = node.operands
            return self.choice(
                "operator", node, Mux(test, no, yes), now, Mux(operands[0], operands[2], operands[1])
            )
        return now

    def constant(self, node: Constant) -> Any:
        changed = Constant(self.other(node), (node.nbits, node.signed))
        return self.choice("constant", node, changed, node, changed)

    def other(self, node: Constant) -> int:
        """One more, one less, or another bit; of the same width."""
        bits = node.nbits - node.signed
        if bits <= 0:
            return 0 if node.value else -1
        changes = (node.value + 1, node.value - 1, node.value ^ 1 << self.draws.randrange(bits))
        value = self.draws.choice(changes)
        low = -(1 << bits) if node.signed else 0
        return value if low <= value < 1 << bits else node.value ^ 1


def sample(sites: list[Site], count: int, seed: int, alive: set[Signal]) -> dict[int, int]:
    """Numbers from 1 for ``count`` random sites, spread over units: a unit's share is the root of its sites.

    Sites whose target no output depends on are left out.
    """
    draws = random.Random(seed)
    by_unit: dict[str, list[int]] = defaultdict(list)
    for place, site in enumerate(sites):
        if site.target in alive:
            by_unit[site.unit].append(place)
    if count > sum(map(len, by_unit.values())):
        raise ValueError(f"{count} mutants were asked for, the design has {sum(map(len, by_unit.values()))}")
    for places in by_unit.values():
        draws.shuffle(places)
    weights = {unit: sqrt(len(places)) for unit, places in by_unit.items()}
    taken: list[int] = []
    used: dict[str, int] = dict.fromkeys(by_unit, 0)
    while len(taken) < count:  # always the unit that is furthest behind its share
        unit = min(
            (unit for unit in by_unit if used[unit] < len(by_unit[unit])),
            key=lambda unit: ((used[unit] + 0.5) / weights[unit], unit),
        )
        taken.append(by_unit[unit][used[unit]])
        used[unit] += 1
    return {place: number for number, place in enumerate(sorted(taken), 1)}
