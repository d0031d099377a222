# SPDX-License-Identifier: BSD-2-Clause
"""Streams of the link, and where the fields of its packets lie."""

from __future__ import annotations

from litex.soc.interconnect.stream import EndpointDescription
from migen import Signal
from migen.fhdl.structure import _Slice

from spatten_drivers.link.format import HEADER, MAX_WORDS, OVERHEAD_WORDS

PEER_BITS = 48  # IPv4 address and UDP port of who is at the other end
WORDS_BITS = (MAX_WORDS + OVERHEAD_WORDS + 1).bit_length()
COUNT_BITS = MAX_WORDS.bit_length()

#: The first word of every packet.
FIRST = HEADER[0].reset
#: Place of a header word behind the first one, which is not stored.
SESSION, SEQUENCE, OPERATION, ADDRESS = range(4)


def packet_layout() -> EndpointDescription:
    """Words of a packet as they come from a line; ``damaged``, with the last, says that it is none."""
    return EndpointDescription([("data", 32), ("damaged", 1)], [("peer", PEER_BITS)])


def draft_layout() -> EndpointDescription:
    """Words of a packet that may turn out to be none: ``drop``, with the last, takes all of it back."""
    return EndpointDescription([("data", 32), ("drop", 1)], [("peer", PEER_BITS)])


def whole_layout() -> EndpointDescription:
    """Words of a packet that is there as a whole; ``words`` is how many."""
    return EndpointDescription([("data", 32)], [("peer", PEER_BITS), ("words", WORDS_BITS)])


def word_layout() -> list:
    """A word of a payload."""
    return [("data", 32)]


def part(word: Signal, name: str) -> _Slice:
    """A field of the header word that says what to do."""
    found = next(f for f in HEADER[3].fields if f.name == name)
    return word[found.lsb : found.lsb + found.width]
