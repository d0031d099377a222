# SPDX-License-Identifier: BSD-2-Clause
"""The kept weights of a row, waiting for their V rows to arrive from memory, for each plane once."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .kept import kept_layout


class KeptStore(LiteXModule):
    """Stores the words of one row and gives them ``passes`` times.

    Words may be read as soon as they are there, so the first pass runs alongside the storing. The next row is
    taken when the last pass is over.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    passes : in, 1 or 2: how often the row is given; read at the row's first word.
    sink : in, :func:`spatten_fpga.core.kept.kept_layout`, ``last`` on a row's last word.
    source : out, the same with ``last`` on the last word of the last pass. One word a cycle.

    Source: contract section 5, and section 2 (V of two planes).
    """

    def __init__(self, geometry):
        self.passes = Signal(max=3)
        self.sink = sink = stream.Endpoint(kept_layout(geometry))
        self.source = source = stream.Endpoint(kept_layout(geometry))

        # # #

        depth = geometry.config.max_sequence
        width = len(sink.weights) + len(sink.count) + 1
        memory = Memory(width, depth)
        write, fetch = (
            memory.get_port(write_capable=True, mode=READ_FIRST),
            memory.get_port(has_re=True, mode=READ_FIRST),
        )
        self.specials += memory, write, fetch

        there = Signal(max=depth + 1)  # words stored
        given = Signal(max=depth + 1)  # words of this pass that were asked for
        whole = Signal()  # all words are stored
        left = Signal(max=3)  # passes to go, this one included; 0: no row
        written = Signal()
        self.comb += [
            sink.ready.eq(~whole),
            write.adr.eq(there),
            write.dat_w.eq(Cat(sink.weights, sink.count, sink.last)),
            write.we.eq(sink.valid & sink.ready),
            written.eq(write.we),
        ]

        issue, move, valid, final = Signal(), Signal(), Signal(), Signal()
        end = Signal()  # the word that is asked for is a pass's last
        self.comb += [
            move.eq(~source.valid | source.ready),
            issue.eq(move & (given != there) & (left != 0)),
            end.eq(whole & (given + 1 == there)),
            fetch.adr.eq(given),
            fetch.re.eq(move),
            Cat(source.weights, source.count).eq(fetch.dat_r[: width - 1]),
            source.valid.eq(valid),
            source.last.eq(fetch.dat_r[width - 1] & final),
        ]
        self.sync += [
            If(
                written, there.eq(there + 1), If(there == 0, left.eq(self.passes)), If(sink.last, whole.eq(1))
            ),
            If(move, valid.eq(issue), final.eq(left == 1)),
            If(issue, given.eq(given + 1)),
            If(issue & end, given.eq(0), left.eq(left - 1), If(left == 1, there.eq(0), whole.eq(0))),
        ]
