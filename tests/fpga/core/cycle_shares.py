# SPDX-License-Identifier: BSD-2-Clause
"""Where the cycles of a job behind LiteDRAM's controller go: each cycle is counted once."""

from __future__ import annotations

from functools import reduce
from operator import or_

from litedram.core.bankmachine import BankMachine
from litex.gen import LiteXModule
from migen import If, Signal

from spatten_fpga.core.core import Core
from spatten_fpga.sim.dram import BoardMemory

#: In the order in which a cycle is given to one of them.
SHARES = {
    "moved": "a beat of the job moves on the data lines",
    "refresh": "memory refreshes, or closes its rows for it",
    "turnaround": "the data lines turn from reads to writes or back",
    "rows": "a bank opens or closes a row, after a refresh too",
    "controller": "commands are on their way through the controller",
    "arrays": "nothing is asked for while an array works",
    "start": "nothing is asked for, before the first product: descriptor, lists, checks",
    "between": "nothing is asked for, between products",
    "end": "nothing is asked for, after the last product: importance, survivors, answer",
}


class CycleShares(LiteXModule):
    """Counts the cycles from the push of a job to its end.

    Parameters
    ----------
    core, board : whose job it is, and what is behind it.
    moved, held : Signals: a beat moves; none moves though the controller has a command.

    Attributes
    ----------
    counts : Signals, out, by the names of :data:`SHARES`.
    """

    def __init__(self, core: Core, board: BoardMemory, moved: Signal, held: Signal) -> None:
        self.counts = {name: Signal(32, name=f"share_{name}") for name in SHARES}
        memory = self._memory_causes(board)
        events = core.engine.counters.events
        takes, runs, begun, busy = Signal(), Signal(), Signal(), Signal()
        counts = self.counts

        # # #

        self.comb += [
            takes.eq(core.jobs.valid & core.jobs.ready),
            busy.eq(events["busy_qk"] | events["busy_pv"]),
        ]
        one_of = If(moved, _more(counts["moved"]))
        for name, cause in memory.items():
            one_of = one_of.Elif(held & cause, _more(counts[name]))
        one_of = one_of.Elif(held, _more(counts["controller"]))
        one_of = one_of.Elif(busy, _more(counts["arrays"])).Elif(~begun, _more(counts["start"]))
        one_of = one_of.Else(_more(counts["end"]))
        self.sync += [
            If(runs, one_of, If(busy, begun.eq(1))),
            # What was taken for the end was none: a product follows.
            If(runs & busy, counts["between"].eq(counts["between"] + counts["end"]), counts["end"].eq(0)),
            If(core.ends.valid & core.ends.ready, runs.eq(0)),
            If(takes, runs.eq(1), begun.eq(0), *[count.eq(0) for count in counts.values()]),
        ]

    @staticmethod
    def _memory_causes(board: BoardMemory) -> dict[str, Signal]:
        """Why the controller moves nothing."""
        controller = board.controller
        state = controller.multiplexer.fsm
        # The controller gives its bank machines no names.
        banks = [part.fsm for _, part in controller._submodules if isinstance(part, BankMachine)]
        lines_serve = reduce(or_, [state.ongoing(name) for name in ("READ", "WRITE", "REFRESH")])
        opening = [~bank.ongoing("REGULAR") & ~bank.ongoing("REFRESH") for bank in banks]
        return {
            "refresh": controller.refresher.cmd.valid,
            "turnaround": ~lines_serve,
            "rows": reduce(or_, opening),
        }


def _more(count: Signal) -> object:
    return count.eq(count + 1)
