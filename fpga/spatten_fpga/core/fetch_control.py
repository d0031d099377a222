# SPDX-License-Identifier: BSD-2-Clause
"""What is fetched when: heads ahead of their rows, queries, keys, kept values, and LSB planes on demand."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.job import KeyPolicy, ValuePolicy

from .checks import PLANES, field_signals
from .fetch import ALL, KEPT, PICKED, ROW, fetch_layout
from .passes import KEYS, QUERY, VALUES
from .port import address_bits
from .rows import keys_layout, values_layout


class PlaneBases(LiteXModule):
    """Where each plane of each live head begins.

    ``base + head_id * stride`` without a multiplier: ids ascend, so strides are added one after the other.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    start, busy : in, pulse; out, from the cycle after it on: a cycle for each head id passed and for each
        head.
    n_heads : in.
    head_index, head_id : out and in, in the same cycle: the head table.
    addresses, strides : in, of each plane, in beats.
    index, bases : in and out, in the same cycle.
    """

    def __init__(self, geometry):
        bits = address_bits(geometry)
        self.start = Signal()
        self.busy = busy = Signal()
        self.n_heads = Signal(8)
        self.head_index = Signal(4, reset_less=True)
        self.head_id = Signal(8)
        self.addresses = [Signal(bits) for _ in PLANES]
        self.strides = [Signal(bits) for _ in PLANES]
        self.index = Signal(4)
        self.bases = [Signal(bits) for _ in PLANES]

        # # #

        memory = Memory(bits * len(PLANES), geometry.config.max_heads)
        write, read = memory.get_port(write_capable=True), memory.get_port(async_read=True)
        self.specials += memory, write, read
        sums = [Signal(bits, reset_less=True) for _ in PLANES]
        identity = Signal(8, reset_less=True)
        self.comb += [
            read.adr.eq(self.index),
            Cat(*self.bases).eq(read.dat_r),
            write.adr.eq(self.head_index),
            write.dat_w.eq(Cat(*sums)),
            write.we.eq(busy & (identity == self.head_id)),
        ]
        self.sync += [
            If(
                busy,
                If(
                    identity == self.head_id,
                    self.head_index.eq(self.head_index + 1),
                    If(self.head_index + 1 == self.n_heads, busy.eq(0)),
                ).Else(
                    identity.eq(identity + 1),
                    *[total.eq(total + stride) for total, stride in zip(sums, self.strides, strict=True)],
                ),
            ),
            If(
                self.start,
                busy.eq(1),
                identity.eq(0),
                self.head_index.eq(0),
                *[total.eq(address) for total, address in zip(sums, self.addresses, strict=True)],
            ),
        ]


class FetchControl(LiteXModule):
    """Gives the fetcher one command after another.

    First come LSB planes that a row waits for, then kept values, whose weights are ready, then queries ahead
    of their rows, then keys. With ``reuse`` keys and values are whole heads, loaded while the ones before
    compute. By key, values come when there are no keys to come, so that some are left when the last row waits
    for its second pass.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    start : in, pulse: a job begins; everything here is idle then.
    running : in, rows may be fetched; between jobs nothing is.
    fields, row_beats : in, header fields, and beats of a row of each plane and of ``q``.
    reuse : in, mode.
    words : in, words of a head's keys, for ``reuse``.
    bases : the :class:`PlaneBases`.
    lsb_needed, lsb_head, wanted_keys, wanted_values : in, see :class:`.rows.RowControl`.
    row_near : in, see :class:`.rows.RowControl`.
    index_ready : in, the first place of the kept values that come next is there.
    query_used, row_read : in, pulses: a query row is free; a row's values were read from the buffer.
    k_stored, v_stored, k_lsb, v_lsb : in, pulse: a pass is in the operand buffer; which plane it was.
    k_heads, v_heads, k_lsb_there, v_lsb_there, odd_base : out, see :class:`.rows.RowControl`.
    source : out, :func:`.fetch.fetch_layout`.

    Source: paper, section IV; contract, section 8.
    """

    def __init__(self, geometry):
        config = geometry.config
        heads = config.max_heads + 1
        self.start = Signal()
        self.running = Signal()
        self.reuse = Signal()
        self.words = Signal(bits_for(geometry.buffer_words))
        self.lsb_needed = Signal()
        self.lsb_head = Signal(4)
        self.wanted_keys = stream.Endpoint(keys_layout(geometry))
        self.wanted_values = stream.Endpoint(values_layout(geometry))
        self.row_near = Signal()
        self.index_ready = Signal()
        self.query_used = Signal()
        self.row_read = Signal()
        self.k_stored, self.v_stored = Signal(), Signal()
        self.k_lsb, self.v_lsb = Signal(), Signal()
        self.k_heads, self.v_heads = Signal(max=heads), Signal(max=heads)
        self.k_lsb_there, self.v_lsb_there = Signal(2), Signal(2)
        self.odd_base = Signal(bits_for(geometry.buffer_words - 1))
        self.source = stream.Endpoint(fetch_layout(geometry))
        self.bases = PlaneBases(geometry)
        self.fields = field_signals(
            "head_dim",
            "n_heads",
            "n_queries",
            "n_keys",
            "q_bits",
            "k_msb_bits",
            "v_msb_bits",
            "k_lsb_bits",
            "v_lsb_bits",
            "k_policy",
            "v_policy",
        )
        self.row_beats = {name: Signal(7, name=f"row_beats_{name}") for name in ("q", *PLANES)}
        self.q_address = Signal(address_bits(geometry))

        # # #

        self.command = command = stream.Buffer(fetch_layout(geometry))
        self.comb += command.source.connect(self.source)
        self._queries(geometry)
        self._heads(geometry)
        self._choose()

    # Queries -----------------------------------------------------------------------------------------

    def _queries(self, geometry):
        """Query rows lie one after the other in the order of the job, so an address counts up."""
        rows = geometry.config.query_buffer_rows
        self.query_head, self.query_row = Signal(8), Signal(16)
        self.query_address = Signal(len(self.q_address), reset_less=True)
        self.query_place = Signal(bits_for(rows - 1))
        self.query_more, self.query_taken = Signal(), Signal()
        ahead = Signal(bits_for(rows))
        last = Signal()
        self.comb += [
            last.eq(self.query_row + 1 == self.fields["n_queries"]),
            self.query_more.eq(self.running & (self.query_head != self.fields["n_heads"]) & (ahead != rows)),
        ]
        self.sync += [
            ahead.eq(ahead + self.query_taken - self.query_used),
            If(
                self.query_taken,
                self.query_address.eq(self.query_address + self.row_beats["q"]),
                self.query_place.eq(Mux(self.query_place == rows - 1, 0, self.query_place + 1)),
                self.query_row.eq(Mux(last, 0, self.query_row + 1)),
                If(last, self.query_head.eq(self.query_head + 1)),
            ),
            If(
                self.start,
                self.query_head.eq(0),
                self.query_row.eq(0),
                self.query_address.eq(self.q_address),
            ),
        ]

    # Heads on chip -----------------------------------------------------------------------------------

    def _heads(self, geometry):
        """Which heads are loaded, and which may be: two at a time if the buffers hold two."""
        fields = self.fields
        double = Signal()
        done = Signal.like(self.k_heads)  # heads that all rows have read
        row = Signal(16)
        self.loading = Signal.like(self.k_heads)  # the next head to load
        self.load_more, self.load_taken = Signal(), Signal()
        self.asked = Signal(2)  # LSB planes of an odd, of an even head were asked for
        self.k_order = k_order = stream.SyncFIFO([("odd", 1)], 4)
        self.v_order = v_order = stream.SyncFIFO([("odd", 1)], 4)
        k_whole = self.k_lsb == (fields["k_policy"] == KeyPolicy.ALWAYS)
        v_whole = self.v_lsb == (fields["v_policy"] == ValuePolicy.ALWAYS)
        k_late = self.k_stored & self.k_lsb & ~k_whole
        v_late = self.v_stored & self.v_lsb & ~v_whole
        self.comb += [
            double.eq(self.words <= geometry.buffer_words // 2),
            self.odd_base.eq(Mux(double, self.words, 0)),
            self.load_more.eq(
                self.running
                & self.reuse
                & (self.loading != fields["n_heads"])
                & (self.loading - done < Mux(double, 2, 1))
            ),
            k_order.source.ready.eq(k_late),
            v_order.source.ready.eq(v_late),
        ]
        self.sync += [
            self.k_heads.eq(self.k_heads + (self.k_stored & k_whole)),
            self.v_heads.eq(self.v_heads + (self.v_stored & v_whole)),
            If(
                self.row_read,
                row.eq(row + 1),
                If(row + 1 == fields["n_queries"], row.eq(0), done.eq(done + 1)),
            ),
            If(self.load_taken, self.loading.eq(self.loading + 1)),
        ]
        for odd in range(2):
            self.sync += [
                If(k_late & (k_order.source.odd == odd), self.k_lsb_there[odd].eq(1)),
                If(v_late & (v_order.source.odd == odd), self.v_lsb_there[odd].eq(1)),
                If(
                    self.load_taken & (self.loading[0] == odd),
                    self.asked[odd].eq(0),
                    self.k_lsb_there[odd].eq(0),
                    self.v_lsb_there[odd].eq(0),
                ),
            ]
        self.sync += If(
            self.start,
            done.eq(0),
            row.eq(0),
            self.loading.eq(0),
            self.k_heads.eq(0),
            self.v_heads.eq(0),
        )

    # Choice ------------------------------------------------------------------------------------------

    def _choose(self):
        self.fsm = fsm = FSM(reset_state="CHOOSE")
        refetch, values = Signal(), Signal()
        later = (self.fields["k_policy"] == KeyPolicy.BY_KEY) & (self.row_near | self.wanted_keys.valid)
        self.comb += [
            values.eq(self.wanted_values.valid & self.index_ready & ~later),
            refetch.eq(self.lsb_needed & ~Mux(self.lsb_head[0], self.asked[1], self.asked[0])),
            self.command.sink.dim.eq(self.fields["head_dim"]),
        ]
        fsm.act(
            "CHOOSE",
            If(refetch, NextState("REFETCH-KEYS"))
            .Elif(values, NextState("VALUES"))
            .Elif(self.query_more, NextState("QUERY"))
            .Elif(self.wanted_keys.valid, NextState("KEYS"))
            .Elif(self.load_more, NextState("LOAD-KEYS")),
        )
        self._fetch_query()
        self._fetch_keys()
        self._fetch_values()
        self._load_heads()
        self._refetch()

    def _fetch_query(self):
        sink = self.command.sink
        self.fsm.act(
            "QUERY",
            sink.valid.eq(1),
            sink.target.eq(QUERY),
            sink.bits.eq(self.fields["q_bits"]),
            sink.rows.eq(1),
            sink.row_beats.eq(self.row_beats["q"]),
            sink.slot.eq(self.query_place),
            sink.address.eq(self.query_address),
            sink.list.eq(ROW),
            If(sink.ready, self.query_taken.eq(1), NextState("CHOOSE")),
        )

    def _fetch_keys(self):
        """Keys of one pass of one row."""
        keys = self.wanted_keys
        by_key = self.fields["k_policy"] == KeyPolicy.BY_KEY
        self.fsm.act(
            "KEYS",
            If(
                keys.lsb,
                *self.plane("k_lsb", keys.head, keys.rows, Mux(by_key, PICKED, ALL)),
                self.command.sink.midpoint.eq(by_key),
            ).Else(*self.plane("k_msb", keys.head, keys.rows, ALL)),
            If(self.command.sink.ready, keys.ready.eq(1), NextState("CHOOSE")),
        )

    def _fetch_values(self):
        """Kept values of one row."""
        fsm, sink, values = self.fsm, self.command.sink, self.wanted_values
        fsm.act(
            "VALUES",
            *self.plane("v_msb", values.head, values.rows, KEPT),
            sink.midpoint.eq((self.fields["v_lsb_bits"] != 0) & ~values.both),
            If(
                sink.ready,
                If(values.both, NextState("VALUES-LSB")).Else(values.ready.eq(1), NextState("CHOOSE")),
            ),
        )
        fsm.act(
            "VALUES-LSB",
            *self.plane("v_lsb", values.head, values.rows, KEPT),
            If(sink.ready, values.ready.eq(1), NextState("CHOOSE")),
        )

    def _load_heads(self):
        """Whole heads: keys, then values, of one plane or of both."""
        fields, sink = self.fields, self.command.sink
        base = sink.base.eq(Mux(self.loading[0], self.odd_base, 0))
        load = {
            "k_msb": ("LOAD-KEYS", fields["k_policy"] == KeyPolicy.ALWAYS, "LOAD-KEYS-LSB"),
            "k_lsb": ("LOAD-KEYS-LSB", 0, None),
            "v_msb": ("LOAD-VALUES", fields["v_policy"] == ValuePolicy.ALWAYS, "LOAD-VALUES-LSB"),
            "v_lsb": ("LOAD-VALUES-LSB", 0, None),
        }
        for name, (state, both, following) in load.items():
            if name.startswith("k"):
                after = [NextState("LOAD-VALUES")]
            else:
                after = [self.load_taken.eq(1), NextState("CHOOSE")]
            self.fsm.act(
                state,
                *self.plane(name, self.loading, fields["n_keys"], ALL),
                base,
                sink.midpoint.eq((name == "v_msb") & (fields["v_lsb_bits"] != 0)),
                If(sink.ready, If(both, NextState(following)).Else(*after) if following else after),
            )

    def _refetch(self):
        """LSB planes of a head of which a row is unsure."""
        fields, fsm, sink = self.fields, self.fsm, self.command.sink
        odd = self.lsb_head[0]
        base = sink.base.eq(Mux(odd, self.odd_base, 0))
        self.comb += [self.k_order.sink.odd.eq(odd), self.v_order.sink.odd.eq(odd)]
        fsm.act(
            "REFETCH-KEYS",
            *self.plane("k_lsb", self.lsb_head, fields["n_keys"], ALL),
            base,
            If(
                sink.ready,
                self.k_order.sink.valid.eq(1),
                NextValue(self.asked, self.asked | Mux(odd, 2, 1)),
                If(fields["v_policy"] == ValuePolicy.ON_REFETCH, NextState("REFETCH-VALUES")).Else(
                    NextState("CHOOSE")
                ),
            ),
        )
        fsm.act(
            "REFETCH-VALUES",
            *self.plane("v_lsb", self.lsb_head, fields["n_keys"], ALL),
            base,
            If(sink.ready, self.v_order.sink.valid.eq(1), NextState("CHOOSE")),
        )

    def plane(self, name, head, rows, chosen):
        """A command for rows of a plane of a head."""
        sink = self.command.sink
        lsb = name.endswith("lsb")
        kind = name[0]
        return [
            sink.valid.eq(1),
            sink.target.eq(KEYS if kind == "k" else VALUES),
            sink.lsb.eq(lsb),
            sink.bits.eq(self.fields[f"{name}_bits"]),
            sink.shift.eq(0 if lsb else self.fields[f"{kind}_lsb_bits"] != 0),
            sink.unsigned.eq(lsb),
            sink.rows.eq(rows),
            sink.row_beats.eq(self.row_beats[name]),
            sink.address.eq(self.bases.bases[PLANES.index(name)]),
            self.bases.index.eq(head),
            sink.list.eq(chosen),
        ]
