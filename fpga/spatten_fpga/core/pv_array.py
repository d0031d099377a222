# SPDX-License-Identifier: BSD-2-Clause
"""Probability x value: a multiply-accumulate a lane, and a drain that empties it while the next row runs."""

from litex.gen import *
from litex.soc.interconnect.stream import Endpoint, EndpointDescription, SyncFIFO

from .geometry import WEIGHT_BITS, Geometry
from .pack import word_payload
from .weight import delayed

ROOM = 16  # sums behind the drain, and in it: a LUT RAM is that deep

# Layouts ------------------------------------------------------------------------------------------


def value_word_layout(geometry: Geometry) -> EndpointDescription:
    """A word of values and a weight for each key of it, unsigned, key ``i`` at bit ``i * WEIGHT_BITS``."""
    elements = word_payload(geometry)[0]
    weights = ("weights", geometry.keys_a_word * WEIGHT_BITS)
    return EndpointDescription([weights, elements], [("dim", 8)])


def accumulator_layout(geometry: Geometry) -> EndpointDescription:
    """``geometry.outputs`` sums, signed, element ``i`` at bit ``i * accumulator_bits``."""
    return EndpointDescription([("accumulators", geometry.outputs * geometry.accumulator_bits)])


# Accumulators -------------------------------------------------------------------------------------


class Accumulators(LiteXModule):
    """Sums of the row under way, a place for each word of a key, and those of the row that has ended.

    One word is a register: a row that has ended stands there for a cycle, until the next one starts over it.
    Several are LUT RAM, where rows take turns in two halves. Registers would cost a multiplexer before each
    adder, and all of them once more in the drain.

    Parameters
    ----------
    bits : width of the sums of a word, side by side.
    words : most words of a key.

    Attributes
    ----------
    add, place, sums : in, the sums of word ``place`` are ``sums`` from the next cycle on.
    own : out, those of word ``place`` as they are.
    last : in, with the last ``add`` of a row.
    ended_place, ended : in, out, a word of the row whose ``last`` was the latest.
    """

    def __init__(self, bits: int, words: int) -> None:
        self.add = Signal()
        self.place = Signal(max=max(2, words))
        self.sums = Signal(bits)
        self.own = Signal(bits, reset_less=True)
        self.last = Signal()
        self.ended_place = Signal(max=max(2, words))
        self.ended = Signal(bits)

        # # #

        if words == 1:
            self.sync += If(self.add, self.own.eq(self.sums))
            self.comb += self.ended.eq(self.own)
        else:
            self._in_turns(Memory(bits, 2 << len(self.place)))

    def _in_turns(self, memory: Memory) -> None:
        half = Signal()
        write = memory.get_port(write_capable=True, mode=READ_FIRST)
        own, ended = (memory.get_port(async_read=True) for _ in range(2))
        self.specials += memory, write, own, ended
        self.comb += [
            write.adr.eq(Cat(self.place, half)),
            write.we.eq(self.add),
            write.dat_w.eq(self.sums),
            own.adr.eq(Cat(self.place, half)),
            self.own.eq(own.dat_r),
            ended.adr.eq(Cat(self.ended_place, ~half)),
            self.ended.eq(ended.dat_r),
        ]
        self.sync += If(self.add & self.last, half.eq(~half))


# Drain --------------------------------------------------------------------------------------------


