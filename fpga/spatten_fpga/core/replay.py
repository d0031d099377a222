# SPDX-License-Identifier: BSD-2-Clause
"""Tokens of a row that are needed once for each plane of V: kept weights, and places of kept keys."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

ROWS = 4  # rows that may be in the store


class Replay(LiteXModule):
    """Stores the tokens of rows and gives those of each as many times as the row has passes.

    Tokens may be read as soon as they are there, so the first pass runs alongside the storing. The store is
    a ring: the next rows come in, as far as they fit, while one is given, so no row waits for the way of its
    tokens through what comes before.

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
        address = bits_for(depth - 1)
        memory = Memory(width + 1, 1 << address)
        write = memory.get_port(write_capable=True, mode=READ_FIRST)
        fetch = memory.get_port(has_re=True, mode=READ_FIRST)
        self.specials += memory, write, fetch
        self.rows = rows = stream.SyncFIFO(row.description, ROWS)
        self.ends = ends = stream.SyncFIFO([("place", address + 1)], ROWS)  # of each row's last token

        # Places count modulo twice the ring: the same place is empty, a ring apart is full --------------
        stored = Signal(address + 1)  # where the next token goes
        begin = Signal(address + 1)  # first token of the row that is given
        given = Signal(address + 1)  # the token to give next
        used = Signal(address + 1)
        full = Signal()  # a register: what fills the ring is a long way back; a cycle late when a row leaves

        # Storing -------------------------------------------------------------------------------------
        fresh = Signal(reset=1)  # the next token is a row's first
        written = Signal()
        self.comb += [
            used.eq(stored - begin),
            sink.ready.eq(~full & (~fresh | (row.valid & rows.sink.ready)) & ends.sink.ready),
            written.eq(sink.valid & sink.ready),
            row.ready.eq(written & fresh),
            rows.sink.valid.eq(written & fresh),
            rows.sink.passes.eq(row.passes),
            ends.sink.valid.eq(written & sink.last),
            ends.sink.place.eq(stored),
            write.adr.eq(stored[:address]),
            write.dat_w.eq(Cat(sink.payload.raw_bits(), sink.last)),
            write.we.eq(written),
        ]
        self.sync += [
            If(written, stored.eq(stored + 1), fresh.eq(sink.last)),
            full.eq(used[address] | (written & (used == (1 << address) - 1))),
        ]

        # Giving --------------------------------------------------------------------------------------
        again = Signal()  # the second pass
        issue, move, end, closing, final = Signal(), Signal(), Signal(), Signal(), Signal()
        self.comb += [
            move.eq(~source.valid | source.ready),
            issue.eq(move & (given != stored)),
            end.eq(issue & ends.source.valid & (given == ends.source.place)),
            closing.eq(again | (rows.source.passes == 1)),
            rows.source.ready.eq(end & closing),
            ends.source.ready.eq(end & closing),
            fetch.adr.eq(given[:address]),
            fetch.re.eq(move),
            Cat(*(getattr(source, name) for name, *_ in layout)).eq(fetch.dat_r[:width]),
            source.end.eq(fetch.dat_r[width]),
            source.last.eq(source.end & final),
        ]
        self.sync += [
            If(move, source.valid.eq(issue), final.eq(closing)),
            If(
                issue,
                given.eq(given + 1),
                If(end, If(closing, again.eq(0), begin.eq(given + 1)).Else(again.eq(1), given.eq(begin))),
            ),
        ]
