# SPDX-License-Identifier: BSD-2-Clause
"""Query x key: a multiplier a lane and an adder tree that is tapped where a key ends."""

from litex.gen import *
from litex.soc.interconnect.stream import Endpoint, EndpointDescription, SyncFIFO

from .geometry import Q_BITS, Geometry
from .pack import word_payload

ROOM = 16  # scores behind the array, and in it: a LUT RAM is that deep

# Layouts ------------------------------------------------------------------------------------------


def query_layout(geometry: Geometry) -> EndpointDescription:
    """A segment of a query row: signed elements, element ``i`` at bit ``i * Q_BITS``."""
    return EndpointDescription([("elements", geometry.segment * Q_BITS)])


def key_word_layout(geometry: Geometry) -> EndpointDescription:
    """A word of keys, and whether the query is done with after it."""
    return EndpointDescription(word_payload(geometry), [("dim", 8), ("release", 1)])


def score_layout(geometry: Geometry) -> EndpointDescription:
    """Scores of the keys of a word, signed, score ``i`` at bit ``i * score_bits``."""
    keys = geometry.keys_a_word
    return EndpointDescription([("scores", keys * geometry.score_bits), ("count", bits_for(keys))])


# Query Buffer -------------------------------------------------------------------------------------


class QueryBuffer(LiteXModule):
    """Two query rows: one in use, and one that loads meanwhile.

    The loaded row moves into use the cycle after its last segment, or when the row in use is released.

    Parameters
    ----------
    geometry : widths.

    Attributes
    ----------
    sink : in, segments of query rows, ``last`` on the last of a row.
    valid : out, a row is in use.
    elements : out, its elements, as many as the longest row has.
    release : in, one cycle: the row in use is done. Only while ``valid``.
    """

    def __init__(self, geometry: Geometry) -> None:
        size = geometry.segment * Q_BITS
        places = max(geometry.padded_dims) // geometry.segment
        self.sink = sink = Endpoint(query_layout(geometry))
        self.valid = Signal()
        self.elements = Signal(places * size, reset_less=True)
        self.release = Signal()

        # # #

        # Loading ----------------------------------------------------------------------------------
        loaded, move = Signal(), Signal()
        place = Signal(max=max(2, places))
        row = Signal(places * size, reset_less=True)
        self.comb += sink.ready.eq(~loaded)
        self.sync += [
            If(move, loaded.eq(0)),
            If(
                sink.valid & sink.ready,
                Case(
                    place,
                    {i: row[i * size : (i + 1) * size].eq(sink.elements) for i in range(places)},
                ),
                place.eq(Mux(sink.last, 0, place + 1)),
                loaded.eq(sink.last),
            ),
        ]

        # In Use -----------------------------------------------------------------------------------
        self.comb += move.eq(loaded & (self.release | ~self.valid))
        self.sync += [
            If(self.release, self.valid.eq(0)),
            If(move, self.valid.eq(1), self.elements.eq(row)),
        ]


# Query x Key Array --------------------------------------------------------------------------------


