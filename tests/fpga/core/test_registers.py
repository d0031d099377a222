# SPDX-License-Identifier: BSD-2-Clause
"""Registers through the CSR bus, against section 11 of the contract."""

from __future__ import annotations

import random
from functools import cache

import pytest
from litex.gen import LiteXModule
from litex.soc.interconnect import csr_bus

from spatten_drivers import AcceleratorConfig
from spatten_drivers.answer import Status
from spatten_drivers.fields import pack
from spatten_drivers.registers import REGISTER_BY_NAME, REGISTERS, identity_values
from spatten_fpga.core.registers import ControlRegisters
from spatten_fpga.sim.bench import Bench

MEMORY = 0x1234_5678
ABORT, CLEAR_ERROR, IRQ_ENABLE = 1, 2, 4


class Dut(LiteXModule):
    """The registers behind a CSR bus."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.registers = ControlRegisters(config, MEMORY)
        self.bus = csr_bus.Interface(data_width=32)
        self.bank = csr_bus.CSRBank(self.registers.get_csrs(), bus=self.bus)


class Core:
    """The registers as host and core see them, one cycle at a time."""

    def __init__(self, config: AcceleratorConfig, bench: Bench) -> None:
        self.config, self.bench = config, bench

    def __getattr__(self, name: str) -> int:
        return self.bench.get(name)

    def pulse(self, name: str, **values: int) -> None:
        for key, value in {**values, name: 1}.items():
            self.bench.set(key, value)
        self.bench.tick()
        self.bench.set(name, 0)

    def write(self, name: str, value: int) -> None:
        self.pulse("we", adr=REGISTER_BY_NAME[name].index, dat_w=value)

    def read(self, name: str) -> int:
        self.pulse("re", adr=REGISTER_BY_NAME[name].index)
        return self.bench.get("dat_r")

    def fields(self, name: str) -> dict[str, int]:
        value = self.read(name)
        return {f.name: value >> f.lsb & f.mask for f in REGISTER_BY_NAME[name].fields}

    def take(self) -> int:
        """The core takes the next job."""
        assert self.jobs_valid
        address = self.jobs_address
        self.pulse("jobs_ready")
        return address

    def end(self, job_id: int, status: Status) -> None:
        self.pulse("ended", ended_id=job_id, ended_status=status)

    def settle(self) -> None:
        self.bench.tick(4)


@cache
def built(depth: int) -> Core:
    config = AcceleratorConfig(job_queue_depth=depth)
    dut = Dut(config)
    registers, bus = dut.registers, dut.bus
    bench = Bench(
        dut,
        {},
        {},
        inputs={
            "adr": bus.adr,
            "we": bus.we,
            "re": bus.re,
            "dat_w": bus.dat_w,
            "jobs_ready": registers.jobs.ready,
            "ended": registers.ended,
            "ended_id": registers.ended_id,
            "ended_status": registers.ended_status,
            "dram_ready": registers.dram_ready,
        },
        outputs={
            "dat_r": bus.dat_r,
            "jobs_valid": registers.jobs.valid,
            "jobs_address": registers.jobs.address,
            "busy": registers.busy,
            "abort": registers.abort,
            "expired": registers.expired,
            "irq": registers.irq,
        },
    )
    return Core(config, bench)


@pytest.fixture(params=[1, 3])
def core(request: pytest.FixtureRequest) -> Core:
    core = built(request.param)
    core.bench.reset()
    return core


def test_reset_values(core: Core) -> None:
    words = pack(REGISTERS, identity_values(core.config, MEMORY), len(REGISTERS)).tolist()
    words[REGISTER_BY_NAME["STATUS"].index] = 1  # idle
    readable = [word for word in REGISTERS if word.access != "wo"]
    assert {w.name: core.read(w.name) for w in readable} == {w.name: words[w.index] for w in readable}


def test_read_only_registers_keep_their_values(core: Core) -> None:
    before = {word.name: core.read(word.name) for word in REGISTERS if word.access == "ro"}
    for name in before:
        core.write(name, 0xFFFFFFFF)
    assert {name: core.read(name) for name in before} == before


def test_descriptions() -> None:
    registers = ControlRegisters(AcceleratorConfig(), MEMORY)
    for word in REGISTERS:
        csr = registers.csrs[word.name]
        assert csr.description == word.description
        assert csr.name == word.name.lower()
        if len(word.fields) > 1:
            assert [f.description for f in csr.fields.fields] == [f.description for f in word.fields]


def test_dram_ready(core: Core) -> None:
    core.bench.set("dram_ready", 1)
    assert core.fields("STATUS")["DRAM_READY"] == 1


def test_commands_clear_themselves(core: Core) -> None:
    core.write("CONTROL", ABORT | CLEAR_ERROR | IRQ_ENABLE)
    assert core.abort == 1
    core.settle()
    assert core.abort == 0
    assert core.read("CONTROL") == IRQ_ENABLE


def test_random_operation(core: Core) -> None:
    """Pushes, jobs that end, aborts and cleared errors, against a queue in Python."""
    depth = core.config.job_queue_depth
    rng = random.Random(depth)
    queue: list[int] = []
    running, done, last_id, error = False, 0, 0, 0
    for _ in range(400):
        move = rng.choice(("push", "push", "take", "end", "end", "abort", "clear", "both"))
        if move == "push":
            address = rng.getrandbits(32)
            core.write("JOB_PUSH", address)
            if len(queue) < depth:
                queue.append(address)
        elif move == "take" and queue and not running:
            assert core.take() == queue.pop(0)
            running = True
        elif move == "end" and running:
            status = rng.choice((Status.DONE, Status.DONE, Status.BAD_LIST, Status.WATCHDOG))
            last_id = rng.getrandbits(32)
            core.end(last_id, status)
            running, done = False, done + 1
            error = error or (0 if status is Status.DONE else status)
        elif move in ("abort", "both"):
            core.write("CONTROL", ABORT if move == "abort" else ABORT | CLEAR_ERROR)
            dropped = len(queue)
            queue.clear()
            assert core.abort
            error = 0 if move == "both" else error
            core.settle()
            assert core.read("JOBS_DONE") == (done if running else done + dropped)
            if running:
                last_id = rng.getrandbits(32)
                core.end(last_id, Status.ABORTED)
                done += 1
            if running or dropped:
                error = error or Status.ABORTED
            done += dropped
            running = False
        elif move == "clear":
            core.write("CONTROL", CLEAR_ERROR)
            error = 0
        core.settle()
        assert core.busy == running
        assert core.jobs_valid == (bool(queue) and not running)
        assert core.fields("STATUS") == {
            "IDLE": not running and not queue,
            "QUEUE_FULL": len(queue) == depth,
            "ERROR": error != 0,
            "DRAM_READY": 0,
            "QUEUE_LEVEL": len(queue),
        }
        assert core.read("JOBS_DONE") == done
        assert core.read("JOB_LAST_ID") == last_id
        assert core.read("JOB_ERROR") == error


def test_an_abort_withdraws_the_next_job(core: Core) -> None:
    core.write("JOB_PUSH", 64)
    core.settle()
    core.write("CONTROL", ABORT)
    core.pulse("jobs_ready")
    core.settle()
    assert core.busy == 0
    assert core.read("JOBS_DONE") == 1


@pytest.mark.parametrize("aborts", [2, 3, 5])
def test_every_job_that_aborts_drop_is_counted_while_one_still_ends(core: Core, aborts: int) -> None:
    """The running job may take long to end; meanwhile the queue can be filled and dropped again and again."""
    depth = core.config.job_queue_depth
    core.write("JOB_PUSH", 0)
    core.settle()
    core.take()
    for _ in range(aborts):
        for job in range(depth):
            core.write("JOB_PUSH", 64 * job)
        core.write("CONTROL", ABORT)
        core.settle()
        assert core.read("JOBS_DONE") == 0
    core.end(1, Status.ABORTED)
    core.settle()
    assert core.read("JOBS_DONE") == 1 + aborts * depth
    assert core.fields("STATUS")["IDLE"] == 1


@pytest.mark.parametrize("limit", [0, 1, 7, 100])
def test_watchdog(core: Core, limit: int) -> None:
    core.write("WATCHDOG", limit)
    for _ in range(2):
        core.write("JOB_PUSH", 0)
        core.settle()
        core.take()
        seen = []
        for cycle in range(1, limit + 20):  # the job's cycles
            if core.expired:
                seen.append(cycle)
            core.bench.tick()
        assert seen == [limit + 2]
        core.end(1, Status.WATCHDOG)
        core.settle()
    assert core.read("JOB_ERROR") == Status.WATCHDOG


def test_a_job_in_time_is_left_alone(core: Core) -> None:
    core.write("WATCHDOG", 10)
    for _ in range(3):
        core.write("JOB_PUSH", 0)
        core.settle()
        core.take()
        for _ in range(9):
            core.bench.tick()
            assert not core.expired
        core.end(1, Status.DONE)
        for _ in range(10):
            assert not core.expired
            core.bench.tick()


@pytest.mark.parametrize("enabled", [False, True])
def test_interrupt(core: Core, enabled: bool) -> None:
    core.write("CONTROL", IRQ_ENABLE * enabled)
    core.write("JOB_PUSH", 0)
    core.settle()
    core.take()
    core.end(5, Status.DONE)
    assert core.irq == enabled
    core.bench.tick()
    assert core.irq == 0