class Drain(LiteXModule):
    """Gives the sums of a row in order.

    A shift register of a word's accumulators moves ``outputs`` places a sum, and takes the next word when it
    is empty. Where several keys share a word, each has left a part of every sum: the register is tapped at
    the start of each, and the taps are added by a tree with a register after each adder. ``ROOM`` sums wait
    behind the tree; the register moves while there is a place for what it gives.

    Parameters
    ----------
    geometry : widths.
    words : most words of a key.

    Attributes
    ----------
    load : in, a row has ended, of head dimension ``dim``. Only while not ``busy``.
    dim : in, head dimension.
    place, accumulators : out, in, a word of the row, element ``i`` at bit ``i * accumulator_bits``; they stay
        until ``busy`` ends.
    busy : out, the row is not out yet.
    ends : out, ``busy`` is 0 now or will be for certain in ``NOTICE`` cycles.
    source : out, sums. ``dim / outputs`` tokens a row, d ascending, ``last`` on the last.
    latency : cycles from ``load`` to the first sum.
    """

    NOTICE = 4

    def __init__(self, geometry: Geometry, words: int) -> None:
        bits = geometry.accumulator_bits
        self.load = Signal()
        self.dim = Signal(8)
        self.place = Signal(max=max(2, words))
        self.accumulators = Signal(geometry.lanes * bits)
        self.busy = busy = Signal()
        self.ends = Signal()
        self.sums = sums = SyncFIFO(accumulator_layout(geometry), ROOM)
        self.source = sums.source

        # # #

        # Shift Register ---------------------------------------------------------------------------
        move, final = Signal(), Signal()
        row = Signal(geometry.lanes * bits, reset_less=True)
        dim, left = Signal(8, reset_less=True), Signal(8, reset_less=True)
        self.comb += final.eq(left == geometry.outputs)
        self.sync += If(
            self.load,
            row.eq(self.accumulators),
            dim.eq(self.dim),
            left.eq(self.dim),
            busy.eq(1),
        ).Elif(
            move,
            row.eq(row[geometry.outputs * bits :]),
            left.eq(left - geometry.outputs),
            busy.eq(~final),
        )
        if words > 1:
            self._next_words(geometry, move, final, row)

        # Room -------------------------------------------------------------------------------------
        room, free = Signal(max=ROOM + 1, reset=ROOM), Signal(reset=1)
        self.comb += [
            move.eq(busy & free),
            self.ends.eq(~busy | ((left <= self.NOTICE * geometry.outputs) & (room > self.NOTICE))),
        ]
        self.sync += [
            room.eq(room - move + (sums.source.valid & sums.source.ready)),
            free.eq(room > 1),  # one may have left meanwhile
        ]

        # Sum of the Taps --------------------------------------------------------------------------
        parts = self._taps(geometry, row, dim)
        valid, last, self.latency = move, final, 2
        while True:
            parts = [[self._sum(some[i : i + 2]) for i in range(0, len(some), 2)] for some in parts]
            valid, last = delayed(self, valid, 1, reset_less=False), delayed(self, last, 1)
            self.latency += 1
            if len(parts[0]) == 1:
                break
        self.comb += [
            sums.sink.valid.eq(valid),
            sums.sink.last.eq(last),
            sums.sink.accumulators.eq(Cat(*[some[0] for some in parts])),
        ]

    def _next_words(self, geometry: Geometry, move: Signal, final: Signal, row: Signal) -> None:
        """The register takes a word in place of the last move out of the one before."""
        moves = geometry.lanes // geometry.outputs  # a word
        moved, empty = Signal(max=max(2, moves)), Signal()
        self.comb += empty.eq(moved == moves - 1)
        self.sync += [
            If(move, moved.eq(Mux(empty | final, 0, moved + 1))),
            If(self.load | (move & empty), self.place.eq(self.place + 1)),
            If(move & empty, row.eq(self.accumulators)),
            If(move & final, self.place.eq(0)),
        ]

    def _taps(self, geometry: Geometry, row: Signal, dim: Signal) -> list[list[Signal]]:
        """For each output, the parts of its sum."""
        bits = geometry.accumulator_bits
        found: list[list[Signal]] = [[] for _ in range(geometry.outputs)]
        for place, dims in _taps(geometry).items():
            for i, parts in enumerate(found):
                at = (place + i) * bits
                tap = Signal((bits, True))
                pick = tap.eq(row[at : at + bits])
                used = Case(dim, dict.fromkeys(sorted(dims), pick))
                self.comb += used if dims < set(geometry.config.head_dims) else pick
                parts.append(tap)
        return found

    def _sum(self, parts: list[Signal]) -> Signal:
        register = Signal((len(parts[0]), True), reset_less=True)
        self.sync += register.eq(Reduce("ADD", parts))
        return register


