# SPDX-License-Identifier: BSD-2-Clause
"""Elements to whole beats, with their addresses."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .geometry import OUTPUT_BITS, Geometry
from .port import address_bits, write_layout


def elements_layout(bits: int) -> list:
    """Elements side by side, the first lowest."""
    return [("data", bits)]


class WriteBack(LiteXModule):
    """Packs elements into beats and gives each its address; the rest of a row's last beat is zero.

    Rows follow one another, each padded to a beat, so addresses just count beats from ``base``: row ``r`` of
    outputs lies at ``base + r * pad(2 * D)``. A survivor list or importance words are one row.

    A token a cycle while a token is at most a beat, else a beat a cycle. A beat comes in the cycle after its
    last token.

    Parameters
    ----------
    geometry : sizes of the core.
    element_bits : width of an element, a power of two from 16 to 64.
    elements : elements of a token, a power of two; all are used, so a row is a multiple of it.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`elements_layout`: ``data``, ``last`` of a row.
    source : Endpoint, out, of ``write_layout``; ``last`` at the last beat of a row.
    start : Signal, in: take ``base``; only while not ``busy`` and in a cycle in which no token moves.
    base : Signal, in: beat address of the first row.
    busy : Signal, out: something is in here.

    Source: contract, section 3.
    """

    def __init__(self, geometry: Geometry, element_bits: int = OUTPUT_BITS, elements: int = 1) -> None:
        bits, beat = element_bits * elements, geometry.beat_bits
        self.sink = sink = stream.Endpoint(elements_layout(bits))
        self.source = source = stream.Endpoint(write_layout(geometry))
        self.start = Signal()
        self.base = Signal(address_bits(geometry))
        self.busy = Signal()

        # # #

        # Tokens wider than a beat -----------------------------------------------------------------
        part = sink
        if bits > beat:
            self.parts = parts = stream.Converter(bits, beat)
            self.comb += sink.connect(parts.sink)
            part = parts.source
        ratio = max(1, beat // bits)

        # Beat -------------------------------------------------------------------------------------
        place = Signal(max=max(2, ratio))
        moved = Signal()
        given = Signal()
        full = Signal()
        self.comb += [
            part.ready.eq(~source.valid | source.ready),
            moved.eq(part.valid & part.ready),
            given.eq(source.valid & source.ready),
            full.eq(part.last | (place == ratio - 1)),
            self.busy.eq(source.valid | (place != 0) | (sink.valid if bits > beat else 0)),
        ]
        width = len(part.data)
        self.sync += [
            If(given, source.valid.eq(0)),
            If(
                moved,
                source.valid.eq(full),
                source.last.eq(part.last),
                place.eq(place + 1),
                If(full, place.eq(0)),
                *(
                    If(place == at, source.data[at * width : (at + 1) * width].eq(part.data)).Elif(
                        place == 0, source.data[at * width : (at + 1) * width].eq(0)
                    )
                    for at in range(ratio)
                ),
            ),
        ]

        # Address ----------------------------------------------------------------------------------
        self.sync += If(self.start, source.address.eq(self.base)).Elif(
            given, source.address.eq(source.address + 1)
        )
