# SPDX-License-Identifier: BSD-2-Clause
"""Segments of rows become words of an array: several short keys a word, or several words a long key."""

from litex.gen import *
from litex.soc.interconnect.stream import Endpoint, EndpointDescription

from .convert import segment_layout
from .geometry import Geometry

# Layouts ------------------------------------------------------------------------------------------


def row_segment_layout(geometry: Geometry, tag_bits: int) -> EndpointDescription:
    """A segment, and which row it belongs to."""
    payload = segment_layout(geometry, tag_bits).payload_layout
    return EndpointDescription(payload, [("dim", 8), ("end", 1), ("tag", tag_bits)])


def word_payload(geometry: Geometry) -> list[tuple[str, int]]:
    """Payload of a word: an element a lane, and how many keys it holds."""
    return [("elements", geometry.lanes * geometry.operand_bits), ("count", bits_for(geometry.keys_a_word))]


def word_layout(geometry: Geometry, tag_bits: int) -> EndpointDescription:
    """A word on its way to an array."""
    return EndpointDescription(word_payload(geometry), [("tag", tag_bits)])


# Pack ---------------------------------------------------------------------------------------------


class Pack(LiteXModule):
    """Packs the segments of rows into words of one element a lane.

    Where ``dim <= lanes``, key ``i`` of a word starts at lane ``i * padded dim`` (96 takes the place of 128),
    and as many keys as fit share a word. Where ``dim > lanes``, a key takes ``ceil(dim / lanes)`` words.
    Lanes that hold no element are 0, so an array may multiply them by anything. A pass ends its last word
    early.

    Latency is 1 cycle from the segment that completes a word. A segment a cycle while words are taken.

    Parameters
    ----------
    geometry : widths.
    tag_bits : width of the tag that travels along.

    Attributes
    ----------
    sink : in, segments of rows in order. ``elements``, ``last`` on the last of a row; ``dim``, ``end`` (the
        row is the last of its pass) and ``tag`` stay for all segments of a row.
    source : out, words. ``elements``, ``count`` (keys in the word, 1 to ``keys_a_word``; 1 in each word of a
        key that takes several), ``last`` on the last word of a pass, ``tag`` of the word's last key.
    """

    def __init__(self, geometry: Geometry, tag_bits: int) -> None:
        self.sink = sink = Endpoint(row_segment_layout(geometry, tag_bits))
        self.source = source = Endpoint(word_layout(geometry, tag_bits))

        # # #

        # Place of the Segment ---------------------------------------------------------------------
        places = geometry.lanes // geometry.segment
        place = Signal(max=max(2, places))
        onward = Signal(max=max(2, places))  # place of the next segment; 0 is the next word's
        full = Signal()
        multiple = sink.dim > geometry.lanes
        self.comb += [
            If(sink.last, onward.eq(place + self._advance(geometry))).Else(onward.eq(place + 1)),
            full.eq((onward == 0) | (sink.last & (sink.end | multiple))),
        ]
        if places == 1:
            self.comb += full.eq(1)

        # Word -------------------------------------------------------------------------------------
        accept = Signal()
        self.comb += [
            sink.ready.eq(source.ready | ~source.valid),
            accept.eq(sink.valid & sink.ready),
        ]
        self.sync += [
            If(source.ready, source.valid.eq(0)),
            If(
                accept,
                source.valid.eq(full),
                source.last.eq(sink.last & sink.end),
                source.tag.eq(sink.tag),
                source.count.eq(Mux(multiple, 1, Mux(place == 0, 0, source.count) + sink.last)),
                place.eq(Mux(full, 0, onward)),
            ),
        ]
        for i in range(places):
            size = len(sink.elements)
            part = source.elements[i * size : (i + 1) * size]
            self.sync += If(
                accept, If(place == i, part.eq(sink.elements)).Elif(place == 0, part.eq(0))
            )  # the first segment of a word clears what is left of the one before

    def _advance(self, geometry: Geometry):
        """Places from a row's last segment to the next row's first, if that is in the same word."""
        spare = 32 // geometry.segment  # of 96 elements in the place of 128
        if 96 in geometry.config.head_dims and geometry.lanes >= 128:
            return Mux(self.sink.dim == 96, 1 + spare, 1)
        return 1
