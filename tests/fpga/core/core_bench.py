# SPDX-License-Identifier: BSD-2-Clause
"""The whole core on a bench: a job's memory image in, the image after the job out."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
from litex.gen import LiteXModule
from migen import Cat, If, Signal

from spatten_drivers.answer import COUNTERS, Status
from spatten_drivers.config import AcceleratorConfig
from spatten_fpga.backend.litedram import LiteDRAMBackend
from spatten_fpga.core.checks import STATUS_BITS
from spatten_fpga.core.core import Core
from spatten_fpga.sim import Bench
from spatten_fpga.sim.bench import MemoryStreams
from spatten_fpga.sim.dram import BoardMemory
from tests.model.jobs import JobImage

from .cycle_shares import SHARES, CycleShares

MEMORY = MemoryStreams("command", "data", "write")
#: Counters that depend on a clock: 0 in the model's answer.
CLOCKED = ("cycles", "busy_qk", "busy_pv", "stall_read", "stall_write", "stall_softmax", "stall_topk")


class ForcedEnd(LiteXModule):
    """Ends a core's job by force.

    Attributes
    ----------
    stop_after : in, cycles after the job was taken.
    stop_in : in, or in a state of the sequencer: its place in ``states``, from 1; 0 for none.
    cause : in, the status to end with: ``ABORTED``, ``WATCHDOG`` or ``MEMORY_FAULT``.
    states : states of the sequencer while a job runs.
    """

    def __init__(self, core: Core) -> None:
        sequencer = core.engine.fsm
        self.states = [state for state in sequencer.actions if state not in ("IDLE", "END")]
        self.stop_after, self.cause = Signal(32), Signal(STATUS_BITS)
        self.stop_in = Signal(max=len(self.states) + 1)

        # # #

        cycle, runs, stop = Signal(32), Signal(), Signal()
        there = [(self.stop_in == i) & sequencer.ongoing(state) for i, state in enumerate(self.states, 1)]
        self.comb += [
            stop.eq((runs & (cycle == self.stop_after)) | (Cat(*there) != 0)),
            core.abort.eq(stop & (self.cause == Status.ABORTED)),
            core.expired.eq(stop & (self.cause == Status.WATCHDOG)),
            core.memory.fault.eq(stop & (self.cause == Status.MEMORY_FAULT)),
        ]
        self.sync += [
            cycle.eq(cycle + 1),
            If(core.jobs.valid & core.jobs.ready, cycle.eq(0), runs.eq(1)),
            If(core.ends.valid & core.ends.ready, runs.eq(0)),
        ]


class TimedCore(Core):
    """A core with ``force``, which can end its job."""

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(config)
        self.force = ForcedEnd(self)


class BoardCore(LiteXModule):
    """The same behind the memory of a board; ``memory`` are the chips.

    ``held`` counts the cycles of a job in which the memory had something to do and no word moved: refreshes,
    rows that open and close, the bus that turns round, and the way through the controller. ``shares`` has
    them by cause, and the other cycles.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.core = core = TimedCore(config)
        self.board = board = BoardMemory()
        port = board.crossbar.get_port(data_width=8 * config.beat_bytes)
        self.backend = backend = LiteDRAMBackend(core.engine.geometry, port)
        self.memory = cells = board.cells
        self.jobs, self.ends, self.memory_bytes = core.jobs, core.ends, core.memory_bytes
        self.force = core.force
        self.held = Signal(32)

        # # #

        inside = Signal(8)  # commands in the controller
        moved, holds = Signal(), Signal()
        self.shares = CycleShares(core, board, moved, holds)
        moves = [cells.moves]
        for _ in range(board.word_cycles - 1):
            moves.append(Signal())
            self.sync += moves[-1].eq(moves[-2])
        self.comb += [
            moved.eq(Cat(*moves) != 0),
            holds.eq(((inside != 0) | port.cmd.valid) & ~moved),
            core.memory.command.connect(backend.port.command),
            backend.port.data.connect(core.memory.data),
            core.memory.write.connect(backend.port.write),
            core.memory.writes_pending.eq(backend.port.writes_pending),
        ]
        self.sync += [
            inside.eq(inside + (port.cmd.valid & port.cmd.ready) - cells.moves),
            If(holds, self.held.eq(self.held + 1)),
            If(core.jobs.valid & core.jobs.ready, self.held.eq(0)),
        ]


NEVER = (1 << 32) - 1


