# SPDX-License-Identifier: BSD-2-Clause
"""What the device says of itself."""

from __future__ import annotations

from collections.abc import Mapping

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.fields import Word
from spatten_drivers.link.format import IDENTITY, IDENTITY_WORDS

from .layouts import word_layout


class IdentityWords(LiteXModule):
    """The table ``IDENTITY`` as a stream.

    Parameters
    ----------
    values : of its fields by name, signals or numbers.

    Attributes
    ----------
    start : Signal, in: begin with the first word; a pulse.
    source : Endpoint, out, of :func:`.word_layout`; ``last`` at the last. Always valid: it is read only when
        it is wanted.
    """

    def __init__(self, values: Mapping[str, Signal | int]) -> None:
        self.start = Signal()
        self.source = source = stream.Endpoint(word_layout())

        # # #

        place = Signal(max=IDENTITY_WORDS)
        words = {word.index: _joined(word, values) for word in IDENTITY}
        self.comb += [
            source.valid.eq(1),
            source.last.eq(place == IDENTITY_WORDS - 1),
            Case(place, {at: source.data.eq(value) for at, value in words.items()}),
        ]
        self.sync += If(self.start, place.eq(0)).Elif(source.ready, place.eq(place + 1))


def _joined(word: Word, values: Mapping[str, Signal | int]) -> Signal | int:
    """The value of a word. Numbers are added up here: without an input a process of Verilog never runs."""
    if all(isinstance(values[field.name], int) for field in word.fields):
        return sum(values[field.name] << field.lsb for field in word.fields)
    return Cat(*(values[field.name] for field in word.fields))
