# SPDX-License-Identifier: BSD-2-Clause
"""The return side of the memory: beats of planes become query segments and words of keys and values."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .convert import Converter, segment_layout
from .geometry import Q_BITS, Geometry
from .operand_buffer import fill_layout
from .pack import Pack
from .passes import KEYS, QUERY, VALUES, pass_layout
from .port import data_layout
from .query_store import stored_query_layout
from .skid import Skid


def _word_tag(geometry: Geometry) -> list:
    """What a word has to know of its pass."""
    base = next(field for field in pass_layout(geometry) if field[0] == "base")
    return [("target", 2), ("lsb", 1), base]


def _row_tag(geometry: Geometry) -> list:
    """What a segment has to know of its row; ``end`` marks the last row of a pass."""
    return [
        *_word_tag(geometry),
        ("dim", 8),
        ("slot", bits_for(geometry.config.query_buffer_rows - 1)),
        ("end", 1),
    ]


class PlaneReader(LiteXModule):
    """Return side of the memory.

    Beats are matched by counting with the passes that asked for them, are converted to signed elements, and
    go where the pass says: query rows as segments, keys and values packed into words. All of a row that
    matters later travels with its segments as a tag, so nothing is counted twice.

    A beat a cycle, without a gap between rows or passes, while the sources are taken and a segment holds at
    least a beat (``segment * bits >= beat_bits``); else a segment a cycle. From the beat that completes it a
    query segment takes 3 cycles, a word 4. Every ready of a source ends in a register before the converter,
    and so does that of the converter before ``data``.

    Parameters
    ----------
    geometry : sizes of the core.
    depth : passes that can wait.

    Attributes
    ----------
    passes : Endpoint, in, of :func:`pass_layout`, in the order of the requests.
    data : Endpoint, in, of :func:`data_layout`: the beats of the passes. What comes before its pass waits.
    query : Endpoint, out, of :func:`stored_query_layout`: a segment, with the low ``Q_BITS`` of each element;
        ``last`` of a row.
    keys, values : Endpoint, out, of :func:`fill_layout`: a word, with ``base`` and ``lsb`` of its pass;
        ``last`` of a pass.

    Source: paper section IV (crossbar and bit-width converter before the arrays); contract, sections 2, 3.
    """

    def __init__(self, geometry: Geometry, depth: int = 8) -> None:
        self.passes = stream.Endpoint(pass_layout(geometry))
        self.data = stream.Endpoint(data_layout(geometry))
        self.query = stream.Endpoint(stored_query_layout(geometry, geometry.config.query_buffer_rows))
        self.keys = stream.Endpoint(fill_layout(geometry, geometry.buffer_words))
        self.values = stream.Endpoint(fill_layout(geometry, geometry.buffer_words))

        # # #

        tag_bits = layout_len(_row_tag(geometry))
        self.waiting = waiting = stream.SyncFIFO(pass_layout(geometry), depth)
        self.current = stream.Buffer(pass_layout(geometry), pipe_ready=True)
        self.beats = beats = Skid(data_layout(geometry))
        self.converter = converter = Converter(geometry, tag_bits)
        self.segments = Skid(segment_layout(geometry, tag_bits))
        self.pack = Pack(geometry, layout_len(_word_tag(geometry)))
        self.comb += [
            self.passes.connect(waiting.sink),
            waiting.source.connect(self.current.sink),
            self.data.connect(beats.sink),
            converter.source.connect(self.segments.sink),
        ]
        self._match(geometry)
        self._route_segments(geometry)
        self._route_words(geometry)

    # Beats ----------------------------------------------------------------------------------------

    def _match(self, geometry: Geometry) -> None:
        """Each beat gets the parameters of the pass and the tag of its row."""
        current, beats, sink = self.current.source, self.beats.source, self.converter.sink
        row = Signal.like(current.rows, reset=1)  # counted from 1 as the number they are compared with
        beat = Signal.like(current.row_beats, reset=1)
        last_beat, taken = Signal(), Signal()
        tag = Record(_row_tag(geometry))
        self.comb += [
            *(getattr(tag, name).eq(getattr(current, name)) for name, _ in _row_tag(geometry)[:-1]),
            tag.end.eq(row == current.rows),
            last_beat.eq(beat == current.row_beats),
            *(
                getattr(sink, name).eq(getattr(current, name))
                for name in ("bits", "shift", "unsigned", "midpoint", "dim")
            ),
            sink.tag.eq(tag.raw_bits()),
            sink.data.eq(beats.data),
            sink.valid.eq(beats.valid & current.valid),
            taken.eq(sink.valid & sink.ready),
            beats.ready.eq(current.valid & sink.ready),
            current.ready.eq(taken & last_beat & tag.end),
        ]
        self.sync += If(
            taken,
            beat.eq(beat + 1),
            If(last_beat, beat.eq(1), row.eq(Mux(tag.end, 1, row + 1))),
        )

    # Segments -------------------------------------------------------------------------------------

    def _route_segments(self, geometry: Geometry) -> None:
        """Segments of a query leave, the others are packed."""
        segments, query, pack = self.segments.source, self.query, self.pack.sink
        row, word = Record(_row_tag(geometry)), Record(_word_tag(geometry))
        for_query = Signal()
        self.comb += [
            row.raw_bits().eq(segments.tag),
            *(getattr(word, name).eq(getattr(row, name)) for name, _ in _word_tag(geometry)),
            for_query.eq(row.target == QUERY),
            query.valid.eq(segments.valid & for_query),
            query.last.eq(segments.last),
            query.slot.eq(row.slot),
            pack.valid.eq(segments.valid & ~for_query),
            pack.last.eq(segments.last),
            pack.elements.eq(segments.elements),
            pack.dim.eq(row.dim),
            pack.end.eq(row.end),
            pack.tag.eq(word.raw_bits()),
            segments.ready.eq(Mux(for_query, query.ready, pack.ready)),
        ]
        for i in range(geometry.segment):
            element = segments.elements[i * geometry.operand_bits :][:Q_BITS]
            self.comb += query.elements[i * Q_BITS : (i + 1) * Q_BITS].eq(element)

    # Words ----------------------------------------------------------------------------------------

    def _route_words(self, geometry: Geometry) -> None:
        """Words go to the operand buffer, or the array, of their pass."""
        words = self.pack.source
        tag = Record(_word_tag(geometry))
        self.comb += tag.raw_bits().eq(words.tag)
        for target, source in ((KEYS, self.keys), (VALUES, self.values)):
            self.comb += [
                source.valid.eq(words.valid & (tag.target == target)),
                source.last.eq(words.last),
                source.payload.eq(words.payload),
                source.base.eq(tag.base),
                source.lsb.eq(tag.lsb),
                If(tag.target == target, words.ready.eq(source.ready)),
            ]
