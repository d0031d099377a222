# SPDX-License-Identifier: BSD-2-Clause
"""What is left to do for a job's tokens after its last row: their running importance, and who survives."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .descriptor import SLOT_BITS, slot_layout
from .first_mark import first_mark
from .geometry import IMPORTANCE_BITS, Geometry
from .port import address_bits, write_layout
from .skid import Skid
from .token_importance import DECAY_BITS, TokenUpdate, key_layout, total_layout
from .topk import TopK
from .topk_emit import kept_layout
from .word_reader import WordReader
from .writeback import WriteBack

PROTECTED = SLOT_BITS - 1  # bit of an entry of the key list
RANK_BITS = IMPORTANCE_BITS + 1  # what tokens are ranked by: protected, importance


def place_layout(geometry: Geometry) -> list:
    """A place in the key list."""
    return [("place", geometry.index_bits)]


def word_layout() -> list:
    """A slot's new importance, and whether it is a key of the job, and which."""
    return [("new", IMPORTANCE_BITS), *flags_layout()]


def flags_layout() -> list:
    """Whether a slot is a key of the job (``live``), a protected one, the last one."""
    return [("live", 1), ("protected", 1), ("final", 1)]


def parallelism(geometry: Geometry) -> int:
    """Tokens that the top-k engine takes a cycle: it works once a job, so it may be small."""
    return max(1, min(4, geometry.config.topk_parallelism // 4))


# Key list -----------------------------------------------------------------------------------------


class _ListReader(LiteXModule):
    """Looks up entries of the key list, one a cycle; the list's memory needs no enable.

    Attributes
    ----------
    sink : in, :func:`place_layout`.
    index, word : out and in, a cycle later: the list.
    source : out, ``slot_layout``; ``last`` as it came.
    """

    DEPTH = 4

    def __init__(self, geometry: Geometry) -> None:
        self.sink = sink = stream.Endpoint(place_layout(geometry))
        self.index = Signal(geometry.index_bits)
        self.word = Signal(SLOT_BITS)
        self.source = stream.Endpoint(slot_layout())

        # # #

        self.fifo = fifo = stream.SyncFIFO(slot_layout(), self.DEPTH)
        self.buffer = buffer = stream.Buffer(slot_layout(), pipe_ready=True)
        room = Signal(max=self.DEPTH + 1, reset=self.DEPTH)
        asked = Signal()
        self.comb += [
            sink.ready.eq(room != 0),
            asked.eq(sink.valid & sink.ready),
            self.index.eq(sink.place),
            fifo.sink.slot.eq(self.word),
            fifo.source.connect(buffer.sink),
            buffer.source.connect(self.source),
        ]
        self.sync += [
            room.eq(room - asked + (fifo.source.valid & fifo.source.ready)),
            fifo.sink.valid.eq(asked),
            fifo.sink.last.eq(sink.last),
        ]


class _AllPlaces(LiteXModule):
    """Every place of the key list, in order.

    Attributes
    ----------
    start, count : in, a pulse and the number of places.
    source : out, :func:`place_layout`, ``last`` with the last.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.start = Signal()
        self.count = Signal(max=geometry.config.max_sequence + 1)
        self.source = source = stream.Endpoint(place_layout(geometry))

        # # #

        left = Signal.like(self.count)
        self.comb += [source.valid.eq(left != 0), source.last.eq(left == 1)]
        self.sync += [
            If(source.valid & source.ready, source.place.eq(source.place + 1), left.eq(left - 1)),
            If(self.start, source.place.eq(0), left.eq(self.count)),
        ]


# Survivors ----------------------------------------------------------------------------------------


class _Fill(LiteXModule):
    """Gathers the ranks of live keys into beats of the top-k engine.

    Attributes
    ----------
    sink : in, ``rank``, ``last`` with the last of a set.
    source : out, ``values``; lanes after the set's last hold anything.
    """

    def __init__(self, lanes: int) -> None:
        self.sink = sink = stream.Endpoint([("rank", RANK_BITS)])
        self.source = source = stream.Endpoint([("values", lanes * RANK_BITS)])

        # # #

        lane = Signal(max=max(2, lanes))
        moved, full = Signal(), Signal()
        self.comb += [
            sink.ready.eq(~source.valid | source.ready),
            moved.eq(sink.valid & sink.ready),
            full.eq(sink.last | (lane == lanes - 1)),
        ]
        values = {i: source.values[i * RANK_BITS : (i + 1) * RANK_BITS].eq(sink.rank) for i in range(lanes)}
        self.sync += [
            If(source.ready, source.valid.eq(0)),
            If(
                moved,
                Case(lane, values),
                lane.eq(Mux(full, 0, lane + 1)),
                source.valid.eq(full),
                source.last.eq(sink.last),
            ),
        ]


class _KeptPlaces(LiteXModule):
    """Turns the marks of the top-k engine into places, one a cycle; a beat without any takes a cycle.

    Attributes
    ----------
    start : in, the next set begins.
    keep : in, survivors of the set.
    sink : in, ``kept_layout``; taken to its end, also after the last survivor.
    source : out, :func:`place_layout`, ``last`` with the last survivor.
    """

    def __init__(self, geometry: Geometry) -> None:
        lanes = parallelism(geometry)
        self.start = Signal()
        self.keep = Signal(max=geometry.config.max_sequence + 1)
        self.sink = sink = stream.Endpoint(kept_layout(lanes, RANK_BITS))
        self.source = source = stream.Endpoint(place_layout(geometry))

        # # #

        beat, left = (Signal.like(one, reset_less=True) for one in (source.place, self.keep))
        given, marks = Signal(lanes, reset_less=True), Signal(lanes)  # of the beat
        first, lane = first_mark(self, marks)
        found, only = Signal(), Signal()
        self.comb += [
            marks.eq(sink.keep & ~given),
            found.eq(marks != 0),
            only.eq(marks == first),
            source.valid.eq(sink.valid & found),
            source.place.eq(Cat(lane, beat) if lanes > 1 else beat),
            source.last.eq(left == 1),
            sink.ready.eq(~found | (only & source.ready)),
        ]
        self.sync += [
            If(source.valid & source.ready, left.eq(left - 1), given.eq(given | first)),
            If(sink.valid & sink.ready, beat.eq(beat + 1), given.eq(0)),
            If(self.start, beat.eq(0), given.eq(0), left.eq(self.keep)),
        ]


# Importance ---------------------------------------------------------------------------------------


class _Walk(LiteXModule):
    """Goes through all slots in order and gives each its new importance, a slot a cycle.

    Attributes
    ----------
    start : in, a pulse.
    n_slots, add, decay : in, of the job.
    keys : in, ``slot_layout``: the key list in order, ``last`` with the last.
    totals : in, ``total_layout``: what each of them gained.
    old : in, old words of all slots, if ``add``.
    source : out, :func:`word_layout`, ``last`` with the last slot.
    """

    def __init__(self, geometry: Geometry, old: stream.Endpoint) -> None:
        self.start = Signal()
        self.n_slots = Signal(max=geometry.config.max_sequence + 1)
        self.add = Signal()
        self.decay = Signal(DECAY_BITS)
        self.keys = keys = stream.Endpoint(slot_layout())
        self.totals = totals = stream.Endpoint(total_layout())
        self.source = source = stream.Endpoint(word_layout())

        # # #

        # Registers both ways: TokenSums' whole pipeline hangs on the ready of its totals.
        self.totals_buffer = buffer = stream.Buffer(total_layout(), pipe_ready=True)
        self.update = update = TokenUpdate()
        self.flags = flags = stream.SyncFIFO(flags_layout(), 8)

        # Slots ------------------------------------------------------------------------------------
        slot, last_slot = (Signal(geometry.index_bits, reset_less=True) for _ in range(2))
        walking, spent = Signal(), Signal(reset_less=True)  # spent: no key is left
        live, known, step = Signal(), Signal(), Signal()
        total = buffer.source
        self.comb += [
            totals.connect(buffer.sink),
            live.eq(keys.valid & (keys.slot[:PROTECTED] == slot)),
            known.eq((keys.valid | spent) & (total.valid | ~live) & (old.valid | ~self.add)),
            update.sink.valid.eq(walking & known),
            step.eq(update.sink.valid & update.sink.ready),
            keys.ready.eq(step & live),
            total.ready.eq(step & live),
            old.ready.eq(step & self.add),
        ]
        self.sync += [
            last_slot.eq(self.n_slots - 1),
            If(
                step,
                slot.eq(slot + 1),
                If(update.sink.last, walking.eq(0)),
                If(live & keys.last, spent.eq(1)),
            ),
            If(self.start, slot.eq(0), walking.eq(1), spent.eq(0)),
        ]

        # New importance, and around it what it is of ----------------------------------------------
        self.comb += [
            update.sink.last.eq(slot == last_slot),
            update.sink.old.eq(old.data),
            update.sink.total.eq(total.total),
            update.sink.live.eq(live),
            update.sink.add.eq(self.add),
            update.sink.decay.eq(self.decay),
            flags.sink.valid.eq(step),
            flags.sink.live.eq(live),
            flags.sink.protected.eq(keys.slot[PROTECTED]),
            flags.sink.final.eq(keys.last),
            update.source.connect(source, omit={"new"}),
            source.new.eq(update.source.new),
            flags.source.connect(source, keep={"live", "protected", "final"}),
            flags.source.ready.eq(update.source.valid & update.source.ready),
        ]


class TokenFinish(LiteXModule):
    """Writes the running importance of all slots, then the list of the surviving tokens.

    Slots are walked in order beside the key list. Live keys' new words go on into a top-k engine, with the
    protected bit on top, so that protected keys come first and of equals the lower slot. Its marks select
    entries of the key list. Where all survive that list is read once more and nothing is searched for. Both
    lists are padded to a beat with zeros.

    With memory at a word a cycle: ``n_slots`` cycles for the walk, then what is left of the top-k engine's
    ``TopK.cycles()`` unless all survive, then a cycle for each survivor and for each beat of the engine
    without one; at most 40 of latency in all.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    start : Signal, in: a pulse, when all rows are in the sums and old importance may be read.
    done : Signal, out: all was accepted at ``write``; 0 after reset and once ``start`` was seen.
    n_slots, n_keys, keep_tokens : Signal, in, of the job. All inputs but ``start`` stay from ``start`` to
        ``done``.
    add_tokens, decay : Signal, Signal(17), in, of the job.
    importance_address, survivors_address : Signal, in, beats.
    list_index, list_word : Signal(index), out, and Signal(16), in a cycle later: the key list.
    total_read : Endpoint, out, ``key_layout``, and
    totals : Endpoint, in, ``total_layout``: to and from ``TokenSums``, for all keys in order.
    port : ReadPort, out: old importance, if ``add_tokens``; a beat is read before it is written.
    write : Endpoint, out, ``write_layout``: importance, then survivors; each beat is a burst.

    Source: contract, sections 6.2 and 7; paper section III-A (cascade token pruning).
    """

    def __init__(self, geometry: Geometry) -> None:
        depth = geometry.config.max_sequence
        lanes = parallelism(geometry)
        self.start = start = Signal()
        self.done = Signal()
        self.n_slots, self.n_keys, self.keep_tokens = (Signal(max=depth + 1) for _ in range(3))
        self.add_tokens = Signal()
        self.decay = Signal(DECAY_BITS)
        self.importance_address = Signal(address_bits(geometry))
        self.survivors_address = Signal(address_bits(geometry))
        self.total_read = stream.Endpoint(key_layout(depth))
        self.totals = stream.Endpoint(total_layout())
        self.write = stream.Endpoint(write_layout(geometry))

        # # #

        self.reader = reader = WordReader(geometry, IMPORTANCE_BITS, depth)
        self.walk = walk = _Walk(geometry, reader.source)
        self.list_reader = entries = _ListReader(geometry)
        self.keys, self.reads = keys, reads = _AllPlaces(geometry), _AllPlaces(geometry)
        self.fill = _Fill(lanes)
        self.topk = TopK(lanes, RANK_BITS, depth)
        self.kept = kept = _KeptPlaces(geometry)
        self.importance = importance = WriteBack(geometry, IMPORTANCE_BITS)
        self.survivors = survivors = WriteBack(geometry, SLOT_BITS)
        self.port = reader.port
        self.list_index, self.list_word = entries.index, entries.word
        self.comb += [
            *(unit.start.eq(start) for unit in (walk, reads, kept, importance, survivors)),
            reader.start.eq(start & self.add_tokens),
            reader.base.eq(self.importance_address),
            reader.count.eq(self.n_slots),
            walk.n_slots.eq(self.n_slots),
            walk.add.eq(self.add_tokens),
            walk.decay.eq(self.decay),
            keys.count.eq(self.n_keys),
            reads.count.eq(self.n_keys),
            kept.keep.eq(self.keep_tokens),
            importance.base.eq(self.importance_address),
            survivors.base.eq(self.survivors_address),
        ]
        self._steps()
        self._entries()
        self._new_words()
        self._lists()

    def _steps(self) -> None:
        done = self.topk.source
        self.listing = listing = Signal()  # survivors, after importance
        self.ended = ended = Signal()  # a list is in memory
        drained = Signal()  # the top-k engine is empty
        self.all_survive = all_survive = Signal()  # then there is nothing to search for
        self.fsm = fsm = FSM(reset_state="IDLE")
        fsm.act(
            "IDLE",
            If(self.start, NextValue(self.done, 0), NextValue(drained, 0), NextState("IMPORTANCE")),
        )
        fsm.act("IMPORTANCE", If(ended, NextState("SURVIVORS")))
        fsm.act("SURVIVORS", listing.eq(1), If(ended, NextState("DRAIN")))
        fsm.act("DRAIN", listing.eq(1), If(drained | all_survive, NextValue(self.done, 1), NextState("IDLE")))
        self.comb += self.keys.start.eq(self.start | (fsm.ongoing("IMPORTANCE") & ended & all_survive))
        self.sync += [
            all_survive.eq(self.keep_tokens == self.n_keys),
            If(done.valid & done.ready & done.last, drained.eq(1)),
        ]

    def _entries(self) -> None:
        """Live keys and what they gained; later those that survive."""
        walk, keys, reads, kept = self.walk, self.keys, self.reads, self.kept
        listing, entries, survivors = self.listing, self.list_reader, self.survivors
        self.comb += [
            reads.source.connect(self.total_read, keep={"valid", "ready", "last"}),
            self.total_read.key.eq(reads.source.place),
            self.totals.connect(walk.totals),
            If(listing & ~self.all_survive, kept.source.connect(entries.sink)).Else(
                keys.source.connect(entries.sink)
            ),
            If(
                listing,
                survivors.sink.valid.eq(entries.source.valid),
                entries.source.ready.eq(survivors.sink.ready),
            ).Else(entries.source.connect(walk.keys, keep={"valid", "ready"})),
            entries.source.connect(walk.keys, keep={"slot", "last"}),
            survivors.sink.data.eq(entries.source.slot),
            survivors.sink.last.eq(entries.source.last),
        ]

    def _new_words(self) -> None:
        """To memory and to the top-k engine."""
        walk, importance, fill, topk, kept = self.walk, self.importance, self.fill, self.topk, self.kept
        self.words = words = Skid(word_layout())
        word = words.source
        room = Signal()
        self.comb += [
            walk.source.connect(words.sink),
            room.eq(importance.sink.ready & (fill.sink.ready | ~word.live)),
            word.ready.eq(room),
            importance.sink.valid.eq(word.valid & room),
            importance.sink.data.eq(word.new),
            importance.sink.last.eq(word.last),
            fill.sink.valid.eq(word.valid & word.live & room & ~self.all_survive),
            fill.sink.rank.eq(Cat(word.new, word.protected)),
            fill.sink.last.eq(word.final),
            fill.source.connect(topk.sink),
            topk.sink.n.eq(self.n_keys),
            topk.sink.k.eq(self.keep_tokens),
            topk.source.connect(kept.sink),
        ]

    def _lists(self) -> None:
        """To memory: survivors after importance."""
        listing, ended = self.listing, self.ended
        importance, survivors, write = self.importance, self.survivors, self.write
        region_end = Signal()
        self.comb += [
            If(
                listing, survivors.source.connect(write, omit={"last"}), region_end.eq(survivors.source.last)
            ).Else(importance.source.connect(write, omit={"last"}), region_end.eq(importance.source.last)),
            write.last.eq(1),
            ended.eq(write.valid & write.ready & region_end),
        ]
