# SPDX-License-Identifier: BSD-2-Clause
"""The request side of the memory: fetch commands become passes and beat addresses."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .descriptor import SLOT_BITS, slot_layout
from .gather import Gather
from .geometry import Geometry
from .passes import pass_layout
from .port import address_bits, command_layout
from .skid import Skid

#: Which rows a command fetches: the first of the key list, the one at the address, or some of the key list:
#: those whose values are kept, those that refetch by key.
ALL, KEPT, ROW, PICKED = range(4)

# Layouts ------------------------------------------------------------------------------------------


def fetch_layout(geometry: Geometry) -> list:
    """A pass, the beat address of slot 0 of its plane (or of the row itself), and which rows it has."""
    return [*pass_layout(geometry), ("address", address_bits(geometry)), ("list", 2)]


def index_layout(geometry: Geometry) -> list:
    """A place in the key list."""
    return [("index", geometry.index_bits)]


# Key List -----------------------------------------------------------------------------------------


class KeyLookup(LiteXModule):
    """Reads entries of the key list, which is in block RAM outside.

    An entry a cycle, 2 cycles after its index. While entries wait the index stays. The ready of the source
    ends in a register, far from the address of the block RAM.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`index_layout`.
    source : Endpoint, out, of :func:`slot_layout`, ``last`` as it was with the index.
    list_index : Signal, out: place in the key list.
    list_word : Signal(16), in: the entry, one cycle after ``list_index``.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.sink = sink = stream.Endpoint(index_layout(geometry))
        self.source = stream.Endpoint(slot_layout())
        self.list_index = Signal(geometry.index_bits)
        self.list_word = Signal(SLOT_BITS)

        # # #

        self.spare = spare = Skid(slot_layout())
        entry = stream.Endpoint(slot_layout())
        index = Signal(geometry.index_bits, reset_less=True)
        valid, last = Signal(), Signal(reset_less=True)
        self.comb += [
            sink.ready.eq(~entry.valid | entry.ready),
            self.list_index.eq(Mux(sink.ready, sink.index, index)),
            entry.connect(spare.sink),
            spare.source.connect(self.source),
        ]
        self.sync += If(
            sink.ready,
            index.eq(sink.index),
            valid.eq(sink.valid),
            last.eq(sink.last),
            entry.valid.eq(valid),
            entry.last.eq(last),
            entry.slot.eq(self.list_word),
        )


# Fetch --------------------------------------------------------------------------------------------


