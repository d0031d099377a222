# SPDX-License-Identifier: BSD-2-Clause
"""The whole core: the engine, and what ends a job that does not end by itself."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.answer import Status

from .answer import AnswerWriter
from .checks import STATUS_BITS
from .descriptor import job_layout
from .engine import Engine
from .geometry import Geometry
from .port import ADDRESS_BITS, MemoryPort, beat_shift, command_layout, write_layout
from .reset import KeepPayloads

OUTSTANDING = 1 << 16  # more reads than memory can owe, also over many aborts
PATIENCE = 4096  # cycles


class Core(LiteXModule):
    """SpAtten's attention core.

    A job that is aborted, runs too long or meets a memory fault ends at once. The engine is reset; what
    memory still owes is dropped whenever it comes; what was given to memory is waited for; and if the
    descriptor had told where the answer goes, its header is written. The next job is clean. Memory that takes
    no writes gets no answer: after ``PATIENCE`` cycles the job ends without one.

    Parameters
    ----------
    config : what it is built for.

    Attributes
    ----------
    jobs : in, :func:`.descriptor.job_layout`: taken one at a time.
    memory : the :class:`.port.MemoryPort`; what was offered to it stays, also in an abort.
    memory_bytes : in, size of device memory.
    abort, expired : in, pulses: end the running job with ``ABORTED``, with ``WATCHDOG``, if one runs.
    ends : out, ``job_id`` and ``status`` of each job that ended.

    Source: paper, Fig. 8; contract, sections 9 to 11.
    """

    def __init__(self, config):
        geometry = Geometry(config)
        self.jobs = stream.Endpoint(job_layout())
        self.memory = MemoryPort(geometry)
        self.memory_bytes = Signal(32)
        self.abort = Signal()
        self.expired = Signal()
        self.ends = stream.Endpoint([("job_id", 32), ("status", STATUS_BITS)])

        # # #

        # The engine's reset reaches every corner of the chip: it comes from a register, not through logic.
        self.cd_engine = ClockDomain()
        self.engine = engine = ClockDomainsRenamer("engine")(KeepPayloads()(Engine(config)))
        self.answer = ResetInserter()(KeepPayloads()(AnswerWriter(geometry)))
        self.fsm = FSM(reset_state="ENGINE")
        self.cleared = cleared = Signal(reset=1)
        self.comb += [
            self.cd_engine.clk.eq(ClockSignal()),
            self.cd_engine.rst.eq(cleared),
            engine.memory_bytes.eq(self.memory_bytes),
        ]
        self.sync += cleared.eq(self.fsm.ongoing("RESET"))
        self._job(geometry)
        self._memory(geometry)
        self._steps()

    def _memory(self, geometry):
        """What is offered to memory stays, so it is held outside of what is reset."""
        engine, memory, answer, fsm = self.engine, self.memory, self.answer, self.fsm
        self.commands = commands = KeepPayloads()(stream.Buffer(command_layout(geometry), pipe_ready=True))
        self.writes = writes = KeepPayloads()(stream.Buffer(write_layout(geometry), pipe_ready=True))
        owed, stale = Signal(max=OUTSTANDING), Signal(max=OUTSTANDING)  # to the engine, to jobs before it
        asked, came = Signal(), Signal()
        self.live = live = Signal()  # the engine works, and what it says counts
        # Whose data comes decides before all else that hangs on it: registers. Drops are told by every other
        # cycle, so that none takes what comes behind the last.
        taking, dropping = Signal(), Signal()
        self.comb += [
            live.eq(fsm.ongoing("ENGINE") & ~self.cleared),
            If(live, engine.memory.command.connect(commands.sink)),
            commands.source.connect(memory.command),
            If(live, engine.memory.write.connect(writes.sink)).Else(answer.write.connect(writes.sink)),
            writes.source.connect(memory.write),
            memory.data.connect(engine.memory.data, omit={"valid", "ready"}),
            engine.memory.data.valid.eq(memory.data.valid & taking),
            memory.data.ready.eq(engine.memory.data.ready & taking | dropping),
            engine.memory.writes_pending.eq(writes.source.valid | memory.writes_pending),
            asked.eq(commands.sink.valid & commands.sink.ready),
            came.eq(memory.data.valid & memory.data.ready),
        ]
        self.sync += [
            taking.eq(fsm.ongoing("ENGINE") & ~self.kill & (stale == 0)),
            dropping.eq(~dropping & (stale != 0)),
            If(stale != 0, stale.eq(stale - came), owed.eq(owed + asked)).Else(owed.eq(owed + asked - came)),
            If(fsm.ongoing("RESET"), stale.eq(stale + owed - came), owed.eq(0)),
        ]

    def _job(self, geometry):
        """The job that runs: whether it is to be ended, and what is said of it then."""
        engine, memory, answer, jobs, ends = self.engine, self.memory, self.answer, self.jobs, self.ends
        running = Signal()
        self.kill = kill = Signal()
        self.status = status = Signal(STATUS_BITS, reset_less=True)
        self.job_id = job_id = Signal(32, reset_less=True)
        self.writable = writable = Signal()  # an answer header
        self.comb += [
            kill.eq(running & ~engine.ends.valid & (self.abort | self.expired | memory.fault)),
            answer.values["status"].eq(status),
            answer.values["job_id"].eq(job_id),
        ]
        self.sync += [
            If(jobs.valid & jobs.ready, running.eq(1)),
            If(ends.valid & ends.ready, running.eq(0)),
            If(
                kill & self.fsm.ongoing("ENGINE"),
                If(memory.fault, status.eq(Status.MEMORY_FAULT))
                .Elif(self.abort, status.eq(Status.ABORTED))
                .Else(status.eq(Status.WATCHDOG)),
                writable.eq(engine.descriptor.answer_writable),
                job_id.eq(engine.descriptor.job_id),
                answer.address.eq(engine.fields["answer_address"][beat_shift(geometry) : ADDRESS_BITS]),
            ),
        ]

    def _steps(self):
        """From a job that is ended to the next: reset, the answer's header, the end."""
        engine, answer, fsm, ends = self.engine, self.answer, self.fsm, self.ends
        fsm.act(
            "ENGINE",
            If(self.live, self.jobs.connect(engine.jobs)),
            engine.ends.connect(ends),
            If(self.kill, NextState("RESET")),
        )
        left = Signal(max=PATIENCE)
        pending = engine.memory.writes_pending
        fsm.act("RESET", NextValue(left, PATIENCE - 1), NextState("SETTLE"))
        fsm.act(
            "SETTLE",
            NextValue(left, left - 1),
            If((left == 0) | ~self.writable, NextState("END")).Elif(
                ~pending, answer.start.eq(1), NextState("BEGIN")
            ),
        )
        fsm.act("BEGIN", NextState("ANSWER"))
        fsm.act(
            "ANSWER",
            NextValue(left, left - 1),
            If((answer.done & ~pending) | (left == 0), answer.reset.eq(1), NextState("END")),
        )
        fsm.act(
            "END",
            ends.valid.eq(1),
            ends.status.eq(self.status),
            ends.job_id.eq(self.job_id),
            If(ends.ready, NextState("ENGINE")),
        )
