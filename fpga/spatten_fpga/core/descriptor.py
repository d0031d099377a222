# SPDX-License-Identifier: BSD-2-Clause
"""Reads a job's descriptor, checks it and hands on its header and its lists."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.answer import Status
from spatten_drivers.job import HEADER_BYTES, HEADER_WORDS

from .checks import NAMED_WORDS, STATUS_BITS, HeaderChecks, JobHeader, ListChecks, RegionChecks
from .geometry import MULT_BITS, SHIFT_BITS, Geometry
from .port import ADDRESS_BITS, ReadPort, beat_shift

WORD_BITS = 32
HEAD_ID_BITS = 8
SLOT_BITS = 16  # an entry of the key or query list


def job_layout() -> list:
    """A job that was pushed: the byte address of its descriptor."""
    return [("address", ADDRESS_BITS)]


def head_layout() -> list:
    """An entry of the head table."""
    return [
        ("head_id", HEAD_ID_BITS),
        ("score_shift", SHIFT_BITS),
        ("score_mult", MULT_BITS),
        ("importance_mult", MULT_BITS),
        ("importance_shift", SHIFT_BITS),
    ]


def slot_layout() -> list:
    """An entry of the key list, with its protected bit 15, or of the query list."""
    return [("slot", SLOT_BITS)]


def pair_layout() -> list:
    """Two entries of the key list, the first in the low bits, or, without ``both``, the odd last one."""
    return [("slots", 2 * SLOT_BITS), ("both", 1)]


class Descriptor(LiteXModule):
    """Descriptor reader: header, checks 1 to 12, head table, key list, query list.

    A job is taken when the one before has its status. Header fields are right once checks 1 to 9 passed, that
    is with the first entry of the head table, and stay to the next job. The three lists come one after the
    other, each complete and closed by ``last``, or not at all: they are read once checks 1 to 9 passed, and a
    wrong entry only shows in ``status``. So whoever stores them begins to work at ``Status.DONE``.

    64 + 8 cycles for the header, 2 for each head, 1 for two keys or a query, twice the latency of memory, and
    about 20 of hand-over. Regions are checked (180 cycles at most) while the lists are read.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`job_layout`.
    port : ReadPort, out, of the memory.
    heads : Endpoint, out, of :func:`head_layout`, ascending.
    keys : Endpoint, out, of :func:`pair_layout`, ascending.
    queries : Endpoint, out, of :func:`slot_layout`, ascending.
    memory_bytes : Signal(32), in: size of device memory.
    fields : dict of Signal, out: header fields by the names of ``spatten_drivers.job.JOB_WORDS``.
    row_beats : dict of Signal(7), out: beats of a row of ``q``, ``k_msb``, ``k_lsb``, ``v_msb``, ``v_lsb``
        and ``output``.
    status : Signal(4), out: ``Status.PENDING`` after reset and while it works, then ``DONE`` (accepted)
        or what check failed.
    answer_writable : Signal, out, with ``status``: checks 1 to 3 passed, an answer header may be written.
    job_id : Signal(32), out: of the header, 0 until it was read, and if check 1 kept it from being read.

    Source: contract, section 9.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.sink = stream.Endpoint(job_layout())
        self.port = ReadPort(geometry)
        self.heads = stream.Endpoint(head_layout())
        self.keys = stream.Endpoint(pair_layout())
        self.queries = stream.Endpoint(slot_layout())
        self.memory_bytes = Signal(ADDRESS_BITS)
        self.header = header = JobHeader()
        self.fields = header.fields
        self.status = Signal(STATUS_BITS)
        self.answer_writable = Signal()
        self.job_id = Signal(32, reset_less=True)

        # # #

        self.header_checks = checks = HeaderChecks(geometry, header)
        self.list_checks = ListChecks(header)
        self.region_checks = regions = RegionChecks(geometry, header)
        self.row_beats = regions.row_beats
        self.comb += [
            *header.split(),
            checks.memory_bytes.eq(self.memory_bytes),
            regions.memory_beats.eq(checks.memory_beats),
        ]
        self.left = Signal(SLOT_BITS)  # entries, words or cycles to go
        self.upper = Signal()  # the second half of an entry, or of a word
        self.first = Signal(reset_less=True)  # before the first entry of a list
        self.closing = Signal()  # at its last
        self.fsm = FSM(reset_state="IDLE")
        self._commands()
        self._words(geometry)
        self._outlets()
        self._take(beat_shift(geometry))
        self._check_header()
        self._read_lists()
        self._judge()

    # Memory ---------------------------------------------------------------------------------------

    def _commands(self) -> None:
        """Beats one after the other."""
        port = self.port
        self.wanted = wanted = Signal(len(self.header_checks.table_beats))
        self.address = address = port.command.address
        self.comb += port.command.valid.eq(wanted != 0)
        self.sync += If(
            port.command.valid & port.command.ready, address.eq(address + 1), wanted.eq(wanted - 1)
        )

    def _words(self, geometry: Geometry) -> None:
        self.words = words = stream.Converter(geometry.beat_bits, WORD_BITS)
        self.buffer = buffer = stream.Buffer([("data", WORD_BITS)], pipe_ready=True)
        self.word = buffer.source
        self.comb += [
            self.port.data.connect(words.sink, omit={"last"}),
            words.sink.last.eq(1),  # marks the last word of each beat
            words.source.connect(buffer.sink, keep={"valid", "ready", "last", "data"}),
        ]

    def _outlets(self) -> None:
        """Registers between the lists and whoever stores them."""
        self.outlets = {
            name: stream.Buffer(endpoint.description, pipe_ready=True)
            for name, endpoint in (("heads", self.heads), ("keys", self.keys), ("queries", self.queries))
        }
        for name, outlet in self.outlets.items():
            self.add_module(f"{name}_outlet", outlet)
            self.comb += outlet.source.connect(getattr(self, name))

    # Steps ----------------------------------------------------------------------------------------

    def _take(self, shift: int) -> None:
        """A job: is its descriptor where it can be read?"""
        sink, checks, left, fsm = self.sink, self.header_checks, self.left, self.fsm
        fsm.act(
            "IDLE",
            sink.ready.eq(1),
            If(
                sink.valid,
                NextValue(checks.address, sink.address),
                NextValue(self.status, Status.PENDING),
                NextValue(self.answer_writable, 0),
                NextValue(left, 3),
                NextState("CHECK-ADDRESS"),
            ),
        )
        fsm.act(
            "CHECK-ADDRESS",
            NextValue(left, left - 1),
            NextValue(self.address, checks.address[shift:]),
            If(
                left == 0,
                NextValue(left, HEADER_WORDS),
                NextValue(checks.reserved, 0),
                If(checks.bad_address, NextValue(self.status, Status.BAD_ADDRESS), NextState("IDLE")).Else(
                    NextValue(self.wanted, HEADER_BYTES >> shift), NextState("READ-HEADER")
                ),
            ),
        )

    def _check_header(self) -> None:
        """The header: is it one, and where are the lists?"""
        checks, left, fsm = self.header_checks, self.left, self.fsm
        fsm.act("READ-HEADER", self._read_header())
        fsm.act(
            "CHECK-HEADER",
            NextValue(left, left - 1),
            If(
                left == 0,
                NextValue(self.answer_writable, checks.answer_writable),
                NextValue(self.status, checks.status),
                NextState("IDLE"),
                If(
                    checks.status == Status.DONE,
                    NextValue(self.status, Status.PENDING),
                    NextValue(self.wanted, checks.table_beats),
                    NextValue(left, self.header["n_heads"]),
                    NextValue(self.first, 1),
                    NextValue(self.upper, 0),
                    self.region_checks.start.eq(1),
                    self.list_checks.clear.eq(1),
                    NextState("READ-HEADS"),
                ),
            ),
        )

    def _judge(self) -> None:
        """The status, once all checks are through and all entries are stored."""
        lists, regions, left, fsm = self.list_checks, self.region_checks, self.left, self.fsm
        waiting = Signal()
        self.comb += waiting.eq(self.heads.valid | self.keys.valid | self.queries.valid)
        fsm.act(
            "CHECK-LISTS",
            NextValue(left, left - 1),
            If(left == 0, NextValue(left, 0), If(~regions.busy & ~waiting, NextState("JUDGE"))),
        )
        fsm.act(
            "JUDGE",
            NextValue(self.status, Status.DONE),
            If(lists.empty, NextValue(self.status, Status.EMPTY_ROW)),
            If(regions.bad, NextValue(self.status, Status.BAD_ADDRESS)),
            If(lists.bad, NextValue(self.status, Status.BAD_LIST)),
            NextState("IDLE"),
        )

    def _read_header(self) -> list:
        """Words with a name shift down to their place; the others must be 0."""
        checks, words, word = self.header_checks, self.header.words, self.word
        named = Signal()
        shift = Signal()
        self.comb += [
            named.eq(self.left > HEADER_WORDS - NAMED_WORDS),
            shift.eq(self.fsm.ongoing("READ-HEADER") & word.valid & named),
        ]
        self.sync += [
            If(shift, *(low.eq(high) for low, high in zip(words, [*words[1:], word.data], strict=True))),
            If(self.sink.valid & self.sink.ready, self.job_id.eq(0)),
            If(self.fsm.ongoing("CHECK-HEADER"), self.job_id.eq(self.header["job_id"])),
        ]
        return [
            word.ready.eq(1),
            If(
                word.valid,
                NextValue(self.left, self.left - 1),
                If(~named & (word.data != 0), NextValue(checks.reserved, 1)),
                If(self.left == 1, NextValue(self.left, checks.LATENCY + 1), NextState("CHECK-HEADER")),
            ),
        ]

    def _read_lists(self) -> None:
        """States that read the lists one after the other."""
        checks, word = self.list_checks, self.word
        heads, keys, queries = (self.outlets[name].sink for name in ("heads", "keys", "queries"))
        lower = Signal(WORD_BITS, reset_less=True)
        self.sync += If(word.valid & word.ready, lower.eq(word.data))
        entry = Cat(lower, word.data)
        head_id, score_shift, importance_shift, spare = (entry[at : at + 8] for at in (0, 8, 48, 56))
        pairs, slot = Signal(), Signal(SLOT_BITS)
        self.comb += [
            pairs.eq(self.fsm.ongoing("READ-KEYS")),
            self.closing.eq((self.left == 1) | (pairs & (self.left == 2))),
            slot.eq(Mux(self.upper, word.data[SLOT_BITS:], word.data[:SLOT_BITS])),
            heads.head_id.eq(head_id),
            heads.score_shift.eq(score_shift),
            heads.score_mult.eq(entry[16:32]),
            heads.importance_mult.eq(entry[32:48]),
            heads.importance_shift.eq(importance_shift),
            keys.slots.eq(word.data),
            keys.both.eq(self.left != 1),
            queries.slot.eq(slot),
            *(sink.last.eq(self.closing) for sink in (heads, keys, queries)),
            checks.first.eq(self.first),
            checks.value.eq(Mux(checks.head, head_id, slot)),
            checks.second.eq(word.data[SLOT_BITS:]),
            checks.both.eq(checks.key & keys.both),
            checks.illegal.eq(
                checks.head
                & ((score_shift == 0) | (score_shift > 48) | (importance_shift > 47) | (spare != 0))
            ),
        ]
        self.fsm.act(
            "READ-HEADS",
            heads.valid.eq(word.valid & self.upper),
            word.ready.eq(heads.ready | ~self.upper),
            checks.head.eq(heads.valid & heads.ready),
            If(word.valid & word.ready, NextValue(self.upper, ~self.upper)),
            If(checks.head, self._step("READ-KEYS", self.header["n_keys"])),
        )
        self.fsm.act(
            "READ-KEYS",
            keys.valid.eq(word.valid),
            checks.key.eq(keys.valid & keys.ready),
            word.ready.eq(keys.ready),
            If(checks.key, self._step("READ-QUERIES", self.header["n_queries"], entries=2)),
        )
        self.fsm.act(
            "READ-QUERIES",
            queries.valid.eq(word.valid),
            checks.query.eq(queries.valid & queries.ready),
            word.ready.eq(queries.ready & (self.upper | self.closing)),
            If(checks.query, NextValue(self.upper, ~self.upper), self._step("CHECK-LISTS", checks.LATENCY)),
        )

    def _step(self, following: str, count, entries: int = 1) -> list:
        """After so many entries: the next ones, or the next list."""
        word, rest = self.word, f"PASS-REST-BEFORE-{following}"
        self.fsm.act(rest, word.ready.eq(1), If(word.valid & word.last, NextState(following)))
        return [
            NextValue(self.left, self.left - entries),
            NextValue(self.first, 0),
            If(
                self.closing,
                NextValue(self.left, count),
                NextValue(self.first, 1),
                NextValue(self.upper, 0),
                NextState(rest),
                If(word.last, NextState(following)),
            ),
        ]
