# SPDX-License-Identifier: BSD-2-Clause
"""The query rows of the rows in flight: read again when a row refetches."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .geometry import Q_BITS, Geometry


def stored_query_layout(geometry: Geometry, slots: int) -> stream.EndpointDescription:
    """A segment of a query row on its way into ``slot``."""
    payload = [("elements", geometry.segment * Q_BITS)]
    return stream.EndpointDescription(payload, [("slot", bits_for(slots - 1))])


class QueryStore(LiteXModule):
    """Keeps one query row for each row in flight.

    Parameters
    ----------
    geometry : sizes of the core.
    slots : rows in flight.

    Attributes
    ----------
    dim : in, head dimension; stable during a job.
    sink : in, :func:`stored_query_layout`, ``last`` on a row's last segment.
    stored : out, one bit a slot, pulse: its row is complete and may be read from the next cycle on.
    read : in, ``slot``: gives that row to ``source``.
    source : out, segments as the Q x K array takes them, one a cycle, ``last`` on a row's last.
    """

    def __init__(self, geometry, slots):
        segments = max(geometry.padded_dims) // geometry.segment
        self.dim = Signal(8)
        self.sink = sink = stream.Endpoint(stored_query_layout(geometry, slots))
        self.stored = Signal(slots)
        self.read = read = stream.Endpoint([("slot", bits_for(slots - 1))])
        self.source = source = stream.Endpoint([("elements", geometry.segment * Q_BITS)])

        # # #

        memory = Memory(geometry.segment * Q_BITS, slots * segments)
        write, fetch = (
            memory.get_port(write_capable=True, mode=READ_FIRST),
            memory.get_port(has_re=True, mode=READ_FIRST),
        )
        self.specials += memory, write, fetch

        place = Signal(max=max(2, segments))
        self.comb += [
            sink.ready.eq(1),
            write.adr.eq(sink.slot * segments + place),
            write.dat_w.eq(sink.elements),
            write.we.eq(sink.valid),
        ]
        self.sync += [
            If(sink.valid, place.eq(Mux(sink.last, 0, place + 1))),
            *(self.stored[s].eq(sink.valid & sink.last & (sink.slot == s)) for s in range(slots)),
        ]

        segment = Signal(max=max(2, segments))
        last, issue, move = Signal(), Signal(), Signal()
        self.comb += [
            move.eq(~source.valid | source.ready),
            last.eq(segment == (self.dim - 1)[log2_int(geometry.segment) :]),
            issue.eq(read.valid & move),
            read.ready.eq(issue & last),
            fetch.adr.eq(read.slot * segments + segment),
            fetch.re.eq(move),
            source.elements.eq(fetch.dat_r),
        ]
        self.sync += If(
            move,
            source.valid.eq(issue),
            source.last.eq(last),
            If(issue, segment.eq(Mux(last, 0, segment + 1))),
        )
