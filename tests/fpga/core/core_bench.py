# SPDX-License-Identifier: BSD-2-Clause
"""The whole core on a bench: a job's memory image in, the image after the job out."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

import numpy as np
from litex.gen import LiteXModule
from migen import Cat, If, Signal

from spatten_drivers.answer import COUNTERS
from spatten_drivers.config import AcceleratorConfig
from spatten_fpga.backend.litedram import LiteDRAMBackend
from spatten_fpga.core.core import Core
from spatten_fpga.sim import Bench
from spatten_fpga.sim.bench import MemoryStreams
from spatten_fpga.sim.dram import BoardMemory
from tests.model.jobs import JobImage

MEMORY = MemoryStreams("command", "data", "write")
#: Counters that depend on a clock: 0 in the model's answer.
CLOCKED = ("cycles", "busy_qk", "busy_pv", "stall_read", "stall_write", "stall_softmax", "stall_topk")


class TimedCore(Core):
    """A core whose job is aborted, or said to have run too long, ``stop_after`` cycles after it was taken."""

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(config)
        self.stop_after, self.by_watchdog = Signal(32), Signal()
        cycle, runs = Signal(32), Signal()
        stop = Signal()
        self.comb += [
            stop.eq(runs & (cycle == self.stop_after)),
            self.abort.eq(stop & ~self.by_watchdog),
            self.expired.eq(stop & self.by_watchdog),
        ]
        self.sync += [
            cycle.eq(cycle + 1),
            If(self.jobs.valid & self.jobs.ready, cycle.eq(0), runs.eq(1)),
            If(self.ends.valid & self.ends.ready, runs.eq(0)),
        ]


class BoardCore(LiteXModule):
    """The same behind the memory of a board; ``memory`` are the chips.

    ``held`` counts the cycles of a job in which the memory had something to do and no word moved: refreshes,
    rows that open and close, the bus that turns round, and the way through the controller.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.core = core = TimedCore(config)
        self.board = board = BoardMemory()
        port = board.crossbar.get_port(data_width=8 * config.beat_bytes)
        self.backend = backend = LiteDRAMBackend(core.engine.geometry, port)
        self.memory = cells = board.cells
        self.jobs, self.ends, self.memory_bytes = core.jobs, core.ends, core.memory_bytes
        self.stop_after, self.by_watchdog = core.stop_after, core.by_watchdog
        self.held = Signal(32)

        # # #

        inside = Signal(8)  # commands in the controller
        moves = [cells.moves]
        for _ in range(board.word_cycles - 1):
            moves.append(Signal())
            self.sync += moves[-1].eq(moves[-2])
        self.comb += [
            core.memory.command.connect(backend.port.command),
            backend.port.data.connect(core.memory.data),
            core.memory.write.connect(backend.port.write),
            core.memory.writes_pending.eq(backend.port.writes_pending),
        ]
        self.sync += [
            inside.eq(inside + (port.cmd.valid & port.cmd.ready) - cells.moves),
            If(((inside != 0) | port.cmd.valid) & (Cat(*moves) == 0), self.held.eq(self.held + 1)),
            If(core.jobs.valid & core.jobs.ready, self.held.eq(0)),
        ]


NEVER = (1 << 32) - 1


class CoreBench:
    """A core of one configuration, behind the bench's memory or behind that of a board.

    ``beats`` are those that the last job read and wrote, ``held`` the cycles in which the board's memory was
    what it waited for, ``job_id`` what it told of itself. Without ``initial`` all registers start with random
    bits.
    """

    def __init__(self, config: AcceleratorConfig, board: bool = False, initial: bool = True) -> None:
        dut = BoardCore(config) if board else TimedCore(config)
        self.board_latency = dut.memory.latency if board else None
        self.beats = self.held = 0
        self.bench = Bench(
            dut,
            {"jobs": dut.jobs, "data": dut.memory.data},
            {"command": dut.memory.command, "write": dut.memory.write, "ends": dut.ends},
            inputs={
                "memory_bytes": dut.memory_bytes,
                "stop_after": dut.stop_after,
                "by_watchdog": dut.by_watchdog,
            },
            outputs={"held": dut.held} if board else {},
            memory=MEMORY,
            initial=initial,
        )

    def run(
        self,
        image: JobImage,
        *,
        pace: float = 1.0,
        latency: int = 20,
        seed: int = 0,
        limit: int = 400_000,
        stop_after: int = NEVER,
        by_watchdog: bool = False,
        answers: bool = True,
    ) -> tuple[int, bytes, dict[str, int]]:
        """(status, memory after the job with the clocked counters 0, those counters).

        ``pace`` and ``latency`` are those of the bench's memory; a board's has its own. ``answers`` False:
        memory never gives any data.
        """
        if self.board_latency is not None:
            pace, latency = 1.0, self.board_latency
        self.bench.set("stop_after", stop_after)
        self.bench.set("by_watchdog", by_watchdog)
        beat = image.config.beat_bytes
        memory = np.frombuffer(
            bytes(image.memory).ljust(-(-len(image.memory) // beat) * beat, b"\0"), np.uint8
        )
        memory = memory.copy()
        self.bench.set("memory_bytes", len(image.memory))
        run = self.bench.run(
            {"jobs": [{"address": image.descriptor_address}]},
            {"ends": 1},
            offer={"jobs": pace, "data": pace if answers else 0.0},
            take=pace,
            memory=memory,
            latency=latency,
            seed=seed,
            limit=limit,
        )
        self.beats = run.beats
        self.held = self.bench.get("held") if self.board_latency is not None else 0
        assert run.faults == 0, f"{run.faults} accesses outside of device memory"
        self.job_id, status = (run.tokens["ends"][0][name] for name in ("job_id", "status"))
        return status, *_without_clock(image, memory, status)


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
    return CoreBench(config, board)


def config_of(image: JobImage) -> AcceleratorConfig:
    return AcceleratorConfig(**asdict(image.config))
