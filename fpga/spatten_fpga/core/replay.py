# SPDX-License-Identifier: BSD-2-Clause
"""Tokens of a row that are needed once for each plane of V: kept weights, and places of kept keys."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *


class Replay(LiteXModule):
    """Stores the tokens of one row and gives them as many times as the row has passes.

    Tokens may be read as soon as they are there, so the first pass runs alongside the storing. The next row
    is taken when the last pass is over.

    Parameters
    ----------
    layout : of a token.
    depth : most tokens of a row.

    Attributes
    ----------
    row : in, ``passes``: 1 or 2, how often a row is given; taken with the row's first token.
    sink : in, tokens, ``last`` on a row's last.
    source : out, tokens, one a cycle, the first 2 cycles after it came; ``end`` on the last of each pass,
        ``last`` on that of the last one.

    Source: contract, sections 2 (V of two planes) and 5.
    """

    def __init__(self, layout, depth):
        self.row = row = stream.Endpoint([("passes", 2)])
        self.sink = sink = stream.Endpoint(layout)
        self.source = source = stream.Endpoint([*layout, ("end", 1)])

        # # #

        width = len(sink.payload.raw_bits())
        memory = Memory(width + 1, depth)
        write = memory.get_port(write_capable=True, mode=READ_FIRST)
        fetch = memory.get_port(has_re=True, mode=READ_FIRST)
        self.specials += memory, write, fetch

        # Storing -------------------------------------------------------------------------------------
        there = Signal(max=depth + 1)  # tokens stored
        given = Signal(max=depth + 1)  # tokens of this pass that were asked for
        left = Signal(2)  # passes to go, this one included
        whole, written = Signal(), Signal()
        begun = Signal()  # there is a token
        self.comb += [
            sink.ready.eq(~whole & (begun | row.valid)),
            written.eq(sink.valid & sink.ready),
            row.ready.eq(written & ~begun),
            write.adr.eq(there),
            write.dat_w.eq(Cat(sink.payload.raw_bits(), sink.last)),
            write.we.eq(written),
        ]

        # Giving --------------------------------------------------------------------------------------
        issue, move, end, final = Signal(), Signal(), Signal(), Signal()
        self.comb += [
            move.eq(~source.valid | source.ready),
            issue.eq(move & (given != there)),
            end.eq(whole & (given + 1 == there)),
            fetch.adr.eq(given),
            fetch.re.eq(move),
            Cat(*(getattr(source, name) for name, *_ in layout)).eq(fetch.dat_r[:width]),
            source.end.eq(fetch.dat_r[width]),
            source.last.eq(source.end & final),
        ]
        self.sync += [
            If(
                written,
                there.eq(there + 1),
                begun.eq(1),
                If(~begun, left.eq(row.passes)),
                whole.eq(sink.last),
            ),
            If(move, source.valid.eq(issue), final.eq(left == 1)),
            If(
                issue,
                given.eq(given + 1),
                If(end, given.eq(0), left.eq(left - 1), If(left == 1, there.eq(0), begun.eq(0), whole.eq(0))),
            ),
        ]