class Fetch(LiteXModule):
    """Request side of the memory.

    A command is announced as a pass; after that come the addresses of its beats, row by row in the order of
    the list. Row addresses come from the survivor gather.

    One address a cycle, without a gap between rows. The first comes 7 cycles after its command is accepted.
    Between two commands there are 3 cycles without an address if rows have one beat; the gather holds rows
    enough to hide them if they have more and are several. Commands of a single row take 4 cycles.
    Back-pressure from ``command`` ends in a register before the key list.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`fetch_layout`. ``list`` ALL: the first ``rows`` entries of the key list.
        KEPT, PICKED: the entries at the next ``rows`` places from ``index``, from ``picks``. ROW: the row at
        ``address``; ``rows`` is 1.
    index, picks : Endpoint, in, of :func:`index_layout`: places in the key list, as many as the KEPT
        commands, as the PICKED commands say; ``last`` is not looked at.
    passes : Endpoint, out, of :func:`pass_layout`, towards ``PlaneReader``.
    command : Endpoint, out, of :func:`command_layout`; ``last`` of a command's beats.
    list_index : Signal, out: place in the key list.
    list_word : Signal(16), in: the entry, slot in the low bits, one cycle after ``list_index``.
    issued : Signal, out, pulse: a command was accepted in the cycle before; its fields are in ``current``.
    current : Record, out, of :func:`fetch_layout`: stays for the duration of a command.
    ending : Signal, out: only a few rows of the command are left, or none.

    Source: paper section IV (data fetcher, cascade token and local value pruning); contract, sections 3, 8.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.sink = stream.Endpoint(fetch_layout(geometry))
        self.index = stream.Endpoint(index_layout(geometry))
        self.picks = stream.Endpoint(index_layout(geometry))
        self.passes = stream.Endpoint(pass_layout(geometry))
        self.command_skid = Skid(command_layout(geometry))
        self.command = self.command_skid.source
        self.issued = Signal()
        self.ending = Signal()
        self.current = Record(fetch_layout(geometry), reset_less=True)

        # # #

        self.lookup = lookup = KeyLookup(geometry)
        self.gather = Gather(geometry, tag_bits=1)
        self.list_index, self.list_word = lookup.list_index, lookup.list_word
        busy, announced = Signal(), Signal()  # there is a command; its pass was announced
        self._position = Signal(geometry.index_bits, reset_less=True)
        self._left = Signal(len(self.current.rows))  # rows to look up
        self._take(geometry, busy, announced)
        self._announce(geometry, busy, announced)
        self._look_up()
        self._address(announced)

    def _take(self, geometry: Geometry, busy: Signal, announced: Signal) -> None:
        """A command is kept until the gather has all of its rows."""
        sink, current, gather, left = self.sink, self.current, self.gather, self._left
        accept = Signal()
        self.comb += [
            sink.ready.eq(~busy),
            accept.eq(sink.valid & sink.ready),
            self.ending.eq(left < 8),  # as many as the next command takes to come, with rows of a beat
        ]
        self.sync += [
            self.issued.eq(accept),
            If(
                accept,
                busy.eq(1),
                announced.eq(0),
                self._position.eq(0),
                left.eq(sink.rows),
                *(getattr(current, name).eq(getattr(sink, name)) for name, _ in fetch_layout(geometry)),
            ),
            If(gather.sink.valid & gather.sink.ready & gather.sink.last, busy.eq(0)),
        ]

    def _announce(self, geometry: Geometry, busy: Signal, announced: Signal) -> None:
        """The command's pass, once."""
        passes = self.passes
        self.comb += [
            passes.valid.eq(busy & ~announced),
            *(getattr(passes, name).eq(getattr(self.current, name)) for name, _ in pass_layout(geometry)),
        ]
        self.sync += If(passes.valid & passes.ready, announced.eq(1))

    def _look_up(self) -> None:
        """Places in the key list; a row at the address itself takes the way of the others."""
        lookup, position, left = self.lookup, self._position, self._left
        more = Signal()
        self.comb += [
            more.eq(left != 0),
            lookup.sink.last.eq(left == 1),
            lookup.sink.valid.eq(more),
            lookup.sink.index.eq(position),
        ]
        for which, places in ((KEPT, self.index), (PICKED, self.picks)):
            chosen = Signal()
            self.comb += [
                chosen.eq(self.current.list == which),
                If(chosen, lookup.sink.valid.eq(more & places.valid), lookup.sink.index.eq(places.index)),
                places.ready.eq(more & chosen & lookup.sink.ready),
            ]
        self.sync += If(lookup.sink.valid & lookup.sink.ready, position.eq(position + 1), left.eq(left - 1))

    def _address(self, announced: Signal) -> None:
        """Addresses of rows by their slots: none before its pass is announced."""
        lookup, gather, current = self.lookup, self.gather, self.current
        self.comb += [
            gather.sink.valid.eq(lookup.source.valid & announced),
            gather.sink.last.eq(lookup.source.last),
            gather.sink.base.eq(current.address),
            gather.sink.row_beats.eq(current.row_beats),
            If(current.list != ROW, gather.sink.slot.eq(lookup.source.slot)),
            lookup.source.ready.eq(gather.sink.ready & announced),
            gather.source.connect(self.command_skid.sink, keep={"valid", "ready", "last", "address"}),
        ]
