# SPDX-License-Identifier: BSD-2-Clause
"""Proofs of what starts and ends jobs: the queue behind the registers, and the core around its engine."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import patch

from litex.gen import LiteXModule
from litex.soc.interconnect import csr_bus, stream
from migen import If, Mux, ResetInserter, Signal

from spatten_drivers import AcceleratorConfig
from spatten_drivers.answer import Status
from spatten_fpga.core import core as whole
from spatten_fpga.core.descriptor import job_layout
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.port import ADDRESS_BITS, MemoryPort
from spatten_fpga.core.registers import ControlRegisters
from spatten_fpga.formal.proof import Proof
from spatten_fpga.formal.rules import Ledger, Progress

from .cases import Case
from .streams import moved, passes

COUNT_BITS = 4  # of what JOBS_DONE counts: equal numbers are so modulo 16
SEEN_BITS = 2  # of a job's address


class OnBus(LiteXModule):
    """The registers behind a CSR bus."""

    def __init__(self, depth: int) -> None:
        self.registers = ControlRegisters(AcceleratorConfig(job_queue_depth=depth), 1 << 28)
        self.bus = csr_bus.Interface(data_width=32)
        self.bank = csr_bus.CSRBank(self.registers.get_csrs(), bus=self.bus)


def job_queue(depth: int):
    """Any writes on the bus, a core that takes jobs and ends them at any time."""

    def build(broken: str | None = None) -> Proof:
        dut = OnBus(depth)
        registers, bus = dut.registers, dut.bus
        proof = Proof(dut, broken)
        for name in ("adr", "we", "re", "dat_w"):
            proof.input(name, getattr(bus, name))
        proof.input("ended", registers.ended)
        jobs = registers.jobs
        proof.input("ready", jobs.ready)
        running, aborted = Signal(), registers.abort
        taken = Signal()
        proof.comb += taken.eq(moved(jobs))
        proof.sync += If(taken, running.eq(1)).Elif(registers.ended, running.eq(0))
        proof.assume("ends_what_runs", ~registers.ended | running)

        push = Signal()
        waiting = ResetInserter()(Ledger(SEEN_BITS, depth))
        proof.comb += [
            push.eq(registers.job_push.re & (waiting.count != depth) & ~aborted),
            waiting.reset.eq(aborted),
            waiting.put.eq(push),
            waiting.item.eq(registers.job_push.r[:SEEN_BITS]),
            waiting.get.eq(taken),
        ]
        proof.add("waiting", waiting)
        proof.check("level", registers.status.fields.queue_level == waiting.count)
        proof.check("full", registers.status.fields.queue_full == (waiting.count == depth))
        proof.check("the_oldest", ~jobs.valid | (jobs.address[:SEEN_BITS] == waiting.oldest))
        proof.check("one_at_a_time", ~jobs.valid | ~running)
        proof.check("busy", registers.busy == running)
        offers = waiting.any & ~running & ~aborted
        proof.check("offered_at_once", jobs.valid == offers)

        done = registers.jobs_done.status[:COUNT_BITS]
        started, owed = Signal(), Signal(COUNT_BITS)  # accepted and not yet counted as ended
        told = Signal(COUNT_BITS)
        proof.sync += [started.eq(1), owed.eq(owed + push - told)]
        proof.comb += told.eq(Mux(started, registers.jobs_done.status - proof.past(done), 0))
        inside = Signal(COUNT_BITS)
        proof.comb += inside.eq(owed - told)
        whereabouts = Signal(COUNT_BITS)
        proof.comb += whereabouts.eq(waiting.count + running + registers.dropped)
        proof.check("none_lost", inside == whereabouts)
        idle = registers.status.fields.idle
        proof.check("all_are_counted", ~idle | (inside == 0))
        proof.check("idle", ~idle | (~running & ~waiting.any))
        proof.add("settles", Progress(2, ~idle & ~running & ~waiting.any, idle))
        return proof

    return build


class AnyEngine(LiteXModule):
    """What the core sees of its engine, doing anything."""

    def __init__(self, config: AcceleratorConfig) -> None:
        geometry = Geometry(config)
        self.jobs = stream.Endpoint(job_layout())
        self.memory = MemoryPort(geometry)
        self.memory_bytes = Signal(32)
        self.ends = stream.Endpoint([("job_id", 32), ("status", 4)])
        self.descriptor = SimpleNamespace(answer_writable=Signal(), job_id=Signal(32))
        self.fields = {"answer_address": Signal(ADDRESS_BITS)}


PATIENCE, OUTSTANDING = 8, 8


def ending(broken: str | None = None) -> Proof:
    """The core around any engine, with a patience of 8 cycles and memory that owes no more than 6 reads."""
    with patch.multiple(whole, Engine=AnyEngine, PATIENCE=PATIENCE, OUTSTANDING=OUTSTANDING):
        dut = whole.Core(AcceleratorConfig(beat_bytes=64))
    proof = Proof(dut, broken)
    engine, memory, reset = dut.engine, dut.memory, dut.cd_engine.rst
    jobs = proof.sink("jobs", dut.jobs, [])
    command = proof.source("command", memory.command, ["last"])
    write = proof.source("write", memory.write, ["last"])
    ends = proof.source("ends", dut.ends, ["status", "last"])
    data = proof.sink("data", memory.data, [])
    for name in ("abort", "expired"):
        proof.input(name, getattr(dut, name))
    for name in ("fault", "writes_pending"):
        proof.input(name, getattr(memory, name))
    free = {
        "command": engine.memory.command.valid,
        "command_last": engine.memory.command.last,
        "write": engine.memory.write.valid,
        "write_last": engine.memory.write.last,
        "data": engine.memory.data.ready,
        "jobs": engine.jobs.ready,
        "writable": engine.descriptor.answer_writable,
    }
    for name, signal in free.items():
        proof.input(f"engine_{name}", signal)
    engine_ends = proof.sink("engine_ends", engine.ends, ["status", "last"])

    # The engine ends only a job that it has, and takes none while it has one.
    has, at_core = Signal(), Signal()
    proof.sync += [
        If(moved(engine.jobs), has.eq(1)),
        If(moved(engine_ends) | reset, has.eq(0)),
        If(moved(jobs), at_core.eq(1)),
        If(moved(ends), at_core.eq(0)),
    ]
    proof.assume("engine_ends_its_job", ~engine_ends.valid | has)
    proof.assume("engine_has_one_job", ~engine.jobs.ready | ~has)
    proof.check("one_job", ~moved(jobs) | ~at_core)
    proof.check("each_ends_once", ~ends.valid | at_core)

    # Data goes to the engine that asked for it, and to no other.
    old, new = Signal(max=OUTSTANDING), Signal(max=OUTSTANDING)  # reads of jobs before the reset, after it
    asked = moved(dut.commands.sink)
    first_old = Signal()
    proof.comb += first_old.eq(old != 0)
    left_old, left_new = Signal.like(old), Signal.like(new)
    proof.comb += [
        left_old.eq(old - (moved(data) & first_old)),
        left_new.eq(new + asked - (moved(data) & ~first_old)),
    ]
    proof.sync += If(reset, old.eq(left_old + left_new), new.eq(0)).Else(old.eq(left_old), new.eq(left_new))
    given = Signal(max=OUTSTANDING)  # commands that memory has taken and not answered
    proof.sync += given.eq(given + moved(command) - moved(data))
    proof.assume("memory_answers_commands", ~data.valid | (given != 0))
    proof.assume("memory_owes_few", (old + new < OUTSTANDING - 2) | ~engine.memory.command.valid)
    seen = engine.memory.data.valid
    proof.check("old_data_is_dropped", ~seen | ~first_old)
    proof.check("new_data_arrives", ~moved(data) | first_old | reset | seen | ~has_engine(dut))
    proof.add("old_data_leaves", Progress(2, data.valid & first_old, moved(data)))

    for name, held, given_on in (("commands", dut.commands, command), ("writes", dut.writes, write)):
        order = passes(proof, name, held.sink, given_on, 2, ["last"])
        proof.add(f"{name}_leave", Progress(2, order.inside != 0, moved(given_on), given_on.ready))

    # A stop ends the job, whatever memory does.
    stopping = Signal()
    stop = at_core & ~engine_ends.valid & (dut.abort | dut.expired | memory.fault)
    cause = Signal(len(ends.status))
    proof.sync += If(moved(ends), stopping.eq(0)).Elif(
        stop & ~stopping,
        stopping.eq(1),
        cause.eq(Mux(memory.fault, Status.MEMORY_FAULT, Mux(dut.abort, Status.ABORTED, Status.WATCHDOG))),
    )
    proof.check("status", ~ends.valid | (ends.status == Mux(stopping, cause, engine_ends.status)))
    proof.add("ends", Progress(PATIENCE + 4, stopping, ends.valid))
    return proof


def has_engine(dut: whole.Core):
    """The engine is the one that memory belongs to."""
    return dut.fsm.ongoing("ENGINE")


CASES = {
    "job queue": Case(
        "ControlRegisters",
        "2 jobs, any bus traffic",
        "jobs are offered oldest first, none lost, none twice but by an abort or a push into a"
        " full queue; the level is right; one runs at a time; every accepted job is counted as ended before"
        " the core is idle",
        job_queue(2),
        wrongs=(),
    ),
    "end of a job": Case(
        "Core",
        "any engine, patience 8, 6 reads outstanding",
        "a job that is aborted, runs too long or meets a fault ends within patience + 4"
        " cycles, whatever memory does; each job ends once, with its status; what was offered to memory"
        " stays; the engine never sees data of a job before",
        ending,
        spared=("ends:corrupts.last",),
        quick=True,
    ),
}
