# SPDX-License-Identifier: BSD-2-Clause
"""The scores of the rows in flight, and the distance of each to its row's maximum."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .geometry import Geometry


def scores_layout(geometry: Geometry, slots: int) -> stream.EndpointDescription:
    """A word of scores as the Q x K array makes them, for the row in ``slot``."""
    lanes = geometry.keys_a_word
    payload = [("scores", lanes * geometry.score_bits), ("count", bits_for(lanes))]
    return stream.EndpointDescription(payload, [("slot", bits_for(slots - 1)), ("add", 1)])


def row_layout(geometry: Geometry, slots: int) -> stream.EndpointDescription:
    """A row whose scores are complete: where it lies, how long it is, its largest score."""
    lanes = geometry.keys_a_word
    words = -(-geometry.config.max_sequence // lanes)
    return stream.EndpointDescription(
        [
            ("slot", bits_for(slots - 1)),
            ("words", bits_for(words)),
            ("tail", bits_for(lanes)),
            ("maximum", geometry.score_bits),
        ]
    )


def distances_layout(geometry: Geometry, slots: int) -> stream.EndpointDescription:
    """A word of distances to the maximum, all zero or greater."""
    lanes = geometry.keys_a_word
    payload = [("distances", lanes * geometry.distance_bits), ("count", bits_for(lanes))]
    return stream.EndpointDescription(payload, [("slot", bits_for(slots - 1))])


def placed_layout(geometry: Geometry, slots: int) -> stream.EndpointDescription:
    """The same; or, ``placed``, the score of the key at ``place`` of the row, shown in every lane."""
    words = scores_layout(geometry, slots)
    payload = [*words.payload_layout, ("place", geometry.index_bits)]
    return stream.EndpointDescription(payload, [*words.param_layout, ("placed", 1)])


def _stage(geometry: Geometry, slots: int, depth: int) -> tuple[Signal, Record]:
    """Registers that follow a word of the pass, and whether there is one."""
    lanes = geometry.keys_a_word
    token = Record(
        [
            ("scores", lanes * geometry.score_bits),
            ("count", bits_for(lanes)),
            ("lanes", lanes),
            ("slot", bits_for(slots - 1)),
            ("add", 1),
            ("placed", 1),
            ("word", bits_for(max(2, depth) - 1)),
            ("first", 1),
            ("last", 1),
        ],
        reset_less=True,
    )
    return Signal(), token


class _Maximum(LiteXModule):
    """The largest of the valid lanes of a word, in one register level for each halving. No back-pressure."""

    def __init__(self, geometry):
        lanes, bits = geometry.keys_a_word, geometry.score_bits
        self.scores = Signal(lanes * bits)
        self.lanes = Signal(lanes)
        self.largest = Signal((bits, True))
        self.latency = (lanes - 1).bit_length()

        # # #

        # A lane that is not valid shows what is not above any score.
        level = []
        for lane in range(lanes):
            score = Signal((bits, True))
            own = self.scores[lane * bits : (lane + 1) * bits]
            self.comb += score.eq(Mux(self.lanes[lane], own, 1 << bits - 1) if lanes > 1 else own)
            level.append(score)
        while len(level) > 1:
            following = [Signal((bits, True), reset_less=True) for _ in level[::2]]
            for larger, a, b in zip(following, level[::2], level[1::2], strict=True):
                self.sync += larger.eq(Mux(a > b, a, b))
            level = following
        self.comb += self.largest.eq(level[0])


class ScoreBuffer(LiteXModule):
    """Keeps the scores of ``slots`` rows until their softmax is certain.

    A first pass over a row's keys stores its scores. A second pass, of the LSB plane, comes with ``add`` and
    adds to what was kept: the paper recomputes the row instead. If it comes key by key, ``placed``, the
    maximum is that of these keys; a row has then as many as the first pass before had. Each pass ends with
    one token of ``finished``. Asked through ``replay``, the buffer gives the distances
    ``max(0, maximum - score)`` of a row.

    A slot is written by a pass or replayed, never both at once: its memory has one read port.

    Parameters
    ----------
    geometry : sizes of the core.
    slots : rows in flight.

    Attributes
    ----------
    sink : in, :func:`placed_layout`, one word a cycle; ``last`` ends a pass.
    finished : out, :func:`row_layout`, one for each pass, 4 cycles after its last word for one key a word.
    replay : in, the same token: which row to give.
    source : out, :func:`distances_layout`, one word a cycle, the first after 2 cycles.

    Source: contract section 4, steps 1, 2 and 6; paper section IV-D and Fig. 8.
    """

    def __init__(self, geometry, slots=4):
        self.sink = stream.Endpoint(placed_layout(geometry, slots))
        self.finished = stream.Endpoint(row_layout(geometry, slots))
        self.replay = stream.Endpoint(row_layout(geometry, slots))
        self.source = stream.Endpoint(distances_layout(geometry, slots))

        # # #

        lanes = geometry.keys_a_word
        depth = -(-geometry.config.max_sequence // lanes)
        # A memory a lane: keys by their place are written one after the other, also within a word.
        self.reads, self.writes = [], []
        for _ in range(slots):
            memories = [Memory(geometry.score_bits, depth) for _ in range(lanes)]
            writes = [one.get_port(write_capable=True, mode=READ_FIRST) for one in memories]
            reads = [one.get_port(has_re=True, mode=READ_FIRST) for one in memories]
            self.specials += *memories, *writes, *reads
            self.reads.append(reads)
            self.writes.append(writes)
        self.adding = Signal()  # the storing side reads `adding_slot` in this cycle
        self.adding_slot = Signal(max=max(2, slots))
        self.adding_word = Signal(max=max(2, depth))
        reading, read = self._take(geometry, slots, depth)
        writing, added = self._add(geometry, slots, depth, reading, read)
        self._write(geometry, writing, added)
        self._finish(geometry, slots, depth, writing, added)
        self._replay(geometry, slots, depth)

    # Storing -----------------------------------------------------------------------------------------

    # Three stages: read what was kept, add, write. They run on: only a pass's end can wait.

    def _take(self, geometry, slots, depth):
        """A word on its way to memory, with its place, while what was kept there is read.

        A new pass waits until the end of the one before it was taken: the running maximum is one register.
        """
        keys, words, sink = geometry.keys_a_word, max(2, depth), self.sink
        place, word = (Signal(max=words) for _ in range(2))
        fresh = Signal(reset=1)  # the next word is a pass's first
        lanes = Signal(keys)  # that hold a score
        self._ending = ending = Signal()
        self._accept = accept = Signal()
        self.comb += [
            sink.ready.eq(~ending),
            accept.eq(sink.valid & sink.ready),
            self.adding.eq(accept & sink.add),
            self.adding_slot.eq(sink.slot),
            self.adding_word.eq(word),
            word.eq(Mux(sink.placed, sink.place >> log2_int(keys), place)),
            *[lanes[lane].eq(lane < sink.count) for lane in range(keys)],
            If(sink.placed, lanes.eq(1 << sink.place[: log2_int(keys)] if keys > 1 else 1)),
        ]
        valid, read = _stage(geometry, slots, depth)
        self.sync += [
            If(accept, place.eq(Mux(sink.last, 0, place + 1)), fresh.eq(sink.last)),
            valid.eq(accept),
            *(
                getattr(read, name).eq(getattr(sink, name))
                for name in ("scores", "count", "slot", "add", "placed", "last")
            ),
            read.lanes.eq(lanes),
            read.word.eq(word),
            read.first.eq(fresh),
        ]
        return valid, read

    def _add(self, geometry, slots, depth, valid, read):
        """The word with what was kept added to it, where it is to be added."""
        lanes, bits = geometry.keys_a_word, geometry.score_bits
        (valid_2, kept), (valid_3, added) = _stage(geometry, slots, depth), _stage(geometry, slots, depth)
        old = Signal(lanes * bits, reset_less=True)
        self.sync += [
            valid_2.eq(valid),
            kept.eq(read),
            old.eq(Array(Cat(*(port.dat_r for port in ports)) for ports in self.reads)[read.slot]),
            valid_3.eq(valid_2),
            added.eq(kept),
        ]
        for lane in range(lanes):
            part = slice(lane * bits, (lane + 1) * bits)
            self.sync += added.scores[part].eq(kept.scores[part] + Mux(kept.add, old[part], 0))
        return valid_3, added

    def _write(self, geometry, valid, added):
        """Into the memories of the lanes that hold a score."""
        bits = geometry.score_bits
        for slot, ports in enumerate(self.writes):
            for lane, port in enumerate(ports):
                self.comb += [
                    port.adr.eq(added.word),
                    port.dat_w.eq(added.scores[lane * bits : (lane + 1) * bits]),
                    port.we.eq(valid & added.lanes[lane] & (added.slot == slot)),
                ]

    def _finish(self, geometry, slots, depth, valid, token):
        """The running maximum, behind the tree over the lanes; at a pass's end, what the row is."""
        sink, finished = self.sink, self.finished
        self.tree = tree = _Maximum(geometry)
        self.comb += [tree.scores.eq(token.scores), tree.lanes.eq(token.lanes)]
        for _ in range(tree.latency):
            later_valid, later = _stage(geometry, slots, depth)
            self.sync += [later_valid.eq(valid), later.eq(token)]
            valid, token = later_valid, later
        bits = geometry.score_bits
        maximum, largest = Signal((bits, True), reset_less=True), Signal((bits, True))
        # Of a row, by its first pass.
        words, tail = (Signal.like(one, reset_less=True) for one in (finished.words, finished.tail))
        self.comb += largest.eq(Mux(token.first | (tree.largest > maximum), tree.largest, maximum))
        self.sync += [
            If(valid, maximum.eq(largest)),
            If(self._accept & sink.last, self._ending.eq(1)),
            If(finished.valid & finished.ready, finished.valid.eq(0), self._ending.eq(0)),
            If(
                valid & token.last,
                finished.valid.eq(1),
                finished.slot.eq(token.slot),
                finished.words.eq(Mux(token.placed, words, token.word + 1)),
                finished.tail.eq(Mux(token.placed, tail, token.count)),
                finished.maximum.eq(largest),
                If(~token.placed, words.eq(token.word + 1), tail.eq(token.count)),
            ),
        ]

    # Replaying ---------------------------------------------------------------------------------------

    def _replay(self, geometry, slots, depth):
        """Two stages behind the read: the memory's own register, then the subtraction with its sign."""
        lanes, bits = geometry.keys_a_word, geometry.score_bits
        replay, source = self.replay, self.source
        word = Signal(max=depth + 1)
        last, issue, move = Signal(), Signal(), Signal()
        self.comb += [
            move.eq(~source.valid | source.ready),
            last.eq(word + 1 == replay.words),
            issue.eq(replay.valid & move),
            replay.ready.eq(issue & last),
        ]
        self.sync += If(issue, word.eq(Mux(last, 0, word + 1)))
        for slot, ports in enumerate(self.reads):
            mine = self.adding & (self.adding_slot == slot)
            self.comb += [
                [port.adr.eq(Mux(mine, self.adding_word, word)), port.re.eq(mine | move)] for port in ports
            ]

        read = Record(
            [
                ("slot", bits_for(slots - 1)),
                ("maximum", (bits, True)),
                ("count", bits_for(lanes)),
                ("last", 1),
            ],
            reset_less=True,
        )
        read_valid = Signal()
        scores, differences = (
            [Signal((bits + more, True), reset_less=True) for _ in range(lanes)] for more in range(2)
        )
        self.differences = differences
        self.comb += [
            # A key that did not refetch may be above the maximum of those that did.
            source.distances.eq(Cat(*(Mux(one[-1], 0, one[:bits]) for one in differences))),
            *(
                score.eq(Array(ports[lane].dat_r for ports in self.reads)[read.slot])
                for lane, score in enumerate(scores)
            ),
        ]
        self.sync += If(
            move,
            read_valid.eq(issue),
            read.slot.eq(replay.slot),
            read.maximum.eq(replay.maximum),
            read.count.eq(Mux(last, replay.tail, lanes)),
            read.last.eq(last),
            source.valid.eq(read_valid),
            source.slot.eq(read.slot),
            source.count.eq(read.count),
            source.last.eq(read.last),
            *(one.eq(read.maximum - score) for one, score in zip(differences, scores, strict=True)),
        )
