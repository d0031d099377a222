# SPDX-License-Identifier: BSD-2-Clause
"""Bit-width conversion: rows of a plane, as they lie in memory, become signed elements."""

from litex.gen import *
from litex.soc.interconnect.stream import Endpoint, EndpointDescription

from spatten_drivers.planes import LSB_WIDTH, MSB_WIDTHS

from .geometry import Geometry

PLANE_BITS = MSB_WIDTHS  # widths a plane can have
LSB_BITS = LSB_WIDTH  # width of an LSB plane

# Layouts ------------------------------------------------------------------------------------------


def beat_layout(geometry: Geometry, tag_bits: int) -> EndpointDescription:
    """A beat of a plane row, and what to make of the row."""
    row = [("bits", 4), ("shift", 1), ("unsigned", 1), ("midpoint", 1), ("dim", 8), ("tag", tag_bits)]
    return EndpointDescription([("data", geometry.beat_bits)], row)


def segment_layout(geometry: Geometry, tag_bits: int) -> EndpointDescription:
    """A segment: ``geometry.segment`` signed elements, element ``i`` at bit ``i * operand_bits``."""
    elements = geometry.segment * geometry.operand_bits
    return EndpointDescription([("elements", elements)], [("tag", tag_bits)])


# Converter ----------------------------------------------------------------------------------------


