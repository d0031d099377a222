# SPDX-License-Identifier: BSD-2-Clause
"""What computes a job: a descriptor's address in, an answer in memory out."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.answer import Status
from spatten_drivers.job import HEADER_BYTES, KeyPolicy

from .answer import AnswerWriter
from .checks import PLANES, STATUS_BITS, beats
from .counters import Counters
from .descriptor import SLOT_BITS, Descriptor, head_layout, job_layout
from .fetch import Fetch
from .fetch_control import FetchControl
from .finish_heads import HeadFinish
from .finish_tokens import TokenFinish
from .geometry import HEAD_SUM_BITS, Geometry
from .passes import QUERY, VALUES
from .plane_reader import PlaneReader
from .port import MemoryPort, ReadArbiter, WriteArbiter, beat_shift, write_layout
from .ram import SharedMemory
from .rows import SLOTS, RowControl
from .score_path import ScorePath
from .skid import Skid
from .softmax_path import SoftmaxPath
from .value_path import ValuePath
from .visible import VisibleKeys
from .writeback import WriteBack


class Engine(LiteXModule):
    """SpAtten's attention core without what can stop it: see :class:`.core.Core`.

    Parameters
    ----------
    config : what it is built for.

    Attributes
    ----------
    jobs : in, :func:`.descriptor.job_layout`: taken one at a time.
    memory : the :class:`.port.MemoryPort`.
    memory_bytes : in, size of device memory.
    ends : out, ``job_id`` and ``status`` of each job that ended.

    Source: paper, Fig. 8; docs/contract.md.
    """

    def __init__(self, config):
        self.geometry = geometry = Geometry(config)
        self.jobs = stream.Endpoint(job_layout())
        self.memory = MemoryPort(geometry)
        self.memory_bytes = Signal(32)
        self.ends = stream.Endpoint([("job_id", 32), ("status", STATUS_BITS)])

        # # #

        self.descriptor = Descriptor(geometry)
        self.visible = VisibleKeys(geometry)
        self.fetch = Fetch(geometry)
        self.reader = PlaneReader(geometry)
        self.scores = ScorePath(geometry, SLOTS)
        self.softmax = SoftmaxPath(geometry, SLOTS)
        self.values = ValuePath(geometry)
        self.rows = RowControl(geometry)
        self.control = FetchControl(geometry)
        self.outputs = WriteBack(geometry, elements=geometry.outputs)
        self.tokens = TokenFinish(geometry)
        self.heads = HeadFinish(geometry)
        self.answer = AnswerWriter(geometry)
        self.fields = self.descriptor.fields
        self.running = Signal()
        self._memory(geometry)
        self._settings(geometry)
        self._tables(geometry)
        self._rows(geometry)
        self._outputs(geometry)
        self._sequence(geometry)

    # Memory ------------------------------------------------------------------------------------------

    def _memory(self, geometry):
        self.reads = reads = ReadArbiter(geometry, 4)
        self.writes = writes = WriteArbiter(geometry, 4)
        clients = reads.clients
        for client, port in zip(
            clients, (self.descriptor.port, self.tokens.port, self.heads.port), strict=False
        ):
            self.comb += [port.command.connect(client.command), client.data.connect(port.data)]
        # Skid registers: units that finish a job decide much by what is written, the arbiter's turn does too.
        self.tokens_skid, self.heads_skid = (Skid(write_layout(geometry)) for _ in range(2))
        self.comb += [
            self.tokens.write.connect(self.tokens_skid.sink),
            self.heads.write.connect(self.heads_skid.sink),
        ]
        late = [self.tokens_skid.source, self.heads_skid.source]
        sources = (self.outputs.source, *late, self.answer.write)
        for sink, write in zip(writes.sinks, sources, strict=True):
            self.comb += write.connect(sink)
        self.comb += [
            self.fetch.command.connect(clients[3].command),
            clients[3].data.connect(self.reader.data),
            reads.port.command.connect(self.memory.command),
            self.memory.data.connect(reads.port.data),
            writes.source.connect(self.memory.write),
            writes.port_pending.eq(self.memory.writes_pending | late[0].valid | late[1].valid),
            self.descriptor.memory_bytes.eq(self.memory_bytes),
        ]

    # Settings of the job -----------------------------------------------------------------------------

    def _setting(self, value, *sinks):
        """A setting to several units, a register each: wires to all of the engine from one are its slowest.

        Each takes it from the one before, as equal registers would become one again; it stands long before
        rows start.
        """
        for sink in sinks:
            sink.reset_less = True
            self.sync += sink.eq(value)
            value = sink

    def _settings(self, geometry):
        """Header fields to where they are used; all of them stay during a job."""
        fields, shift = self.fields, beat_shift(geometry)
        rows, control, scores, values = self.rows, self.control, self.scores, self.values
        for name in {**rows.fields, **control.fields}:
            self._setting(
                fields[name], *[unit.fields[name] for unit in (rows, control) if name in unit.fields]
            )
        self.comb += [signal.eq(self.descriptor.row_beats[n]) for n, signal in self.control.row_beats.items()]
        bases = self.control.bases
        for plane, address, stride in zip(PLANES, bases.addresses, bases.strides, strict=True):
            self.comb += [
                address.eq(fields[f"{plane}_address"][shift:]),
                stride.eq(fields[f"{plane}_stride"][shift:]),
            ]
        keys = Signal(bits_for(geometry.config.max_sequence))
        words, _ = rows.words_of(geometry, keys)
        reuse = (fields["n_queries"] > 1) & (fields["n_keys"] <= geometry.config.kv_buffer_rows)
        self._setting(reuse, *[unit.reuse for unit in (rows, control, scores, values)])
        self._setting(fields["head_dim"], scores.dim, values.dim)
        self._setting(rows.full, scores.keys, values.keys)
        self._setting(fields["k_policy"] == KeyPolicy.BY_KEY, self.softmax.by_key)
        self.comb += [
            keys.eq(fields["n_keys"]),
            self.control.words.eq(words),
            self.control.running.eq(self.running),
            self.control.q_address.eq(fields["q_address"][shift:]),
            bases.n_heads.eq(fields["n_heads"]),
            self.softmax.value_limit.eq(fields["value_limit"]),
            self.softmax.refetch_shift.eq(fields["refetch_shift"]),
            self.values.fo.eq(16 - fields["v_msb_bits"] - fields["v_lsb_bits"]),
            self.visible.n_keys.eq(fields["n_keys"]),
            self.visible.causal.eq(fields["causal"]),
            self.outputs.base.eq(fields["output_address"][shift:]),
        ]
        answer = fields["answer_address"][shift:]
        lists = answer + (HEADER_BYTES >> shift)
        self.comb += [
            self.answer.address.eq(answer),
            self.tokens.n_slots.eq(fields["n_slots"]),
            self.tokens.n_keys.eq(fields["n_keys"]),
            self.tokens.keep_tokens.eq(fields["keep_tokens"]),
            self.tokens.add_tokens.eq(fields["add_tokens"]),
            self.tokens.decay.eq(fields["decay"]),
            self.tokens.importance_address.eq(fields["token_importance_address"][shift:]),
            self.tokens.survivors_address.eq(lists),
            self.heads.total_heads.eq(fields["total_heads"]),
            self.heads.n_heads.eq(fields["n_heads"]),
            self.heads.keep_heads.eq(fields["keep_heads"]),
            self.heads.add_heads.eq(fields["add_heads"]),
            self.heads.importance_address.eq(fields["head_importance_address"][shift:]),
            self.heads.survivors_address.eq(lists + beats(geometry, fields["keep_tokens"], 2)),
        ]

    # Lists of the job --------------------------------------------------------------------------------

    def _tables(self, geometry):
        """The head table and the key list, as the descriptor gives them."""
        descriptor = self.descriptor
        entry = Record(head_layout())
        heads = Memory(len(entry.raw_bits()), geometry.config.max_heads)
        keys = SharedMemory(2 * SLOT_BITS, -(-geometry.config.max_sequence // 2))  # a pair in a word
        write_head = heads.get_port(write_capable=True)
        write_key = keys.get_port(write_capable=True, mode=READ_FIRST)
        by_bases, by_rows, by_finish = (heads.get_port(async_read=True) for _ in range(3))
        by_fetch, by_others = (keys.get_port(mode=READ_FIRST) for _ in range(2))
        self.specials += heads, keys, write_head, write_key, by_bases, by_rows, by_finish, by_fetch, by_others
        head_place, key_place = Signal(5), Signal(bits_for(geometry.config.max_sequence))
        for stream_in, data, port, place in (
            (descriptor.heads, descriptor.heads.payload.raw_bits(), write_head, head_place),
            (descriptor.keys, descriptor.keys.slots, write_key, key_place),
        ):
            self.comb += [
                stream_in.ready.eq(1),
                port.adr.eq(place),
                port.dat_w.eq(data),
                port.we.eq(stream_in.valid),
            ]
            self.sync += If(stream_in.valid, place.eq(Mux(stream_in.last, 0, place + 1)))
        self.keys_there = Signal()
        self.sync += self.keys_there.eq(descriptor.keys.valid & descriptor.keys.last)

        # Keys: tokens are finished while the last rows fetch their values -----------------------------
        looked_up = Mux(self.running, self.tokens.list_index, self.visible.list_index)
        other = self._entry(geometry, by_others, looked_up)
        self.comb += [
            descriptor.queries.connect(self.visible.queries),
            self.fetch.list_word.eq(self._entry(geometry, by_fetch, self.fetch.list_index)),
            *[unit.list_word.eq(other) for unit in (self.visible, self.tokens)],
        ]

        # Heads ---------------------------------------------------------------------------------------
        bases, rows, finish = self.control.bases, self.rows, self.heads
        of_bases, of_rows = Record(head_layout()), Record(head_layout())
        of_finish = Record(head_layout(), reset_less=True)
        self.comb += [
            by_bases.adr.eq(bases.head_index),
            of_bases.raw_bits().eq(by_bases.dat_r),
            bases.head_id.eq(of_bases.head_id),
            by_rows.adr.eq(rows.new_head),
            of_rows.raw_bits().eq(by_rows.dat_r),
            by_finish.adr.eq(finish.head_index),
            finish.head_id.eq(of_finish.head_id),
            finish.importance_mult.eq(of_finish.importance_mult),
            finish.importance_shift.eq(of_finish.importance_shift),
        ]
        self.sync += of_finish.raw_bits().eq(by_finish.dat_r)
        for slot in range(SLOTS):
            self.sync += If(
                rows.dispatched & (rows.newest == slot),
                self.softmax.mults[slot].eq(of_rows.score_mult),
                self.softmax.shifts[slot].eq(of_rows.score_shift),
            )

    def _entry(self, geometry, port, index):
        """The entry of the key list at ``index``, a cycle later."""
        place, entry, upper = Signal(geometry.index_bits), Signal(SLOT_BITS), Signal(reset_less=True)
        self.sync += upper.eq(place[0])
        self.comb += [
            place.eq(index),
            port.adr.eq(place[1:]),
            entry.eq(Mux(upper, port.dat_r[SLOT_BITS:], port.dat_r[:SLOT_BITS])),
        ]
        return entry

    # Rows --------------------------------------------------------------------------------------------

    def _rows(self, geometry):
        """The stages of a row, joined."""
        rows, control, scores, softmax, values = (
            self.rows,
            self.control,
            self.scores,
            self.softmax,
            self.values,
        )
        read = softmax.read
        self.comb += [
            control.source.connect(self.fetch.sink),
            values.index.connect(self.fetch.index),
            softmax.picks.connect(self.fetch.picks),
            self.fetch.passes.connect(self.reader.passes),
            self.reader.query.connect(scores.queries),
            self.reader.keys.connect(scores.fill),
            self.reader.values.connect(values.fill),
            rows.passes.connect(scores.passes),
            scores.source.connect(softmax.sink),
            softmax.summed.connect(rows.summed),
            rows.read.connect(read),
            rows.retired.connect(values.passes),
            softmax.ranked.connect(values.ranked),
            rows.freed.eq(read.valid & read.ready),
            self.visible.query_index.eq(rows.query_index),
            rows.visible.eq(self.visible.count),
            rows.queries_stored.eq(scores.store.stored != 0),
            rows.k_heads.eq(control.k_heads),
            rows.v_heads.eq(control.v_heads),
            rows.k_lsb_there.eq(control.k_lsb_there),
            rows.v_lsb_there.eq(control.v_lsb_there),
            rows.odd_base.eq(control.odd_base),
            control.lsb_needed.eq(rows.lsb_needed),
            control.lsb_head.eq(rows.lsb_head),
        ]
        self.key_orders = key_orders = stream.SyncFIFO(rows.wanted_keys.description, 2)
        fill_k, fill_v = scores.buffer.sink, values.buffer.sink
        self.comb += [
            rows.wanted_keys.connect(key_orders.sink),
            key_orders.source.connect(control.wanted_keys),
            rows.wanted_values.connect(control.wanted_values),
            control.row_near.eq(rows.row_near),
            control.index_ready.eq(values.index.valid),
            control.query_used.eq(rows.queries_used),
            control.row_read.eq(values.buffer.read.valid & values.buffer.read.ready),
            control.k_stored.eq(fill_k.valid & fill_k.ready & fill_k.last),
            control.k_lsb.eq(fill_k.lsb),
            control.v_stored.eq(fill_v.valid & fill_v.ready & fill_v.last),
            control.v_lsb.eq(fill_v.lsb),
        ]
        # By key second passes are short, so they must not queue behind rows that could start later.
        self.sync += rows.held.eq(
            softmax.by_key & (key_orders.source.valid | control.command.source.valid | ~self.fetch.ending)
        )

    # Outputs -----------------------------------------------------------------------------------------

    def _outputs(self, geometry):
        """Output rows leave in the order of the job; their magnitudes add up to the importance of heads."""
        outputs, store, fields = self.values.outputs, self.outputs, self.fields
        memory = Memory(HEAD_SUM_BITS, geometry.config.max_heads)
        write, read = memory.get_port(write_capable=True), memory.get_port(mode=READ_FIRST)
        self.specials += memory, write, read
        total, row, head = Signal(HEAD_SUM_BITS, reset_less=True), Signal(16), Signal(5)
        self.row_out, self.row_start = Signal(), Signal()
        last_row = Signal()
        moved = Signal()
        self.comb += [
            outputs.connect(store.sink, omit={"outputs", "magnitude"}),
            store.sink.data.eq(outputs.outputs),
            moved.eq(outputs.valid & outputs.ready),
            self.row_out.eq(moved & outputs.last),
            last_row.eq(row + 1 == fields["n_queries"]),
            write.adr.eq(head),
            write.dat_w.eq(total + outputs.magnitude),
            write.we.eq(self.row_out & last_row),
            read.adr.eq(self.heads.sum_index),
            self.heads.sum.eq(read.dat_r),
        ]
        self.sync += [
            If(moved, total.eq(total + outputs.magnitude)),
            If(
                self.row_out,
                row.eq(row + 1),
                If(last_row, row.eq(0), head.eq(head + 1), total.eq(0)),
            ),
            self.heads.summed.eq(head),  # a cycle later: the sum can be read
            If(self.row_start, total.eq(0), row.eq(0), head.eq(0), self.heads.summed.eq(0)),
        ]

    # Sequence ----------------------------------------------------------------------------------------

    def _sequence(self, geometry):
        """From a job to its answer."""
        fields, descriptor, totals = self.fields, self.descriptor, self.values.totals
        self.counters = Counters(geometry, fields, descriptor.row_beats)
        rows, added = Signal(25, reset_less=True), Signal(25)
        preparing, clearing = Signal(), Signal()
        status, looking = Signal(STATUS_BITS, reset_less=True), Signal()
        counting = Signal()  # till the header is written: what it says must not change meanwhile
        self.fsm = fsm = FSM(reset_state="IDLE")
        self.comb += [
            self.jobs.connect(descriptor.sink, keep={"address"}),
            self.visible.start.eq(self.keys_there),
            self.tokens.total_read.connect(totals.read),
            totals.source.connect(self.tokens.totals),
            totals.clear.keys.eq(fields["n_keys"]),
            totals.clear.valid.eq(clearing),
            self.control.bases.start.eq(preparing),
            self.running.eq(fsm.ongoing("RUN") | fsm.ongoing("FINISH")),
        ]
        self._counted(counting)
        self._answered(status)
        self._events()
        self.sync += [
            rows.eq(fields["n_heads"] * fields["n_queries"]),
            added.eq(added + self.values.added),
            If(self.keys_there, looking.eq(1)),
            # Bases and sums are made ready as soon as the head table is there, while the lists are read.
            preparing.eq(descriptor.heads.valid & descriptor.heads.last),
            If(preparing, clearing.eq(1)).Elif(totals.clear.ready, clearing.eq(0)),
        ]
        self._begin(status, looking, counting, clearing)
        self._run(rows, added, counting)
        self._end()

    def _counted(self, counting):
        """What the counters see of the job: passes that are fetched, and rows that go out."""
        counters, current = self.counters, self.fetch.current
        self.comb += [
            counters.running.eq(counting),
            counters.issued.eq(self.fetch.issued & (current.target != QUERY)),
            counters.plane.eq(Cat(current.lsb, current.target == VALUES)),
            counters.rows.eq(current.rows),
            counters.query_row.eq(self.fetch.issued & (current.target == QUERY)),
            counters.output_row.eq(self.row_out),
        ]

    def _answered(self, status):
        """What the answer's header says, and what is told of the job outside."""
        answer, fields, job_id = self.answer, self.fields, self.descriptor.job_id
        self.comb += [
            *[answer.values[name].eq(value) for name, value in self.counters.values.items()],
            answer.values["status"].eq(status),
            answer.values["job_id"].eq(job_id),
            answer.values["n_tokens"].eq(fields["keep_tokens"]),
            answer.values["n_heads"].eq(fields["keep_heads"]),
            answer.values["refetched_rows"].eq(self.rows.refetched),
            self.ends.job_id.eq(job_id),
            self.ends.status.eq(status),
        ]

    def _begin(self, status, looking, counting, clearing):
        """A job is taken and checked; one that may not run gets its answer if that may be written."""
        fsm, descriptor = self.fsm, self.descriptor
        fsm.act(
            "IDLE",
            descriptor.sink.valid.eq(self.jobs.valid),
            self.jobs.ready.eq(descriptor.sink.ready),
            self.counters.start.eq(1),
            NextValue(looking, 0),
            If(self.jobs.valid & descriptor.sink.ready, NextValue(counting, 1), NextState("TAKEN")),
        )
        fsm.act("TAKEN", NextState("CHECK"))
        fsm.act(
            "CHECK",
            NextValue(status, descriptor.status),
            If(
                (descriptor.status != Status.PENDING)
                & (self.visible.done | ~looking)
                & ~self.control.bases.busy
                & ~clearing,
                If(descriptor.status == Status.DONE, NextState("START"))
                .Elif(descriptor.answer_writable, NextState("ANSWER"))
                .Else(NextState("END")),
            ),
        )

    def _run(self, rows, added, counting):
        """Rows are computed; tokens are finished once all rows have added to their sums."""
        fsm = self.fsm
        fsm.act(
            "START",
            self.rows.start.eq(1),
            self.control.start.eq(1),
            self.outputs.start.eq(1),
            self.row_start.eq(1),
            self.heads.start.eq(1),
            NextValue(added, 0),
            NextState("RUN"),
        )
        # Sums take effect in the order in which they are accepted, so they may be read at once.
        fsm.act("RUN", If(added == rows, self.tokens.start.eq(1), NextState("FINISH")))
        fsm.act(
            "FINISH",
            If(
                (self.counters.output_rows == rows) & ~self.outputs.busy & self.tokens.done & self.heads.done,
                NextState("SETTLE"),
            ),
        )
        fsm.act("SETTLE", If(~self.writes.writes_pending, NextValue(counting, 0), NextState("ANSWER")))

    def _end(self):
        """The answer is written, and the job's end told once memory has it."""
        fsm, answer = self.fsm, self.answer
        fsm.act("ANSWER", answer.start.eq(1), NextState("BEGIN-ANSWER"))
        fsm.act("BEGIN-ANSWER", NextState("WRITE-ANSWER"))
        fsm.act("WRITE-ANSWER", If(answer.done & ~self.writes.writes_pending, NextState("END")))
        fsm.act("END", self.ends.valid.eq(1), If(self.ends.ready, NextState("IDLE")))

    def _events(self):
        """What busy and waiting cycles are counted of: a cycle in which no array works has one cause."""
        events, rows = self.counters.events, self.rows
        scores, values, outputs = self.scores, self.values, self.outputs.source
        full = rows.flying == SLOTS
        ranking = full & Array(rows.certain)[rows.oldest]
        causes = {
            "stall_write": outputs.valid & ~outputs.ready,
            "stall_read": rows.starved
            | (scores.array.buffer.valid & ~scores.array.sink.valid)
            | values.starved,
            "stall_topk": ranking,
            "stall_softmax": full,
        }
        idle = Signal()
        before = 0  # a cause of higher rank
        self.comb += [
            events["busy_qk"].eq(scores.busy),
            events["busy_pv"].eq(values.busy),
            idle.eq(self.running & ~scores.busy & ~values.busy),
        ]
        for name, cause in causes.items():
            self.sync += events[name].eq(idle & cause & ~before)
            before = cause | before
