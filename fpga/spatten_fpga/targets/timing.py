# SPDX-License-Identifier: BSD-2-Clause
"""Whether every clock of a placed and routed system is fast enough, from nextpnr's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spatten_drivers.errors import SpattenError
from spatten_fpga.synth.timing import in_numbers, signal_of

#: MHz that nextpnr is told for clocks that nobody says anything about. None of ours is so slow.
UNSAID = 1.0


class TimingError(SpattenError):
    """A clock is slower than asked for, or nobody asked."""


@dataclass(frozen=True)
class Clock:
    """A clock after routing.

    Attributes
    ----------
    name : of its clock domain.
    asked, reached : MHz.
    path : its slowest path in words; empty if it has none from register to register.
    """

    name: str
    asked: float
    reached: float
    path: str

    @property
    def margin(self) -> float:
        """What is left of what was asked: 0.1 for a tenth; negative if it is missed."""
        return self.reached / self.asked - 1


def clocks(report: Mapping[str, Any], nets: Mapping[str, str]) -> list[Clock]:
    """Every clock that drives registers.

    Parameters
    ----------
    report : of nextpnr, ``--report``.
    nets : clock domain of a net, by the net's name as :func:`plain` gives it.
    """
    slowest = {
        plain(one["from"]): one["path"] for one in report["critical_paths"] if one["from"] == one["to"]
    }
    found = []
    for net, figures in report["fmax"].items():
        path = slowest.get(plain(net), [])
        name = nets.get(plain(net), plain(net))
        found.append(Clock(name, figures["constraint"], figures["achieved"], in_words(path) if path else ""))
    return sorted(found, key=lambda clock: (clock.name != "sys", clock.name))


def plain(net: str) -> str:
    """Name of a net in the netlist, from what nextpnr makes of it."""
    return (
        net.removeprefix("posedge ")
        .removeprefix("negedge ")
        .removeprefix("$glbnet$")
        .removesuffix("$TRELLIS_IO_IN")
    )


def check(found: Sequence[Clock], margin: float = 0.0, wanted: Mapping[str, float] | None = None) -> None:
    """Refuse a system of which a clock is too slow.

    Parameters
    ----------
    found : of :func:`clocks`.
    margin : share by which each must be faster than asked.
    wanted : MHz that clocks must have been asked for, by name.

    Raises
    ------
    TimingError : names each such clock, what it should be and is, and its slowest path.
    """
    wanted = wanted or {}
    texts = [
        f"clock {clock.name} was not constrained; that it reaches {clock.reached:.1f} MHz says nothing"
        for clock in found
        if clock.asked <= UNSAID
    ]
    for clock in found:
        needed = wanted.get(clock.name, 0.0)
        if clock.asked < 0.995 * needed:
            texts.append(f"clock {clock.name} was held to {clock.asked:.1f} MHz, but runs at {needed:.1f}")
    for clock in found:
        if clock.asked > UNSAID and not clock.margin >= margin:  # so of nan too
            more = f" and {margin:.0%} more" if margin else ""
            texts.append(
                f"clock {clock.name} reaches {clock.reached:.1f} MHz; expected {clock.asked:.1f}{more}. "
                f"Its slowest path: {clock.path or 'not from register to register'}"
            )
    if missing := sorted(set(wanted) - {clock.name for clock in found}):
        texts.append(f"the report says nothing of clock {', '.join(missing)}")
    if texts:
        raise TimingError(f"{'; '.join(texts)}. Try other seeds, a slower --sys-clk-freq, a smaller --preset")


def in_words(path: Sequence[Mapping[str, Any]]) -> str:
    """Length, wires, ends and the signals on the way of a path of nextpnr's report."""
    names = (signal_of(step["net"]) for step in path if step["type"] == "routing")
    over = list(dict.fromkeys(name for name in names if name))
    return in_numbers(path) + (f" by {', '.join(over)}" if over else "")


def nets_of(module: Mapping[str, Any], domains: Mapping[str, str]) -> dict[str, str]:
    """Clock domain of every net name that a clock has in a netlist.

    Parameters
    ----------
    module : the top of a netlist of yosys.
    domains : signal of each clock domain by the domain's name; of two that are one net, the first names it.
    """
    names = module["netnames"]
    of_bit: dict[Any, str] = {}
    for domain, signal in domains.items():
        if signal in names:
            of_bit.setdefault(names[signal]["bits"][0], domain)
    return {
        name: of_bit[net["bits"][0]]
        for name, net in names.items()
        if len(net["bits"]) == 1 and net["bits"][0] in of_bit
    }


def utilisation(report: Mapping[str, Any]) -> dict[str, list[int]]:
    """What is used and what is there of each kind of cell that is used."""
    cells = report["utilization"].items()
    return {kind: [many["used"], many["available"]] for kind, many in sorted(cells) if many["used"]}
