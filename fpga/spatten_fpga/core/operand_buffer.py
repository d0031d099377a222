# SPDX-License-Identifier: BSD-2-Clause
"""K or V of a head on chip, loaded once and read again for every query."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .convert import LSB_BITS
from .geometry import Geometry
from .pack import word_payload
from .ram import SharedMemory

#: What a row uses of what is stored: all bits, or the MSB plane alone, or the LSB plane alone.
BOTH, MSB, LSB = range(3)


def words_layout(geometry: Geometry) -> stream.EndpointDescription:
    """A word of operands: ``count`` keys, or a part of one key."""
    return stream.EndpointDescription(word_payload(geometry))


def fill_layout(geometry: Geometry, depth: int) -> stream.EndpointDescription:
    """A word to store. ``base`` is the place of the pass's first word; ``lsb`` says which plane it is."""
    return stream.EndpointDescription(word_payload(geometry), [("base", bits_for(depth - 1)), ("lsb", 1)])


def read_layout(geometry: Geometry, depth: int) -> stream.EndpointDescription:
    """A pass over ``words`` stored words from ``base``: each holds ``full`` keys, the last one ``tail``."""
    return stream.EndpointDescription(
        [
            ("base", bits_for(depth - 1)),
            ("words", bits_for(depth)),
            ("full", bits_for(geometry.keys_a_word)),
            ("tail", bits_for(geometry.keys_a_word)),
            ("use", 2),
        ]
    )


class OperandBuffer(LiteXModule):
    """Operands of several rows in block RAM.

    Elements are stored as ``msb << lsb_bits``; the LSB plane, if it is fetched at all, later replaces the low
    four bits. Each pass chooses what it uses, so rows that trust the MSB plane and rows that refetched read
    the same buffer.

    Storing and reading go on side by side: while one head computes the next one loads, at another ``base``.
    Who fills and who reads must agree on what is complete; nothing is checked here.

    Parameters
    ----------
    geometry : sizes of the core.
    depth : words.
    midpoint : what stands for low bits that are not used: 0 for K, 8 for V (contract section 2).

    Attributes
    ----------
    sink : in, :func:`fill_layout`, one word a cycle; ``last`` ends a pass.
    stored : out, pulse: the last word of a pass can be read from the next cycle on.
    read : in, :func:`read_layout`.
    source : out, :func:`words_layout`, one word a cycle, the first after 2 cycles; no gap between passes.

    Source: contract sections 2 and 8 (reuse); paper section IV-B.
    """

    def __init__(self, geometry, depth, midpoint=0):
        self.sink = stream.Endpoint(fill_layout(geometry, depth))
        self.stored = Signal()
        self.read = stream.Endpoint(read_layout(geometry, depth))
        self.source = stream.Endpoint(words_layout(geometry))

        # # #

        lanes, bits = geometry.lanes, geometry.operand_bits
        high = SharedMemory(lanes * (bits - LSB_BITS), depth)
        low = SharedMemory(lanes * LSB_BITS, depth)
        self.specials += high, low
        self._fill(high, low, lanes, bits)
        self._read(high, low, lanes, bits, midpoint)

    # Storing -----------------------------------------------------------------------------------------

    def _fill(self, high, low, lanes, bits):
        sink = self.sink
        place = Signal(len(sink.base))
        offset = Signal(len(sink.base))
        ports = [memory.get_port(write_capable=True, mode=READ_FIRST) for memory in (high, low)]
        self.specials += ports
        self.comb += [
            sink.ready.eq(1),
            place.eq(sink.base + offset),
            ports[0].we.eq(sink.valid & ~sink.lsb),
            ports[1].we.eq(sink.valid),
            *(port.adr.eq(place) for port in ports),
        ]
        for lane in range(lanes):
            element = sink.elements[lane * bits : (lane + 1) * bits]
            self.comb += [
                ports[0]
                .dat_w[lane * (bits - LSB_BITS) : (lane + 1) * (bits - LSB_BITS)]
                .eq(element[LSB_BITS:]),
                ports[1].dat_w[lane * LSB_BITS : (lane + 1) * LSB_BITS].eq(element[:LSB_BITS]),
            ]
        self.sync += [
            self.stored.eq(sink.valid & sink.last),
            If(sink.valid, offset.eq(Mux(sink.last, 0, offset + 1))),
        ]

    # Reading -----------------------------------------------------------------------------------------

    def _read(self, high, low, lanes, bits, midpoint):
        read, source = self.read, self.source
        offset = Signal(len(read.words))
        last, issue, move = Signal(), Signal(), Signal()
        ports = [memory.get_port(has_re=True, mode=READ_FIRST) for memory in (high, low)]
        self.specials += ports
        self.comb += [
            move.eq(~source.valid | source.ready),
            last.eq(offset + 1 == read.words),
            issue.eq(read.valid & move),
            read.ready.eq(issue & last),
            *(port.adr.eq(read.base + offset) for port in ports),
            *(port.re.eq(move) for port in ports),
        ]
        self.sync += If(issue, offset.eq(Mux(last, 0, offset + 1)))

        held = Record([("count", len(read.tail)), ("use", 2), ("last", 1)], reset_less=True)
        held_valid = Signal()
        self.sync += If(
            move,
            held_valid.eq(issue),
            held.count.eq(Mux(last, read.tail, read.full)),
            held.use.eq(read.use),
            held.last.eq(last),
            source.valid.eq(held_valid),
            source.count.eq(held.count),
            source.last.eq(held.last),
        )
        for lane in range(lanes):
            start = lane * bits
            msb = ports[0].dat_r[lane * (bits - LSB_BITS) : (lane + 1) * (bits - LSB_BITS)]
            lsb = ports[1].dat_r[lane * LSB_BITS : (lane + 1) * LSB_BITS]
            self.sync += If(
                move,
                source.elements[start + LSB_BITS : start + bits].eq(Mux(held.use == LSB, 0, msb)),
                source.elements[start : start + LSB_BITS].eq(Mux(held.use == MSB, midpoint, lsb)),
            )
