# SPDX-License-Identifier: BSD-2-Clause
"""Writes the header of a job's answer, the status last of all."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.answer import ANSWER_WORDS, COUNTERS, Status
from spatten_drivers.job import HEADER_WORDS

from .geometry import Geometry
from .port import address_bits, write_layout

WORD_BITS = 32
FIXED = ("magic", "version")  # words that say what an answer is
#: Words that are there whatever the status is.
IDENTITY = ("magic", "version", "job_id", "status", "config_digest_lo", "config_digest_hi")


def constants(geometry: Geometry) -> dict[str, Constant]:
    """Fields that are the same in every answer of a device."""
    digest = geometry.config.digest
    fixed = {f.name: C(f.reset, f.width) for word in ANSWER_WORDS for f in word.fields if word.name in FIXED}
    halves = {"config_digest_lo": digest % (1 << WORD_BITS), "config_digest_hi": digest >> WORD_BITS}
    return fixed | {name: C(half, WORD_BITS) for name, half in halves.items()}


def chosen(values: list, number):
    """The value of a number, through a tree of multiplexers: a ``Case`` takes twice the LUTs."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    return Mux(number[-1], chosen(values[half:], number[:-1]), chosen(values[:half], number[:-1]))


class AnswerWriter(LiteXModule):
    """Writes 64 words, all of them at each job; the beat that holds ``status`` comes last.

    Where a job failed, only the words that :data:`IDENTITY` names are not 0. The caller starts it when every
    other write of the job can be seen. A beat a cycle; the first comes 2 cycles after ``start``.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    start : Signal, in: a pulse. All other inputs stay from ``start`` to ``done``.
    done : Signal, out: the status was accepted at ``write``; 0 after reset and once ``start`` was seen.
    address : Signal, in: beat address of the answer.
    values : dict of Signal, in: fields and 64-bit counters by the names of ``spatten_drivers.answer``;
        constants of the device are not among them.
    write : Endpoint, out, ``write_layout``, one burst.

    Source: contract, section 10.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.start = Signal()
        self.done = Signal()
        self.address = Signal(address_bits(geometry), reset_less=True)
        self.values = values = {
            f.name: Signal(f.width, name=f.name)
            for word in ANSWER_WORDS
            for f in word.fields
            if f.name not in constants(geometry)
        } | {counter.name: Signal(2 * WORD_BITS, name=counter.name) for counter in COUNTERS}
        self.write = write = stream.Endpoint(write_layout(geometry))

        # # #

        # Words ------------------------------------------------------------------------------------
        given = values | constants(geometry)
        words = [C(0, WORD_BITS)] * HEADER_WORDS
        # Fields of a word lie side by side from bit 0 on.
        for word in ANSWER_WORDS:
            words[word.index] = Cat(given[f.name] for f in word.fields)
        for counter in COUNTERS:
            value = values[counter.name]
            words[counter.index : counter.index + 2] = value[:WORD_BITS], value[WORD_BITS:]

        # Beats, from the one after the status around to the status --------------------------------
        per_beat = geometry.beat_bits // WORD_BITS
        beats = [Cat(words[at : at + per_beat]) for at in range(0, HEADER_WORDS, per_beat)]
        status = next(word.index for word in ANSWER_WORDS if word.name == "status") // per_beat
        number = Signal(max=len(beats))
        busy, complete = Signal(), Signal(reset_less=True)
        identity = {word.index for word in ANSWER_WORDS if word.name in IDENTITY}
        self.sync += [
            complete.eq(values["status"] == Status.DONE),
            If(
                busy & (~write.valid | write.ready),
                write.data.eq(chosen(beats, number)),
                *(self.hide(lane, per_beat, number, complete, identity) for lane in range(per_beat)),
                write.address.eq(self.address + number),
                write.valid.eq(1),
                write.last.eq(number == status),
                number.eq(number + 1),
                If(number == status, busy.eq(0)),
            ).Elif(write.ready, write.valid.eq(0)),
            If(write.valid & write.ready & write.last, self.done.eq(1)),
            If(self.start, busy.eq(1), number.eq(status + 1), self.done.eq(0)),
        ]

    def hide(self, lane: int, per_beat: int, number: Signal, complete: Signal, identity: set[int]) -> If:
        """Zero a word of the beat unless it is shown: after the choice of the beat, where it costs least."""
        shown = Signal()
        own = {index // per_beat: shown.eq(1) for index in identity if index % per_beat == lane}
        self.comb += [shown.eq(complete), Case(number, own)]
        return If(~shown, self.write.data[lane * WORD_BITS : (lane + 1) * WORD_BITS].eq(0))
