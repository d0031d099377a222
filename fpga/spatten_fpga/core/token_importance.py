# SPDX-License-Identifier: BSD-2-Clause
"""Importance of tokens: what each key gained in a job, and its running importance over jobs."""

from functools import reduce
from operator import or_

from litex.gen import *
from litex.soc.interconnect.stream import Endpoint, EndpointDescription, PipelinedActor
from migen import *

from .geometry import GAIN_BITS, IMPORTANCE_BITS, TOKEN_SUM_BITS, WEIGHT_BITS
from .reciprocal import FACTOR_BITS
from .weight import HALF_BITS, delayed, weights_layout

DECAY_BITS = 17  # decay, 65536 = 1.0
DECAY_SHIFT = 16
TOTAL_SHIFT = 24  # from units of t_j to units of the running importance
LOW_BITS = 26  # a sum is kept in two parts, so that no addition is wider

# Layouts ------------------------------------------------------------------------------------------


def gains_layout(lanes: int) -> EndpointDescription:
    """Weights of a row, and the factor that makes them probabilities."""
    return EndpointDescription(weights_layout(lanes).payload_layout, [("gain", FACTOR_BITS)])


def clear_layout(depth: int) -> EndpointDescription:
    """How many keys the next job has."""
    return EndpointDescription([("keys", bits_for(depth))])


def key_layout(depth: int) -> EndpointDescription:
    """A key by its place in the key list."""
    return EndpointDescription([("key", bits_for(depth - 1))])


def total_layout() -> EndpointDescription:
    """What a key gained."""
    return EndpointDescription([("total", TOKEN_SUM_BITS)])


def update_layout() -> EndpointDescription:
    """A slot's old word and what it gained, and the rules of the job."""
    return EndpointDescription(
        [("old", IMPORTANCE_BITS), ("total", TOKEN_SUM_BITS), ("live", 1)],
        [("add", 1), ("decay", DECAY_BITS)],
    )


def updated_layout() -> EndpointDescription:
    """A slot's new word."""
    return EndpointDescription([("new", IMPORTANCE_BITS)])


# Operations ---------------------------------------------------------------------------------------


class _Operation:
    """What enters the pipeline of the banks: a row's next keys, a word to clear, or a key to read.

    All three are ``total = (clear ? 0 : total) + weight * gain`` in the enabled lanes; clearing and reading
    add 0.

    Attributes
    ----------
    enable : lanes that do something.
    weights : per lane, 0 where nothing is added.
    gain : factor of the weights.
    word, following : word of the first lane's key, and the one after it.
    offset : bank of the first lane's key.
    clear, read : kind.
    """

    def __init__(self, lanes: int, words: int) -> None:
        self.enable = Signal(lanes)
        self.weights = [Signal(WEIGHT_BITS, reset_less=True) for _ in range(lanes)]
        self.gain = Signal(FACTOR_BITS, reset_less=True)
        self.word = Signal(max=max(2, words), reset_less=True)
        self.following = Signal(max=max(2, words), reset_less=True)
        self.offset = Signal(max=max(2, lanes), reset_less=True)
        self.clear = Signal()
        self.read = Signal()