def _taps(geometry: Geometry) -> dict[int, set[int]]:
    """Places in a word where sums start, each with the head dimensions that have one there."""
    taps: dict[int, set[int]] = {}
    for dim, padded in zip(geometry.config.head_dims, geometry.padded_dims, strict=True):
        for key in range(max(1, geometry.lanes // padded)):
            taps.setdefault(key * padded, set()).add(dim)
    return taps


# Probability x Value Array ------------------------------------------------------------------------


class PVArray(LiteXModule):
    """The probability x V array: ``acc_d = sum of e_j * v_jd`` over all words of a row.

    Each lane multiplies its element by the weight of its key and adds the product to its accumulator. Where a
    key takes several words, a lane has an accumulator a word and one adder all the same. Behind the last word
    of a row the drain has its accumulators, and the next row starts over them in the same cycle or, where
    they are several, beside them.

    Lanes without an element must be 0 in the word (as Pack makes them); weights of keys that are not there
    may be anything. Sums of any row of weights that the contract allows fit in ``accumulator_bits``.

    A word a cycle, also from row to row. Nothing stops what has entered: the last word of a row waits until
    the drain is certain to be empty when the row arrives there. That takes ``dim / outputs + 1`` cycles from
    row to row while sums are taken, so longer rows do not wait. ``latency`` cycles from the last word of a
    row to its first sums.

    Paper: section IV, the attention-probability x value module. docs/contract.md, section 5, step 2.

    Parameters
    ----------
    geometry : widths.

    Attributes
    ----------
    sink : in, words of values, as Pack makes them, with the weights of their keys. ``weights``
        (``keys_a_word``, unsigned), ``elements``, ``last`` (of the row, at the end of a key); ``dim``.
    source : out, sums. ``accumulators`` (``outputs`` of them, d ascending), ``last`` with element D - 1.
    latency : cycles from the acceptance of a row's last word to its first sums.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.sink = sink = Endpoint(value_word_layout(geometry))

        # # #

        self._geometry = geometry
        words = -(-max(geometry.config.head_dims) // geometry.lanes)

        # Accumulators and Drain -------------------------------------------------------------------
        self.accumulators = accumulators = Accumulators(geometry.lanes * geometry.accumulator_bits, words)
        self.drain = Drain(geometry, words)
        self.source = self.drain.source

        # The End of a Row -------------------------------------------------------------------------
        enter, certain, done = Signal(), Signal(), Signal()  # done: the accumulators hold a whole row
        done_dim = Signal(8, reset_less=True)
        self.comb += [
            sink.ready.eq(certain | ~sink.last),
            enter.eq(sink.valid & sink.ready),
            self.drain.load.eq(done),
            self.drain.dim.eq(done_dim),
            accumulators.ended_place.eq(self.drain.place),
            self.drain.accumulators.eq(accumulators.ended),
        ]

        # Words of a Row ---------------------------------------------------------------------------
        word, start = Signal(max=max(2, words)), Signal(reset=1)
        end = word == (sink.dim - 1) >> log2_int(geometry.lanes)
        self.sync += If(
            enter,
            word.eq(Mux(end, 0, word + 1)),
            If(end, start.eq(sink.last)),
        )

        # Products ---------------------------------------------------------------------------------
        entered = self._stage([enter, sink.last, start, sink.dim, word])
        valid, last, start, dim, word = self._stage(entered)
        products = self._multiply()

        # Sums -------------------------------------------------------------------------------------
        self.comb += [
            accumulators.add.eq(valid),
            accumulators.place.eq(word),
            accumulators.last.eq(last),
            accumulators.sums.eq(Cat(*self._sums(products, start))),
        ]
        coming = (enter & sink.last) | (entered[0] & entered[1]) | (valid & last) | done
        self.sync += [
            done.eq(valid & last),
            done_dim.eq(dim),
            certain.eq(self.drain.ends & ~coming),
        ]
        self.latency = 3 + self.drain.latency

    def _stage(self, flags: list[Signal]) -> list[Signal]:
        """What goes along with a word, the first of it whether there is one, a pipeline stage later."""
        later = [Signal(len(flag), reset_less=place > 0) for place, flag in enumerate(flags)]
        self.sync += [new.eq(old) for new, old in zip(later, flags, strict=True)]
        return later

    def _multiply(self) -> list[Signal]:
        """Registers, multipliers, registers."""
        geometry, products = self._geometry, []
        group = min(geometry.lanes, *geometry.padded_dims)  # lanes that share a weight at any head dimension
        weights = [self._weight(lane) for lane in range(0, geometry.lanes, group)]
        for lane in range(geometry.lanes):
            value = Signal((geometry.operand_bits, True), reset_less=True)
            product = Signal((WEIGHT_BITS + geometry.operand_bits, True), reset_less=True)
            at = lane * geometry.operand_bits
            self.sync += [
                value.eq(self.sink.elements[at : at + geometry.operand_bits]),
                product.eq(weights[lane // group] * value),
            ]
            products.append(product)
        return products

    def _weight(self, lane: int) -> Signal:
        """The weight of a lane's key, positive in a signed signal: the multipliers are signed."""
        geometry, weight = self._geometry, Signal((WEIGHT_BITS + 1, True), reset_less=True)
        cases = {}
        for dim, padded in zip(geometry.config.head_dims, geometry.padded_dims, strict=True):
            at = lane // padded * WEIGHT_BITS
            cases[dim] = weight.eq(self.sink.weights[at : at + WEIGHT_BITS])
        cases["default"] = cases.pop(max(cases))
        self.sync += Case(self.sink.dim, cases)
        return weight

    def _sums(self, products: list[Signal], start: Signal) -> list[Signal]:
        """The products of a word added to its accumulators, a lane each; at the start of a row, to 0."""
        bits, sums = self._geometry.accumulator_bits, []
        for lane, product in enumerate(products):
            own, total = Signal((bits, True)), Signal((bits, True))
            self.comb += [
                own.eq(self.accumulators.own[lane * bits : (lane + 1) * bits]),
                total.eq(Mux(start, 0, own) + product),
            ]
            sums.append(total)
        return sums