class CoreBench:
    """A core on a bench, behind the bench's memory or behind that of a board.

    ``beats`` are those that the last job read and wrote, ``cycles`` those until its end was taken, ``held``
    the ones in which the board's memory was what it waited for, ``shares`` all of them by what they went to
    (behind a board's memory), ``job_id`` what it told of itself.

    Parameters
    ----------
    dut : the core.
    inputs, outputs : more of its signals, by name.
    options : of the :class:`spatten_fpga.sim.Bench`.
    """

    def __init__(
        self,
        dut: TimedCore | BoardCore,
        inputs: dict[str, Signal] | None = None,
        outputs: dict[str, Signal] | None = None,
        **options: Any,
    ) -> None:
        board = isinstance(dut, BoardCore)
        self.states = dut.force.states
        self.board_latency = dut.memory.latency if board else None
        self.beats = self.cycles = self.held = 0
        self.shares: dict[str, int] = {}
        self.bench = Bench(
            dut,
            {"jobs": dut.jobs, "data": dut.memory.data},
            {"command": dut.memory.command, "write": dut.memory.write, "ends": dut.ends},
            inputs={
                "memory_bytes": dut.memory_bytes,
                "stop_after": dut.force.stop_after,
                "stop_in": dut.force.stop_in,
                "cause": dut.force.cause,
                **(inputs or {}),
            },
            outputs={
                **({"held": dut.held, **_shares(dut)} if isinstance(dut, BoardCore) else {}),
                **(outputs or {}),
            },
            memory=MEMORY,
            **options,
        )
        self.reset()

    def reset(self, **inputs: int) -> None:
        """Reset it, inputs as given; the engine leaves its reset a cycle later than what is around it."""
        self.bench.reset(**inputs)
        self.bench.tick()

    def run(
        self,
        image: JobImage,
        *,
        pace: float = 1.0,
        latency: int = 20,
        seed: int = 0,
        limit: int = 400_000,
        stop_after: int = NEVER,
        stop_in: str | None = None,
        cause: Status = Status.ABORTED,
        answers: bool = True,
        writable: bool = True,
        times: int = 1,
    ) -> tuple[int, bytes, dict[str, int]]:
        """(status, memory after the job with the clocked counters 0, those counters).

        ``pace`` and ``latency`` are those of the bench's memory; a board's has its own. ``answers`` False:
        memory never gives any data. ``writable`` False: it takes no writes. ``times``: so often the job is
        pushed, one right behind the other; the status is the last one's.
        """
        if self.board_latency is not None:
            pace, latency = 1.0, self.board_latency
        self.bench.set("stop_after", stop_after)
        self.bench.set("stop_in", self.states.index(stop_in) + 1 if stop_in else 0)
        self.bench.set("cause", cause)
        beat = image.config.beat_bytes
        memory = np.frombuffer(
            bytes(image.memory).ljust(-(-len(image.memory) // beat) * beat, b"\0"), np.uint8
        )
        memory = memory.copy()
        self.bench.set("memory_bytes", len(image.memory))
        run = self.bench.run(
            {"jobs": [{"address": image.descriptor_address}] * times},
            {"ends": times},
            offer={"jobs": pace, "data": pace if answers else 0.0},
            take={"command": pace, "ends": pace, "write": pace if writable else 0.0},
            memory=memory,
            latency=latency,
            seed=seed,
            limit=limit,
        )
        self.beats, self.cycles = run.beats, run.cycles["ends"][-1]
        on_board = self.board_latency is not None
        self.held = self.bench.get("held") if on_board else 0
        self.shares = {name: self.bench.get(f"share_{name}") for name in SHARES} if on_board else {}
        assert run.faults == 0, f"{run.faults} accesses outside of device memory"
        self.job_id, status = (run.tokens["ends"][-1][name] for name in ("job_id", "status"))
        return status, *_without_clock(image, memory, status)


def _shares(dut: BoardCore) -> dict[str, Signal]:
    return {f"share_{name}": count for name, count in dut.shares.counts.items()}


def _without_clock(image: JobImage, memory: np.ndarray, status: int) -> tuple[bytes, dict[str, int]]:
    """Memory with the clocked counters of the answer set to 0, and what they were."""
    counters = {}
    if status == 1:
        start = image.regions["answer"][0]
        for counter in COUNTERS:
            if counter.name in CLOCKED:
                place = memory[start + 4 * counter.index : start + 4 * counter.index + 8]
                counters[counter.name] = int.from_bytes(place.tobytes(), "little")
                place[:] = 0
    return memory.tobytes()[: len(image.memory)], counters


@cache
def core_bench(config: AcceleratorConfig, board: bool = False) -> CoreBench:
    """One bench a configuration, memory and process."""
    return CoreBench(BoardCore(config) if board else TimedCore(config))


def config_of(image: JobImage) -> AcceleratorConfig:
    return AcceleratorConfig(**asdict(image.config))