class Converter(LiteXModule):
    """Bit-width converter of plane rows.

    A row is ``dim`` elements of ``bits`` bits without gaps, padded to whole beats; the unit counts, so rows
    need no mark of their end, and the padding is dropped. Elements are sign-extended, or zero-extended if
    ``unsigned`` (an LSB plane). With ``shift`` they stand ``LSB_BITS`` higher, as an MSB plane whose LSB
    plane exists, and ``midpoint`` puts half of the missing plane's range below them; of an LSB plane it takes
    the same half away. A query row is a row with none of the three.

    Beats gather in a window that shifts by whole beats. All widths are even, so window and segments are cut
    in chunks of 2 bits an element of a segment: a beat is a power of two of them, a segment ``bits / 2``. The
    number of chunks not yet taken is all that selects the next segment, and few of its values occur.

    Latency is 3 cycles from the beat that completes a segment. A beat is accepted every cycle as long as the
    source is taken and a segment holds at least a beat (``segment * bits >= beat_bits``), else a segment
    leaves every cycle. There is no bubble between rows.

    Paper: section IV, the bitwidth converter. docs/contract.md, sections 2 and 3.

    Parameters
    ----------
    geometry : widths.
    tag_bits : width of the tag that travels along.

    Attributes
    ----------
    sink : in, beats of rows in order. ``data``; ``bits`` (one of PLANE_BITS), ``shift``, ``unsigned``,
        ``midpoint`` (only with one of the two), ``dim`` (elements of the row) and ``tag`` stay for all beats
        of a row.
    source : out, segments. ``elements``, ``last`` on the last segment of a row, ``tag`` of its row.
    """

    def __init__(self, geometry: Geometry, tag_bits: int) -> None:
        self.sink = sink = Endpoint(beat_layout(geometry, tag_bits))
        self.source = source = Endpoint(segment_layout(geometry, tag_bits))

        # # #

        self._geometry = geometry
        self._chunk = 2 * geometry.segment
        self._beat = geometry.beat_bits // self._chunk

        # Pipeline Enable --------------------------------------------------------------------------
        self._enable = Signal()
        self.comb += self._enable.eq(source.ready | ~source.valid)

        # Window, Alignment, Extension -------------------------------------------------------------
        self._row = self._copy(sink.param, "row")
        self._aligned = self._copy(sink.param, "aligned")
        self._add_window()
        self._add_alignment()
        self._add_extension()

    @staticmethod
    def _copy(params: Record, name: str) -> Record:
        """A record of registers with the layout of ``params``."""
        record = Record(params.layout, name=name)
        for signal, _ in record.iter_flat():
            signal.reset_less = True
        return record

    def _add_window(self) -> None:
        """The last beats, and how many of their chunks are still to be taken."""
        sink, beat_bits = self.sink, self._geometry.beat_bits
        most = max(_fills(bits // 2, self._beat)[-1] for bits in PLANE_BITS)
        self._window = Signal(-(-most // self._beat) * beat_bits, reset_less=True)
        self._held = held = Signal(max=most + 1)
        self._there = there = Signal()  # a whole segment is in the window
        self._final = final = Signal()  # it is the last of its row

        size = self._row.bits[1:]
        rest, index, accept = Signal(max=most + 1), Signal(8), Signal()
        final_index = Signal(8, reset_less=True)
        self.comb += [
            there.eq((held != 0) & (held >= size)),
            final.eq(index == final_index),
            If(~final, rest.eq(held - size)),  # behind the last segment there is only padding
            # A beat may come when no other segment is left behind the one that goes: `rest < size`.
            sink.ready.eq(~there | (self._enable & (final | (held < Cat(C(0, 1), size))))),
            accept.eq(sink.valid & sink.ready),
        ]
        self.sync += [
            held.eq(Mux(there & self._enable, rest, held) + Mux(accept, self._beat, 0)),
            If(there & self._enable, index.eq(Mux(final, 0, index + 1))),
            If(
                accept,
                self._window.eq(Cat(self._window, sink.data)[beat_bits:]),
                self._row.raw_bits().eq(sink.param.raw_bits()),
                final_index.eq((sink.dim - 1) >> log2_int(self._geometry.segment)),
            ),
        ]

    def _add_alignment(self) -> None:
        """The oldest segment of the window: its chunk ``i`` stands ``held - i`` from the end."""
        self._segment = segment = Signal(PLANE_BITS[-1] * self._geometry.segment, reset_less=True)
        self._aligned_valid, self._aligned_last = Signal(), Signal(reset_less=True)
        self.sync += If(
            self._enable,
            self._aligned_valid.eq(self._there),
            self._aligned_last.eq(self._final),
            self._aligned.raw_bits().eq(self._row.raw_bits()),
        )
        for i in range(PLANE_BITS[-1] // 2):
            fills = sorted({fill for b in PLANE_BITS if b // 2 > i for fill in _fills(b // 2, self._beat)})
            places = {fill: len(self._window) - (fill - i) * self._chunk for fill in fills}
            chunk = segment[i * self._chunk : (i + 1) * self._chunk]
            picks = {fill: chunk.eq(self._window[at : at + self._chunk]) for fill, at in places.items()}
            picks["default"] = picks.pop(fills[-1])
            self.sync += If(self._enable, Case(self._held, picks))

    def _add_extension(self) -> None:
        """Elements of the segment, extended and shifted."""
        source, width, row = self.source, self._geometry.operand_bits, self._aligned
        self.sync += If(
            self._enable,
            source.valid.eq(self._aligned_valid),
            source.last.eq(self._aligned_last),
            source.tag.eq(row.tag),
        )
        for i in range(self._geometry.segment):
            extended = Signal(width)
            picks = {bits: extended.eq(self._extended(i, bits)) for bits in PLANE_BITS}
            picks["default"] = picks.pop(PLANE_BITS[-1])
            self.comb += Case(row.bits, picks)
            below = Cat(Replicate(0, LSB_BITS - 1), row.midpoint)
            element = source.elements[i * width : (i + 1) * width]
            self.sync += If(self._enable, element.eq(Mux(row.shift, Cat(below, extended), extended)))

    def _extended(self, i: int, bits: int) -> Cat:
        """Element ``i`` of the segment if elements have ``bits`` bits."""
        low, top = self._segment[i * bits : (i + 1) * bits - 1], self._segment[(i + 1) * bits - 1]
        sign = top & ~self._aligned.unsigned
        if bits == LSB_BITS:  # less half of the range: the top bit turns, and is the sign then
            centred = self._aligned.unsigned & self._aligned.midpoint
            top, sign = top ^ centred, sign | (centred & ~top)
        return Cat(low, top, *[sign] * (self._geometry.operand_bits - bits))


def _fills(size: int, beat: int) -> list[int]:
    """Chunks that can be in the window when a segment of ``size`` chunks leaves, ascending."""
    found: set[int] = set()
    fill = 0
    while True:
        fill += -(-max(0, size - fill) // beat) * beat
        if fill in found:
            return sorted(found)
        found.add(fill)
        fill -= size
