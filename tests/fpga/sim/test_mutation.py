# SPDX-License-Identifier: BSD-2-Clause
"""Mutants in one build: none of them without its number, each of them with it."""

from __future__ import annotations

from collections import Counter

import pytest
from litex.gen import LiteXModule
from migen import Case, ClockDomain, If, Mux, ResetInserter, Signal
from migen.fhdl.structure import _Fragment

from spatten_fpga.sim import Bench
from spatten_fpga.sim.mutation import SELECT_BITS, Mutator, Site, sample
from spatten_fpga.sim.units import drivers, lowered, observed, spread


class Counting(LiteXModule):
    """Counts by 3 while ``go``; ``unused`` reaches no output."""

    def __init__(self) -> None:
        self.go, self.less = Signal(), Signal(4)
        self.count, self.sum = Signal(8, reset=5), Signal(9)
        self.unused = unused = Signal(8)
        self.sync += If(self.go, self.count.eq(self.count + 3))
        self.sync += Case(self.less, {0: unused.eq(self.count), "default": unused.eq(1)})
        self.comb += self.sum.eq(Mux(self.less > 4, self.count - self.less, self.count))


class MutantBench:
    """A counter with every site changed."""

    def __init__(self) -> None:
        self.dut, self.select = Counting(), Signal(SELECT_BITS)
        self.sites: dict[int, Site] = {}
        inputs = {"mutant": self.select, "go": self.dut.go, "less": self.dut.less}
        self.bench = Bench(self.dut, {}, {}, inputs, {"sum": self.dut.sum}, rewrite=self.rewrite)

    def rewrite(self, fragment: _Fragment) -> _Fragment:
        fragment = lowered(fragment)
        units = spread(drivers(self.dut, __package__), fragment)
        scout = Mutator(units, self.select)
        scout.fragment(fragment)
        self.sites = dict(enumerate(scout.sites, 1))
        return Mutator(units, self.select, {n - 1: n for n in self.sites}).fragment(fragment)

    def play(self, mutant: int) -> list[int]:
        """Sums with ``less`` 0 to 7, two counts each."""
        self.bench.tick(3)  # somewhere, for a reset to mend
        self.bench.reset(mutant=mutant)
        seen = []
        for less in range(8):
            self.bench.set("less", less)
            self.bench.set("go", less != 3)
            seen.append(self.bench.get("sum"))
            self.bench.tick(2)
        return seen


@pytest.fixture(scope="module")
def mutants() -> MutantBench:
    return MutantBench()


def expected() -> list[int]:
    counts = [5 + 6 * (less - (less > 3)) for less in range(8)]
    return [count - less if less > 4 else count for less, count in enumerate(counts)]


def test_every_kind_of_site_is_found(mutants: MutantBench) -> None:
    kinds = Counter(site.kind for site in mutants.sites.values())
    assert kinds == {"operator": 4, "constant": 3, "condition": 1, "assignment": 4, "reset": 2}
    names = mutants.bench.names
    described = [site.describe(names) for site in mutants.sites.values() if site.kind == "condition"]
    assert [(d["signal"], d["before"]) for d in described] == [(names(mutants.dut.count), "io_go")]


def test_without_a_mutant_the_design_is_as_it_was(mutants: MutantBench) -> None:
    assert mutants.play(0) == expected()
    assert mutants.play(len(mutants.sites) + 1) == expected()


def test_each_mutant_of_what_is_seen_is_killed(mutants: MutantBench) -> None:
    killed = {n for n in mutants.sites if mutants.play(n) != expected()}
    assert killed == {n for n, site in mutants.sites.items() if site.target is not mutants.dut.unused}
    assert mutants.play(0) == expected()


def test_resets_of_a_part_are_told_apart() -> None:
    dut = ResetInserter()(Counting())
    dut.clock_domains.cd_sys = ClockDomain("sys")
    fragment = lowered(dut.get_fragment())
    scout = Mutator(drivers(dut, __package__), Signal(SELECT_BITS), resets=[dut.reset])
    scout.fragment(fragment)
    kinds = Counter(site.kind for site in scout.sites)
    assert kinds == {
        "operator": 4,
        "constant": 3,
        "condition": 2,
        "assignment": 4,
        "reset": 2 + 2,  # of the part and of the domain
        "reset value": 2,
    }


def test_a_sample_is_seeded_spread_and_of_what_is_seen(mutants: MutantBench) -> None:
    shown, hidden = Signal(), Signal()
    sites = [Site(unit, shown, "constant", None, None) for unit in ["small"] * 4 + ["large"] * 400]
    sites += [Site("small", hidden, "constant", None, None)] * 100
    chosen = sample(sites, 33, 1, {shown})
    assert chosen == sample(sites, 33, 1, {shown}) != sample(sites, 33, 2, {shown})
    assert sorted(chosen.values()) == list(range(1, 34))
    assert Counter(sites[place].unit for place in chosen) == {"small": 3, "large": 30}
    assert max(chosen) < 404
    with pytest.raises(ValueError, match="the design has 404"):
        sample(sites, 405, 1, {shown})


def test_what_reaches_no_output_is_not_observed() -> None:
    dut = Counting()
    fragment = dut.get_fragment()
    seen = observed(fragment, [dut.sum])
    assert {dut.sum, dut.count, dut.go, dut.less} <= seen
    assert len(observed(fragment, [dut.go])) == 1
