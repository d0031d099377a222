# SPDX-License-Identifier: BSD-2-Clause
"""Scores of a few keys a word become full words: softmax runs at its own width at every head dimension."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .scores import scores_layout


class LanePack(LiteXModule):
    """Packs words of ``keys`` scores into words of ``keys_a_word`` scores; a pass's last word may be shorter.

    Parameters
    ----------
    geometry : sizes of the core.
    slots : rows in flight.

    Attributes
    ----------
    keys : in, scores of a word that comes, a power of two; stable while a pass goes through.
    sink, source : in, out, :func:`.scores.scores_layout`. A word a cycle, after 1 cycle.
    """

    def __init__(self, geometry, slots):
        lanes, bits = geometry.keys_a_word, geometry.score_bits
        self.keys = Signal(max=lanes + 1)
        self.sink = sink = stream.Endpoint(scores_layout(geometry, slots))
        self.source = source = stream.Endpoint(scores_layout(geometry, slots))

        # # #

        filled, full, accept = Signal(max=lanes + 1), Signal(), Signal()
        word, merged = Signal(lanes * bits, reset_less=True), Signal(lanes * bits)
        cases = {
            step: merged.eq(Cat(word[: step * bits], sink.scores[: (lanes - step) * bits]))
            for step in range(1, lanes)
        }
        cases[0] = merged.eq(sink.scores)
        self.comb += [
            full.eq(sink.last | (filled + self.keys >= lanes)),
            sink.ready.eq(~source.valid | source.ready),
            accept.eq(sink.valid & sink.ready),
            Case(filled, cases),
        ]
        self.sync += [
            If(source.ready, source.valid.eq(0)),
            If(
                accept,
                word.eq(merged),
                filled.eq(Mux(full, 0, filled + self.keys)),
                source.valid.eq(full),
                source.scores.eq(merged),
                source.count.eq(filled + sink.count),
                source.last.eq(sink.last),
                source.slot.eq(sink.slot),
                source.add.eq(sink.add),
            ),
        ]