class _Issue(LiteXModule):
    """Turns clears, rows and reads into operations, one a cycle, in this order of preference.

    Parameters
    ----------
    lanes : keys of a word, W, a power of two.
    words : words of a bank.
    clear, sink, read : in, what is asked for.
    advance : in, the pipeline moves.

    Attributes
    ----------
    operation : out, :class:`_Operation`, a cycle later.
    """

    def __init__(
        self, lanes: int, words: int, clear: Endpoint, sink: Endpoint, read: Endpoint, advance: Signal
    ) -> None:
        self.operation = operation = _Operation(lanes, words)

        # # #

        bank_bits = lanes.bit_length() - 1
        swept = Signal.like(operation.word, reset_less=False)  # words cleared so far
        place = Signal(bank_bits + len(swept))  # of the row's next key
        last_key = Signal.like(clear.keys)
        final = Signal()

        # Preference -------------------------------------------------------------------------------
        self.comb += [
            last_key.eq(clear.keys - 1),
            final.eq(swept == last_key[bank_bits:]),
            clear.ready.eq(advance & final),
            sink.ready.eq(advance & ~clear.valid),
            read.ready.eq(advance & ~clear.valid & ~sink.valid),
        ]

        # Places -----------------------------------------------------------------------------------
        self.sync += If(
            advance,
            If(clear.valid, swept.eq(Mux(final, 0, swept + 1))).Elif(
                sink.valid, place.eq(Mux(sink.last, 0, place + sink.count))
            ),
        )

        # Operation --------------------------------------------------------------------------------
        every = (1 << lanes) - 1
        valid = Cat(*[lane < sink.count for lane in range(lanes)])
        source = Signal(len(place))
        self.comb += source.eq(Mux(sink.valid, place, read.key))
        self.sync += If(
            advance,
            operation.clear.eq(clear.valid),
            operation.read.eq(~clear.valid & ~sink.valid & read.valid),
            operation.enable.eq(Mux(clear.valid, every, Mux(sink.valid, valid, read.valid))),
            operation.offset.eq(Mux(clear.valid, 0, source[:bank_bits] if bank_bits else 0)),
            operation.word.eq(Mux(clear.valid, swept, source[bank_bits:])),
            operation.following.eq(source[bank_bits:] + 1),
            operation.gain.eq(sink.gain),
            *[
                weight.eq(
                    Mux(clear.valid | ~sink.valid, 0, sink.weights[i * WEIGHT_BITS : (i + 1) * WEIGHT_BITS])
                )
                for i, weight in enumerate(operation.weights)
            ],
        )


