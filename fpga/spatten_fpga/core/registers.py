# SPDX-License-Identifier: BSD-2-Clause
"""The core's control and status registers, the job queue behind them, the watchdog and the interrupt."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from litex.soc.interconnect.csr import CSR, CSRField, CSRStatus, CSRStorage
from migen import *

from spatten_drivers import AcceleratorConfig
from spatten_drivers.answer import Status
from spatten_drivers.fields import Word
from spatten_drivers.registers import REGISTERS, identity_values

from .checks import STATUS_BITS
from .descriptor import job_layout

REGISTER_BITS = 32


class ControlRegisters(LiteXModule):
    """Registers, job queue, watchdog and interrupt.

    Every register of ``spatten_drivers.registers`` is a CSR with the names of register and fields in lower
    case. Jobs wait in a queue; the core takes one when it has ended the one before. A job pushed into a full
    queue is lost.

    ``ABORT`` drops the jobs in the queue and asks the core to end the running one; the dropped jobs count as
    ended with ``ABORTED``, right after the running one has. ``JOB_LAST_ID`` stays that of the last that ran.

    Parameters
    ----------
    config : AcceleratorConfig of the core.
    memory_bytes : size of device memory.

    Attributes
    ----------
    jobs : Endpoint, out, of ``job_layout``: the next job. Withdrawn by an abort.
    ended : Signal, in: the running job ended; a pulse, in the cycle after it was taken at the earliest.
    ended_id, ended_status : Signal(32), Signal(4), in: of that job, with ``ended``.
    busy : Signal, out: a job runs, from the cycle after it was taken to the one in which it ended.
    abort : Signal, out: end the running job with ``ABORTED``; a pulse, to be ignored when none runs.
    expired : Signal, out: end the running job with ``WATCHDOG``; a pulse, once a job, in its cycle
        ``WATCHDOG + 2`` (the first is 1).
    dram_ready : Signal, in: device memory is initialised.
    irq : Signal, out: a job ended and ``IRQ_ENABLE`` is set; a pulse, when ``JOBS_DONE`` shows it.

    Source: contract, section 11.
    """

    def __init__(self, config: AcceleratorConfig, memory_bytes: int) -> None:
        self.jobs = stream.Endpoint(job_layout())
        self.ended = Signal()
        self.ended_id = Signal(32)
        self.ended_status = Signal(STATUS_BITS)
        self.busy = Signal()
        self.abort = Signal()
        self.expired = Signal()
        self.dram_ready = Signal()
        self.irq = Signal()

        # # #

        self._registers(config, memory_bytes)
        self._queue(config.job_queue_depth)
        self._ended_jobs()
        self._errors()
        self._watchdog()

    def _registers(self, config: AcceleratorConfig, memory_bytes: int) -> None:
        """A CSR for each word of the table. ``IRQ_ENABLE`` stays as written, commands clear themselves."""
        identity = identity_values(config, memory_bytes)
        self.csrs = {word.name: _register(word, identity) for word in REGISTERS}
        for word in REGISTERS:
            setattr(self, word.name.lower(), self.csrs[word.name])
        control = self.control.fields
        self.comb += [
            self.control.we.eq(self.control.re),
            self.control.dat_w.eq(control.irq_enable << control.irq_enable.offset),
            self.abort.eq(control.abort),
        ]

    def _queue(self, depth: int) -> None:
        """Jobs wait for the one that runs; an abort drops them."""
        jobs, busy, abort = self.jobs, self.busy, self.abort
        self.queue = queue = ResetInserter()(stream.SyncFIFO(job_layout(), depth))
        self._level = level = Signal(max=depth + 1)
        pushed = Signal()
        taken = Signal()
        self.comb += [
            pushed.eq(self.job_push.re & (level != depth) & ~abort),
            taken.eq(jobs.valid & jobs.ready),
            queue.reset.eq(abort),
            queue.sink.valid.eq(pushed),
            queue.sink.address.eq(self.job_push.r),
            queue.source.connect(jobs, omit={"valid", "ready"}),
            jobs.valid.eq(queue.source.valid & ~busy & ~abort),
            queue.source.ready.eq(taken),
        ]
        self.sync += [
            level.eq(level + pushed - taken),
            If(abort, level.eq(0)),
            If(taken, busy.eq(1)).Elif(self.ended, busy.eq(0)),
        ]

    def _ended_jobs(self) -> None:
        """Counts the jobs that ended; those dropped by an abort follow when the running one has ended."""
        done = self.jobs_done.status
        self.dropped = dropped = Signal(REGISTER_BITS)  # by aborts, until the running job has ended
        self._settled = settled = Signal()
        self.comb += settled.eq(~self.busy & (dropped != 0))
        self.sync += [
            If(self.ended, done.eq(done + 1), self.job_last_id.status.eq(self.ended_id)),
            If(settled, done.eq(done + dropped), dropped.eq(0)),
            If(self.abort, dropped.eq(Mux(settled, 0, dropped) + self._level)),
            self.irq.eq((self.ended | settled) & self.control.fields.irq_enable),
        ]

    def _errors(self) -> None:
        """The first error since errors were cleared stays; and what ``STATUS`` shows."""
        clear = self.control.fields.clear_error
        code = Signal(STATUS_BITS)
        first = Signal()
        self.comb += first.eq((code == 0) | clear)
        self.sync += [
            If(clear, code.eq(0)),
            If(first & self._settled, code.eq(Status.ABORTED)),
            If(first & self.ended & (self.ended_status != Status.DONE), code.eq(self.ended_status)),
        ]
        status = self.status.fields
        self.comb += [
            self.job_error.fields.code.eq(code),
            status.idle.eq(~self.busy & (self._level == 0) & (self.dropped == 0)),
            status.queue_full.eq(self._level == self.queue.depth),
            status.error.eq(code != 0),
            status.dram_ready.eq(self.dram_ready),
            status.queue_level.eq(self._level),
        ]

    def _watchdog(self) -> None:
        """Tells once a job that it took more cycles than ``WATCHDOG``."""
        cycles = Signal(REGISTER_BITS)
        over = Signal()
        told = Signal()
        self.comb += self.expired.eq(over & ~told & self.busy)
        self.sync += [
            If(~self.busy, cycles.eq(0)).Elif(~over, cycles.eq(cycles + 1)),
            over.eq(self.busy & (cycles >= self.watchdog.storage)),
            told.eq(self.busy & (told | over)),
        ]

    def get_csrs(self, sort: bool = False) -> list:
        """The registers in the order of the table."""
        return list(self.csrs.values())


def _register(word: Word, values: dict[str, int]) -> CSR | CSRStatus | CSRStorage:
    """One register of the table; read-only fields with a value keep it."""
    name = word.name.lower()
    if word.access == "wo":
        register = CSR(REGISTER_BITS, name=name)
        register.description = word.description
        return register
    kind = CSRStatus if word.access == "ro" else CSRStorage
    options = {"name": name, "description": word.description}
    if word.name == "CONTROL":
        options["write_from_dev"] = True  # its commands clear themselves
    first = word.fields[0]
    if first.width == REGISTER_BITS:
        return kind(REGISTER_BITS, reset=values.get(first.name, first.reset), **options)
    fields = [
        CSRField(
            f.name.lower(),
            size=f.width,
            offset=f.lsb,
            reset=values.get(f.name, f.reset),
            description=f.description,
            pulse="Clears itself" in f.description,
        )
        for f in word.fields
    ]
    return kind(fields=fields, **options)
