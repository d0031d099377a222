# SPDX-License-Identifier: BSD-2-Clause
"""Addresses of the rows of surviving tokens."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .checks import ROW_BITS
from .geometry import Geometry
from .port import address_bits


def slot_row_layout(geometry: Geometry, tag_bits: int) -> stream.EndpointDescription:
    """A row to fetch: its slot, and where the plane lies and how it is divided."""
    params = [("base", address_bits(geometry)), ("row_beats", ROW_BITS), ("tag", tag_bits)]
    return stream.EndpointDescription([("slot", geometry.index_bits)], params)


def gathered_layout(geometry: Geometry, tag_bits: int) -> stream.EndpointDescription:
    """A beat to fetch."""
    return stream.EndpointDescription(
        [("address", address_bits(geometry)), ("last_beat", 1)], [("tag", tag_bits)]
    )


class Gather(LiteXModule):
    """Survivor gather: the beats of the rows of the given slots, row by row.

    A pruned token is a row that is not asked for, so the addresses are those of the list's slots only:
    ``base + slot * row_beats`` and the beats after it.

    One address a cycle, without a gap between rows; the first comes 4 cycles after its slot.

    Parameters
    ----------
    geometry : sizes of the core.
    tag_bits : width of the tag.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`slot_row_layout`: ``slot``; ``base``, beat address of slot 0 of this head;
        ``row_beats``, 1 to 64; ``tag``, for whoever gets the data; ``last`` row.
    source : Endpoint, out, of :func:`gathered_layout`: ``address`` in beats; ``last_beat`` of a row; ``tag``
        of the row; ``last`` beat of the last row.

    Source: paper, section IV (cascade token pruning); contract, section 3.
    """

    def __init__(self, geometry: Geometry, tag_bits: int = 4) -> None:
        self.sink = sink = stream.Endpoint(slot_row_layout(geometry, tag_bits))
        self.source = source = stream.Endpoint(gathered_layout(geometry, tag_bits))

        # # #

        # Row: slot, product, first address --------------------------------------------------------
        advance = Signal()
        valid = Signal(3)
        rows = [
            Record(
                [("row_beats", ROW_BITS), ("base", address_bits(geometry)), ("tag", tag_bits), ("last", 1)]
            )
            for _ in range(3)
        ]
        for row in rows:
            for part, _ in row.iter_flat():
                part.reset_less = True
        slot = Signal(geometry.index_bits, reset_less=True)
        product = Signal(geometry.index_bits + ROW_BITS, reset_less=True)
        self.comb += sink.ready.eq(advance)
        self.sync += If(
            advance,
            valid.eq(Cat(sink.valid, valid)),
            slot.eq(sink.slot),
            *(
                getattr(rows[0], name).eq(getattr(sink, name))
                for name in ("row_beats", "base", "tag", "last")
            ),
            product.eq(slot * rows[0].row_beats),
            rows[1].eq(rows[0]),
            rows[2].eq(rows[1]),
            rows[2].base.eq(rows[1].base + product),
        )

        # Beats ------------------------------------------------------------------------------------
        row = rows[2]
        left = Signal(ROW_BITS, reset_less=True)  # beats after this one
        last = Signal(reset_less=True)
        moves = Signal()
        self.comb += [
            moves.eq(~source.valid | source.ready),
            advance.eq(~valid[2] | (moves & (~source.valid | source.last_beat))),
        ]
        self.sync += If(
            moves,
            If(
                ~source.valid | source.last_beat,
                source.valid.eq(valid[2]),
                source.address.eq(row.base),
                source.tag.eq(row.tag),
                left.eq(row.row_beats - 1),
                source.last_beat.eq(row.row_beats == 1),
                source.last.eq(row.last & (row.row_beats == 1)),
                last.eq(row.last),
            ).Else(
                source.address.eq(source.address + 1),
                left.eq(left - 1),
                source.last_beat.eq(left == 1),
                source.last.eq(last & (left == 1)),
            ),
        )