class _Rotate(LiteXModule):
    """Brings each lane of an operation to its key's bank: lane ``i`` to bank ``(i + offset) % W``.

    Latency is a cycle for each factor of up to 4 of the lanes. The caller delays the rest of the operation.

    Attributes
    ----------
    enable, weights : out, per bank.
    following : out, per bank: its key is in the word after the first lane's.
    latency : cycles.
    """

    def __init__(self, operation: _Operation) -> None:
        lanes = len(operation.weights)
        bank_bits = lanes.bit_length() - 1
        self.latency = -(-bank_bits // 2)

        # # #

        enable = list(operation.enable)
        weights = operation.weights
        for level in range(self.latency):
            bits = min(2, bank_bits - 2 * level)
            offset = delayed(self, operation.offset, level)[2 * level : 2 * level + bits]
            enable = self._level(enable, offset, 1 << 2 * level, reset_less=False)
            weights = self._level(weights, offset, 1 << 2 * level, reset_less=True)
        offset = delayed(self, operation.offset, self.latency)
        self.enable, self.weights = enable, weights
        self.following = [bank < offset for bank in range(lanes)]

    def _level(self, lanes: list[Signal], offset: Signal, step: int, reset_less: bool) -> list[Signal]:
        """Rotation by ``step * offset``, a cycle later."""
        moved = [Signal.like(lane, reset_less=reset_less) for lane in lanes]
        for bank, register in enumerate(moved):
            choices = {i: register.eq(lanes[(bank - i * step) % len(lanes)]) for i in range(1 << len(offset))}
            self.sync += Case(offset, choices)
        return moved


# Sums ---------------------------------------------------------------------------------------------


class _Accumulator(LiteXModule):
    """Adds to the words of a memory, an addition a cycle, also to the same word again and again.

    A word is read, kept in a register, added to, and written: four cycles from address to memory. An addition
    that follows within this time takes the number from the pipeline, not from the memory.

    Parameters
    ----------
    width, words : shape of the memory.
    enable, clear, address : in, add to this word; forget first what it held.
    gain : in, two cycles after the address; ``carry`` with it is one more.
    advance : in, the pipeline moves.

    Attributes
    ----------
    total : out, the new word, three cycles after the address; one bit wider than the memory, for the carry.
    """

    LATENCY = 3

    def __init__(
        self,
        width: int,
        words: int,
        enable: Signal,
        clear: Signal,
        address: Signal,
        gain,
        carry,
        advance: Signal,
    ) -> None:
        self.total = total = Signal(width + 1, reset_less=True)
        self.memory = Memory(width, words)
        fetch = self.memory.get_port(has_re=True, mode=READ_FIRST)
        store = self.memory.get_port(write_capable=True, mode=READ_FIRST)
        self.specials += self.memory, fetch, store

        # # #

        # Stages -----------------------------------------------------------------------------------
        enables, addresses = [enable], [address]
        for _ in range(3):  # read, kept, added to
            enables.append(delayed(self, enables[-1], 1, reset_less=False))
            addresses.append(delayed(self, addresses[-1], 1))

        # Additions Ahead --------------------------------------------------------------------------
        ahead = [Signal(reset_less=True) for _ in range(3)]  # to the same word, 1, 2, 3 cycles before
        for i, same in enumerate(ahead):
            self.sync += same.eq(enables[i + 1] & (addresses[i + 1] == address) & ~clear)
        forget = delayed(self, clear, 1)

        # Read, Add, Write -------------------------------------------------------------------------
        written = delayed(self, total, 1)
        kept = Signal(width, reset_less=True)
        just_added = delayed(self, ahead[0], 1)
        added = Signal(width + 2)
        self.comb += [
            # The bit below the units makes the carry part of the one addition.
            added.eq(Cat(C(1, 1), Mux(just_added, total[:width], kept)) + Cat(carry, gain)),
            fetch.adr.eq(address),
            fetch.re.eq(advance),
            store.adr.eq(addresses[3]),
            store.dat_w.eq(total),
            store.we.eq(enables[3] & advance),
        ]
        self.sync += [
            If(forget, kept.eq(0))
            .Elif(ahead[1], kept.eq(total))
            .Elif(ahead[2], kept.eq(written))
            .Else(kept.eq(fetch.dat_r)),
            total.eq(added[1:]),
        ]


class _Bank(LiteXModule):
    """The sums of every W-th key. ``total`` comes 5 cycles after the weight.

    Parameters
    ----------
    words : keys of the bank.
    enable, clear, address, weight : in, add to this key's sum.
    gain : in, factor of the weight.
    advance : in, the pipeline moves.
    """

    LATENCY = 5

    def __init__(
        self,
        words: int,
        enable: Signal,
        clear: Signal,
        address: Signal,
        weight: Signal,
        gain: Signal,
        advance: Signal,
    ) -> None:
        self.total = Signal(TOKEN_SUM_BITS)

        # # #

        gained = self._product(weight, gain)
        enable, clear = delayed(self, enable, 1, reset_less=False), delayed(self, clear, 1)
        address = delayed(self, address, 1)
        self.low = low = _Accumulator(
            LOW_BITS, words, enable, clear, address, gained[:LOW_BITS], C(0, 1), advance
        )
        self.high = high = _Accumulator(
            TOKEN_SUM_BITS - LOW_BITS,
            words,
            delayed(self, enable, 1, reset_less=False),
            delayed(self, clear, 1),
            delayed(self, address, 1),
            delayed(self, gained[LOW_BITS:], 1),
            low.total[-1],
            advance,
        )
        self.comb += self.total.eq(Cat(delayed(self, low.total[:LOW_BITS], 1), high.total[:-1]))

    def _product(self, weight: Signal, gain: Signal) -> Signal:
        """``weight * gain`` in one DSP block and, for the factor's upper bits, additions; 3 cycles later."""
        low = Signal(WEIGHT_BITS + HALF_BITS, reset_less=True)
        two_bits = Signal(WEIGHT_BITS + 2, reset_less=True)
        three_bits = Signal(WEIGHT_BITS + 3, reset_less=True)
        product = Signal(GAIN_BITS, reset_less=True)
        low_delayed = delayed(self, low, 1)
        top = delayed(self, Mux(gain[HALF_BITS + 2], weight, 0), 1)
        self.sync += [
            low.eq(weight * gain[:HALF_BITS]),
            two_bits.eq(Mux(gain[HALF_BITS], weight, 0) + Mux(gain[HALF_BITS + 1], Cat(C(0, 1), weight), 0)),
            three_bits.eq(two_bits + Cat(C(0, 2), top)),
            product[:HALF_BITS].eq(low_delayed[:HALF_BITS]),
            product[HALF_BITS:].eq(low_delayed[HALF_BITS:] + three_bits),
        ]
        return product


class _Banks(LiteXModule):
    """The pipeline of all banks, from an operation to the total of a key that is read."""

    def __init__(self, words: int, operation: _Operation, source: Endpoint, advance: Signal) -> None:
        lanes = len(operation.weights)
        self.rotate = rotate = _Rotate(operation)

        # # #

        # Sums -------------------------------------------------------------------------------------
        clear, word, following, gain = (
            delayed(self, signal, rotate.latency)
            for signal in (operation.clear, operation.word, operation.following, operation.gain)
        )
        read = delayed(self, operation.read, rotate.latency + _Bank.LATENCY, reset_less=False)
        shares = []
        for i in range(lanes):
            address = Mux(rotate.following[i], following, word)
            bank = _Bank(words, rotate.enable[i], clear, address, rotate.weights[i], gain, advance)
            self.submodules += bank
            chosen = delayed(self, rotate.enable[i], _Bank.LATENCY)
            shares.append(delayed(self, Mux(chosen, bank.total, 0), 1))

        # Total of the Key that is Read ------------------------------------------------------------
        total = Signal(TOKEN_SUM_BITS, reset_less=True)
        self.sync += total.eq(reduce(or_, shares))
        self.comb += [
            source.valid.eq(delayed(self, read, 2, reset_less=False)),
            source.total.eq(total),
        ]


class TokenSums(LiteXModule):
    """Sums up what each key of a job gains: ``t_j = sum of e_j * w`` over all rows, exact.

    Key ``j`` is kept in bank ``j % W`` at word ``j // W``. The words of a row bring its keys in order, each
    as many as it counts, so a head dimension with fewer keys a word needs no other packing. Each row starts
    with key 0 and may be longer or shorter than the one before.

    Before a job ``clear`` takes the number of its keys and zeroes their sums: it is ready in the cycle in
    which the last word is zeroed, and must not come within a row. Rows see a growing prefix of the keys, so
    the first row could not do it. What a key gained is read through ``read``, in any order. Everything
    takes effect in the order in which it is accepted; while several wait, a clear goes first, then the row,
    then the read.

    A word of a row, a clear of W keys, or a read a cycle. A total comes ``8 + ceil(log2(W) / 2)`` cycles
    after its read. While it is not taken everything waits.

    Parameters
    ----------
    lanes : keys of a word, W, a power of two.
    depth : most keys of a job.

    Attributes
    ----------
    clear : in, :func:`clear_layout`. ``keys``, 1 to ``depth``.
    done : out, high in the cycle in which a clear ends.
    sink : in, :func:`gains_layout`. ``weights``, lane ``i`` from bit ``16 * i``; ``count`` valid lanes, the
        others may hold anything; ``gain``, the row's factor w; ``last`` on the last word of a row.
    read : in, :func:`key_layout`; ``last`` is passed on.
    source : out, :func:`total_layout`. ``total``, 51 bits, in the order of the reads.
    latency : cycles from a read to its total.

    Source: contract section 6, step 1; paper section III-A, Fig. 8 (importance score accumulator).
    """

    def __init__(self, lanes: int, depth: int) -> None:
        self.clear = clear = Endpoint(clear_layout(depth))
        self.sink = sink = Endpoint(gains_layout(lanes))
        self.read = read = Endpoint(key_layout(depth))
        self.source = source = Endpoint(total_layout())
        self.done = Signal()

        # # #

        words = -(-depth // lanes)
        advance = Signal()
        self.issue = issue = _Issue(lanes, words, clear, sink, read, advance)
        self.banks = CEInserter()(_Banks(words, issue.operation, source, advance))
        self.latency = 1 + self.banks.rotate.latency + _Bank.LATENCY + 2
        self.comb += [
            advance.eq(source.ready | ~source.valid),
            self.banks.ce.eq(advance),
            self.done.eq(clear.valid & clear.ready),
        ]

        # First and Last ---------------------------------------------------------------------------
        ends = Cat(read.first, read.last)
        for _ in range(self.latency):
            register = Signal(2, reset_less=True)
            self.sync += If(advance, register.eq(ends))
            ends = register
        self.comb += Cat(source.first, source.last).eq(ends)


# Update -------------------------------------------------------------------------------------------


class _Update(LiteXModule):
    """The pipeline of :class:`TokenUpdate`, without back-pressure."""

    LATENCY = 5

    def __init__(self, sink: Endpoint, source: Endpoint) -> None:
        # Operands ---------------------------------------------------------------------------------
        old = Signal(IMPORTANCE_BITS, reset_less=True)
        decay = Signal(DECAY_BITS, reset_less=True)
        total = Signal(TOKEN_SUM_BITS, reset_less=True)
        self.sync += [
            old.eq(Mux(sink.add, sink.old, 0)),
            decay.eq(sink.decay),
            total.eq(sink.total),
        ]

        # Old Importance times Decay, and Gain -----------------------------------------------------
        low = Signal(HALF_BITS + DECAY_BITS, reset_less=True)
        high = Signal(IMPORTANCE_BITS - HALF_BITS + DECAY_BITS, reset_less=True)
        decayed = Signal(IMPORTANCE_BITS, reset_less=True)
        gained = Signal(TOKEN_SUM_BITS - TOTAL_SHIFT + 1, reset_less=True)
        gained_delayed = delayed(self, gained, 1)
        self.sync += [
            low.eq(old[:HALF_BITS] * decay),
            high.eq(old[HALF_BITS:] * decay),
            decayed.eq(low[DECAY_SHIFT:] + Cat(C(0, HALF_BITS - DECAY_SHIFT), high)),
            gained.eq(total[TOTAL_SHIFT:] + total[TOTAL_SHIFT - 1]),
        ]

        # Sum --------------------------------------------------------------------------------------
        added = Signal(IMPORTANCE_BITS + 1, reset_less=True)
        unchanged = delayed(self, old, 3)
        live = delayed(self, sink.live, 4)
        self.sync += [
            added.eq(decayed + gained_delayed),
            If(~live, source.new.eq(unchanged))
            .Elif(added[-1], source.new.eq((1 << IMPORTANCE_BITS) - 1))
            .Else(source.new.eq(added)),
        ]


class TokenUpdate(PipelinedActor):
    """A slot's running importance after a job: the old one decays, what the job's rows gave is added.

    A live slot becomes ``min(2^32 - 1, ((old * decay) >> 16) + round_shift(total, 24))``, any other slot
    stays as it is. Without ``add`` the old word counts as 0 for both.

    Latency is 5 cycles. A word a cycle; all registers wait while one is not taken.

    Attributes
    ----------
    sink : in, :func:`update_layout`. ``old``, 32 bits, units of 2^-12; ``total`` t_j, 51 bits, units of
        2^-36; ``live``, else ``total`` may be anything; ``add``; ``decay``, 0 to 65536; ``last`` is passed
        on.
    source : out, :func:`updated_layout`. ``new``, 32 bits; ``last`` as it came.

    Source: contract section 6, step 2.
    """

    LATENCY = _Update.LATENCY

    def __init__(self) -> None:
        self.sink = sink = Endpoint(update_layout())
        self.source = source = Endpoint(updated_layout())

        # # #

        PipelinedActor.__init__(self, self.LATENCY)
        self.update = CEInserter()(_Update(sink, source))
        self.comb += self.update.ce.eq(self.pipe_ce)