class QKArray(LiteXModule):
    """The Q x K array: scores of all keys of a word at once.

    The query stays while keys stream by. Products are summed by a tree with a register after each adder. Up
    to the smallest head dimension it is a plain tree and has a sum a key; from there on each level adds pairs
    of sums where the head dimension is larger, and else passes them on, so all dimensions leave by the same
    registers. Where a key takes several words, their sums are added up behind the tree.

    A word whose query is not loaded yet waits. Lanes without an element must be 0 in the word (as Pack makes
    them): the query may have anything there.

    A word a cycle, also from one query to the next if that is loaded by then. ``latency`` cycles from a word
    to its scores. ``ROOM`` scores wait behind the array; no word enters that would find no
    place there.

    Paper: section IV, the query-key multiplication module. docs/contract.md, section 4, step 1.

    Parameters
    ----------
    geometry : widths.

    Attributes
    ----------
    query : in, segments of query rows. ``elements``, ``last`` on the last segment of a row.
    sink : in, words of keys, as Pack makes them. ``elements``, ``count``, ``last`` (of a pass); ``dim``, and
        ``release``: the query is done with after this word, the next word is for the next query.
    source : out, scores. ``scores`` (``keys_a_word``, the first ``count`` count, the others are 0),
        ``count``, ``last``. One token a word, or one a key if a key takes several words.
    latency : cycles from the acceptance of a word to its scores.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.sink = sink = Endpoint(key_word_layout(geometry))
        self.source = source = Endpoint(score_layout(geometry))

        # # #

        self._geometry = geometry
        self.latency = 0

        # Query ------------------------------------------------------------------------------------
        self.buffer = QueryBuffer(geometry)
        self.query = self.buffer.sink

        # Room -------------------------------------------------------------------------------------
        # Nothing stops the pipeline: a word enters if there is a place for its scores behind it. So no
        # enable has to reach all multipliers and adders at the far end of a chain of ready.
        self.scores = scores = SyncFIFO(score_layout(geometry), ROOM)
        room, free = Signal(max=ROOM + 1, reset=ROOM), Signal(reset=1)
        accept = Signal()
        self.comb += [
            scores.source.connect(source),
            sink.ready.eq(free & self.buffer.valid),
            accept.eq(sink.valid & sink.ready),
            self.buffer.release.eq(accept & sink.release),
        ]

        # Words of a Key ---------------------------------------------------------------------------
        self._word = word = Signal(max=max(2, self._words))
        entry = self._flags()
        self.comb += [
            entry.valid.eq(accept),
            entry.start.eq(word == 0),
            entry.end.eq(word == (sink.dim - 1) >> log2_int(geometry.lanes)),
            entry.dim.eq(sink.dim),
            entry.count.eq(sink.count),
            entry.last.eq(sink.last),
        ]
        self.sync += If(accept, word.eq(Mux(entry.end, 0, word + 1)))

        # Products, Sums, Scores -------------------------------------------------------------------
        products, flags = self._multiply(entry)
        sums, flags = self._add(products, flags)
        if self._words > 1:
            sums, flags = self._accumulate(sums, flags)
        self.comb += [
            scores.sink.valid.eq(flags.valid),
            scores.sink.last.eq(flags.last),
            scores.sink.count.eq(flags.count),
            scores.sink.scores.eq(Cat(*[_extended(score, geometry.score_bits) for score in sums])),
        ]
        self.latency += 1
        assert self.latency + 2 <= ROOM, "a word a cycle needs a place for each word on its way"
        self.sync += [
            room.eq(room - (accept & entry.end) + (source.valid & source.ready)),
            free.eq(room > 1),  # one may have entered meanwhile
        ]

    @property
    def _words(self) -> int:
        """Most words of a key."""
        return -(-max(self._geometry.config.head_dims) // self._geometry.lanes)

    def _flags(self) -> Record:
        """What goes along with a word; ``start`` and ``end`` are those of a key."""
        count = bits_for(self._geometry.keys_a_word)
        layout = [("valid", 1), ("start", 1), ("end", 1), ("last", 1), ("dim", 8), ("count", count)]
        flags = Record(layout, reset_less=True)
        flags.valid.reset_less = False
        return flags

    def _stage(self, flags: Record) -> Record:
        """The flags, a pipeline stage later."""
        self.latency += 1
        later = self._flags()
        self.sync += later.raw_bits().eq(flags.raw_bits())
        return later

    def _multiply(self, flags: Record) -> tuple[list[Signal], Record]:
        """Registers, multipliers, registers."""
        geometry, products = self._geometry, []
        for lane in range(geometry.lanes):
            query = Signal((Q_BITS, True), reset_less=True)
            key = Signal((geometry.operand_bits, True), reset_less=True)
            product = Signal((Q_BITS + geometry.operand_bits, True), reset_less=True)
            at = lane * geometry.operand_bits
            self.sync += [
                self._select(query, lane),
                key.eq(self.sink.elements[at : at + geometry.operand_bits]),
                product.eq(query * key),
            ]
            products.append(product)
        return products, self._stage(self._stage(flags))

    def _select(self, query: Signal, lane: int):
        """The query element of a lane: by head dimension, and by word where a key takes several."""
        lanes = self._geometry.lanes
        cases = {}
        for dim, padded in zip(self._geometry.config.head_dims, self._geometry.padded_dims, strict=True):
            if dim <= lanes:
                cases[dim] = self._element(query, lane % padded)
            else:
                words = range(-(-dim // lanes))
                cases[dim] = Case(self._word, {w: self._element(query, w * lanes + lane) for w in words})
        cases["default"] = cases.pop(max(cases))
        return Case(self.sink.dim, cases)

    def _element(self, query: Signal, i: int):
        return query.eq(self.buffer.elements[i * Q_BITS : (i + 1) * Q_BITS])

    def _add(self, sums: list[Signal], flags: Record) -> tuple[list[Signal], Record]:
        """The adder tree."""
        smallest, largest = min(self._geometry.padded_dims), max(self._geometry.padded_dims)
        size = 1  # lanes in a sum
        while size < min(largest, self._geometry.lanes):
            pairs = [left + right for left, right in zip(sums[::2], sums[1::2], strict=True)]
            if size >= smallest:
                pairs += [0] * (len(sums) - len(pairs))
                pairs = [Mux(flags.dim > size, pair, one) for pair, one in zip(pairs, sums, strict=True)]
            sums = [self._register(pair, len(sums[0]) + 1) for pair in pairs]
            flags = self._stage(flags)
            size *= 2
        return sums, flags

    def _register(self, value, bits: int) -> Signal:
        register = Signal((bits, True), reset_less=True)
        self.sync += register.eq(value)
        return register

    def _accumulate(self, sums: list[Signal], flags: Record) -> tuple[list[Signal], Record]:
        """The sum over the words of a key; only the first sum has one."""
        total = Signal((self._geometry.score_bits, True), reset_less=True)
        self.sync += If(flags.valid, total.eq(Mux(flags.start, 0, total) + sums[0]))
        others = [self._register(one, len(one)) for one in sums[1:]]
        whole = self._flags()
        self.comb += [whole.raw_bits().eq(flags.raw_bits()), whole.valid.eq(flags.valid & flags.end)]
        return [total, *others], self._stage(whole)


def _extended(value: Signal, bits: int):
    """A signed signal as ``bits`` bits."""
    return Cat(value, Replicate(value[-1], bits - len(value))) if len(value) < bits else value[:bits]
